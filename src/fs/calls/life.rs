//! A mount begins, is told what it has to know, and ends.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::fs::budget::Budget;
use crate::fs::errno::Errno;
use crate::fs::fs::{Clock, Fs, Names, Nudging, Open, Waiting};
use crate::fs::handles::{Handle, Input};
use crate::fs::locks::write;
use crate::fs::namespace::{MountedLog, Namespaces, UnopenedNumbers};
use crate::fs::pool::Pool;
use crate::fs::rights::{CurrentRights, RightsFiles};
use crate::fs::settings::Settings;
use crate::fs::transport::{Nudge, PollWaker, Reply, Transport};
use crate::fs::wait::{DiskQueue, Later, Looks, MeasureQueue, Parked, StoreQueue, WaitLimit};
use immuta::Storage;

/// The most closes, writes to `append-file`, and changes of what namespaces there are, that are done at the same time.
const MOST_HELPERS: usize = 256;

impl<T: Transport> Fs<T> {
    /// A tree over the namespaces that `storage` has open. Starts the threads that answer crowds, and that change
    /// rights.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new(storage: Arc<Storage>, settings: Settings) -> io::Result<Arc<Fs<T>>> {
        let (disk, logs_dir) = (storage.disk().clone(), storage.logs_dir());
        let changed = std::fs::metadata(logs_dir).and_then(|logs_dir| logs_dir.modified());
        let rights_files = RightsFiles::new(disk, logs_dir, settings.uid, settings.gid);
        let open = storage.namespaces().into_iter();
        let open = open
            .filter_map(|ns| storage.log(ns.as_str()).ok())
            .map(|log| MountedLog::with_rights(log, &rights_files));
        let namespaces = Namespaces::new(open, changed.unwrap_or_else(|_| SystemTime::now()));
        let fs = Arc::new_cyclic(|myself| Fs {
            storage,
            settings,
            names: Names {
                namespaces,
                unopened: UnopenedNumbers::default(),
                starts: Mutex::default(),
                lookups: AtomicU32::new(0),
            },
            open: Open::default(),
            waiting: Waiting {
                budget: Budget::new(settings.max_open_bytes),
                parked: Parked::default(),
                crowds: Arc::default(),
                limit: OnceLock::new(),
                far_reads: Fs::measure_queue(myself.clone()),
                later: Later::default(),
                disk: Fs::disk_queue(myself.clone()),
                store: StoreQueue::new(),
                looks: Looks::new(),
                helpers: Pool::new("help", MOST_HELPERS),
                rights: Arc::default(),
            },
            root_rights: CurrentRights::new(rights_files.load(None)),
            rights_files,
            nudge: Nudging::default(),
            clock: Clock {
                started: SystemTime::now(),
                running_since: Instant::now(),
            },
            closing: AtomicBool::new(false),
            myself: myself.clone(),
        });
        fs.waiting.rights.serve("rights", |job| job())?;
        let weak = Arc::downgrade(&fs);
        fs.waiting.crowds.serve("waker", move |namespace| {
            if let Some(fs) = weak.upgrade() {
                fs.serve_crowd(namespace);
            }
        })?;
        Ok(fs)
    }

    /// Answers a read when its place is known.
    fn measure_queue(fs: Weak<Fs<T>>) -> Arc<MeasureQueue<T>> {
        MeasureQueue::new(move |waiter| match fs.upgrade() {
            Some(fs) => fs.answer_or_wait(waiter),
            None => waiter.reply.answer(Err(Errno::EIO)),
        })
    }

    /// Notifies readers after each sync.
    fn disk_queue(fs: Weak<Fs<T>>) -> Arc<DiskQueue> {
        DiskQueue::new(move |namespace| {
            if let Some(fs) = fs.upgrade() {
                fs.notify_readers(namespace);
            }
        })
    }

    /// From now on, tells `nudge` of growth.
    pub fn set_nudge(&self, nudge: Arc<dyn Nudge>) {
        *write(&self.nudge.nudge) = Some(nudge);
    }

    /// From now on a change of times by one of these threads is what [`Nudge`] makes of growth, and is let through.
    pub fn set_nudging_threads(&self, threads: Vec<u32>) {
        *write(&self.nudge.threads) = threads;
    }

    /// The mount is served by this number of threads. All but two of them may wait for a disk in a write; none, from now
    /// on, in a read or a look.
    pub fn serve_with(&self, threads: usize) {
        self.waiting.store.places.limit(threads.saturating_sub(2));
    }

    /// From now on, a read that has waited for `limit`, or little longer, is answered with `EINTR`; its caller calls
    /// again. The first call counts.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn limit_waits(self: &Arc<Self>, limit: Duration) -> io::Result<()> {
        if self.waiting.limit.get().is_some() {
            return Ok(());
        }
        let weak = Arc::downgrade(self);
        let end_reads = move |now| weak.upgrade()?.end_overdue_reads(now);
        let limit = WaitLimit::start(limit, end_reads)?;
        if let Err(second) = self.waiting.limit.set(limit) {
            second.close();
        }
        Ok(())
    }

    /// Ends the reads whose deadline is over. Returns the next deadline.
    pub(super) fn end_overdue_reads(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut is_over = |deadline: Option<Instant>| {
            let Some(deadline) = deadline else {
                return false;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
            deadline <= now
        };
        let waiting = &self.waiting;
        let mut over = waiting.parked.take_any(|read| is_over(read.deadline));
        over.extend(waiting.later.take_reads(|read| is_over(read.deadline)));
        over.extend(waiting.far_reads.take_any(|read| is_over(read.deadline)));
        for waiter in over {
            waiter.reply.answer(Err(Errno::EINTR));
        }
        next
    }

    /// How many reads wait.
    pub fn parked_reads(&self) -> usize {
        self.waiting.parked.len()
    }
}

