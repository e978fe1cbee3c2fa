//! A mount begins, is told what it has to know, and ends.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::fs::budget::Budget;
use crate::fs::errno::Errno;
use crate::fs::fs::{Directories, Fs};
use crate::fs::handles::{Handle, Handles, SecondOpens, Snapshots};
use crate::fs::namespace::{MountedLog, UnopenedNumbers};
use crate::fs::rights::{CurrentRights, RightsFiles};
use crate::fs::settings::Settings;
use crate::fs::transport::{Nudge, PollWaker, Reply, Transport};
use crate::fs::wait::{Later, Looks, MeasureQueue, Parked, Places, Pool, WaitLimit};
use immuta::Storage;

/// So many namespaces whose disk does not answer are waited for at the same time, by threads that are there for it.
const MOST_STORERS: usize = 64;

/// So many closes, writes to `append-file`, and changes of what namespaces there are, are done at the same time.
const MOST_HELPERS: usize = 256;

impl<T: Transport> Fs<T> {
    /// A tree over the namespaces that `storage` has open. Starts the threads that answer crowds, and that change
    /// rights.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new(storage: Arc<Storage>, settings: Settings) -> io::Result<Arc<Fs<T>>> {
        let open = storage
            .namespaces()
            .into_iter()
            .filter_map(|ns| storage.log(ns.as_str()).ok());
        let names_changed = std::fs::metadata(storage.logs_dir())
            .and_then(|logs_dir| logs_dir.modified())
            .unwrap_or_else(|_| SystemTime::now());
        let rights_files = RightsFiles::new(storage.logs_dir(), settings.uid, settings.gid);
        let namespaces = open
            .map(|log| {
                (
                    log.id(),
                    Arc::new(MountedLog::with_rights(log, &rights_files)),
                )
            })
            .collect();
        let fs = Arc::new_cyclic(|myself| Fs {
            storage,
            settings,
            budget: Budget::new(settings.max_open_bytes),
            namespaces: RwLock::new(namespaces),
            unopened_numbers: UnopenedNumbers::default(),
            handles: Handles::default(),
            second_opens: SecondOpens::default(),
            looks: Looks::default(),
            snapshots: Snapshots::default(),
            directories: Directories::default(),
            parked: Parked::default(),
            waker: Arc::default(),
            overdue: OnceLock::new(),
            durable: Arc::default(),
            places: Places::default(),
            backlog: Arc::default(),
            later: Later::default(),
            storers: Pool::new("store", MOST_STORERS),
            helpers: Pool::new("help", MOST_HELPERS),
            myself: myself.clone(),
            changes: Arc::default(),
            rights: CurrentRights::new(rights_files.load(None)),
            rights_files,
            far_reads: Parked::default(),
            measuring: MeasureQueue::default(),
            nudge: RwLock::new(None),
            nudging_threads: RwLock::default(),
            starts: Mutex::default(),
            lookups: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            started: SystemTime::now(),
            names_changed: Mutex::new(names_changed),
            running_since: Instant::now(),
        });
        let (changes, weak) = (fs.changes.clone(), Arc::downgrade(&fs));
        thread::Builder::new()
            .name("rights".into())
            .spawn(move || changes.serve(&weak))?;
        let (waker, weak) = (fs.waker.clone(), Arc::downgrade(&fs));
        thread::Builder::new()
            .name("waker".into())
            .spawn(move || waker.serve(&weak))?;
        Ok(fs)
    }

    /// From now on, tells `nudge` of growth.
    pub fn set_nudge(&self, nudge: Arc<dyn Nudge>) {
        *self.nudge.write().unwrap_or_else(PoisonError::into_inner) = Some(nudge);
    }

    /// From now on a change of times by one of these threads is what [`Nudge`] makes of growth, and is let through.
    pub fn set_nudging_threads(&self, threads: Vec<u32>) {
        *self
            .nudging_threads
            .write()
            .unwrap_or_else(PoisonError::into_inner) = threads;
    }

    /// The mount is served by so many threads. All but two of them may wait for a disk in a write; none, from now on,
    /// in a read or a look.
    pub fn serve_with(&self, threads: usize) {
        self.places.limit(threads.saturating_sub(2));
    }

    /// From now on, a read that has waited for `limit`, or little longer, is answered with `EINTR`; its caller calls
    /// again. The first call counts.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn limit_waits(self: &Arc<Self>, limit: Duration) -> io::Result<()> {
        let overdue = Arc::new(WaitLimit::new(limit));
        if self.overdue.set(overdue.clone()).is_err() {
            return Ok(());
        }
        let weak = Arc::downgrade(self);
        thread::Builder::new()
            .name("overdue".into())
            .spawn(move || overdue.serve(&weak))?;
        Ok(())
    }

    /// Returns the deadline of the read, of those that go on waiting, whose turn is next.
    pub(crate) fn end_overdue_reads(&self, now: Instant) -> Option<Instant> {
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
        for waiter in self.parked.take_any(|waiter| is_over(waiter.deadline)) {
            waiter.reply.answer(Err(Errno::EINTR));
        }
        for waiter in self.later.take_reads(|waiter| is_over(waiter.deadline)) {
            waiter.reply.answer(Err(Errno::EINTR));
        }
        for read in self.far_reads.take_any(|read| is_over(read.deadline)) {
            read.reply.answer(Err(Errno::EINTR));
        }
        next
    }

    /// How many reads wait.
    pub fn parked_reads(&self) -> usize {
        self.parked.len()
    }

    /// Ends the service: lines that wait for their newline become records, every read that waits, and each
    /// one after that, gets end of file.
    pub fn close(&self) {
        *self.nudge.write().unwrap_or_else(PoisonError::into_inner) = None;
        // Before the handles are walked: a line that comes later sees it under its handle's lock.
        self.closing.store(true, Ordering::SeqCst);
        for handle in self.handles.all() {
            if let Err(errno) = self.finish_at_the_end(&handle) {
                let namespace = handle.namespace.log.namespace();
                log::error!(
                    "namespace '{namespace}': an open line could not be stored at the end: {errno}"
                );
            }
        }
        let left = self.parked.close();
        for waiter in left.readers {
            waiter.reply.answer(Ok(&[]));
        }
        self.changes.close();
        self.close_far_reads();
        for poller in left.pollers {
            poller.waker.wake();
        }
    }

    fn finish_at_the_end(&self, handle: &Handle) -> Result<(), Errno> {
        let namespace = &handle.namespace;
        if self.finish(handle)? {
            if self.settings.sync_always {
                namespace.log.sync()?;
            }
            self.notify_readers(namespace);
        }
        Ok(())
    }
}

impl<T: Transport> Drop for Fs<T> {
    fn drop(&mut self) {
        self.durable.close();
        self.changes.close();
        if let Some(overdue) = self.overdue.get() {
            overdue.close();
        }
        self.waker.close();
        self.measuring.threads.close();
        self.storers.close();
        self.later.threads.close();
        self.helpers.close();
        self.looks.threads.close();
    }
}