/// The end of a mount, in this order:
///
/// 1. [`Fs::close`], while calls still come: what waits is answered, and nothing waits any more.
/// 2. [`Fs::end_spools`], when no more closes come: what was closed is stored, what was not is given up.
/// 3. The drop: no call and no job holds the file system any more, and its threads end.
impl<T: Transport> Fs<T> {
    /// Ends the service: lines that wait for their newline become records, every read that waits, and each
    /// one after that, gets end of file.
    pub fn close(&self) {
        *write(&self.nudge.nudge) = None;
        // Before the handles are walked: a line that comes later sees it under its handle's lock.
        self.closing.store(true, Ordering::SeqCst);
        for handle in self.open.handles.all() {
            if let Err(errno) = self.finish_at_the_end(&handle) {
                let namespace = handle.namespace.log.namespace();
                log::error!(
                    "namespace '{namespace}': an open line could not be stored at the end: {errno}"
                );
            }
        }
        let left = self.waiting.parked.close();
        for waiter in left.readers {
            waiter.reply.answer(Ok(&[]));
        }
        // What was asked for is still made; nobody waits for a time any more.
        self.waiting.rights.close();
        self.waiting.far_reads.refuse_all();
        for poller in left.pollers {
            poller.waker.wake();
        }
    }

    fn finish_at_the_end(&self, handle: &Handle) -> Result<(), Errno> {
        let namespace = &handle.namespace;
        if handle.finish()? {
            if self.settings.sync_always {
                namespace.log.sync()?;
            }
            self.notify_readers(namespace);
        }
        Ok(())
    }

    /// Ends the storing of what was written to `append-file`, when no more closes are to come: what nobody has
    /// closed is given up, and the log of the program says so; what was closed is stored and answered when
    /// this returns.
    pub fn end_spools(&self) {
        for handle in self.open.handles.all() {
            let Some(Input::File(spool)) = &handle.input else {
                continue;
            };
            let bytes = spool.abandon();
            if bytes > 0 {
                log::error!(
                    "namespace '{}': {bytes} bytes written to 'append-file' are not stored: it was not closed \
                     before the end",
                    handle.namespace.log.namespace()
                );
            }
        }
        self.waiting.store.wait_until_idle();
    }
}

impl<T: Transport> Drop for Fs<T> {
    fn drop(&mut self) {
        self.waiting.end();
    }
}

impl<T: Transport> Waiting<T> {
    /// Has each thread end when nothing is left for it to do.
    fn end(&self) {
        self.disk.close();
        self.rights.close();
        if let Some(limit) = self.limit.get() {
            limit.close();
        }
        self.crowds.close();
        self.far_reads.close();
        self.store.close();
        self.later.close();
        self.helpers.close();
        self.looks.close();
    }
}
