//! The file system: names, open files, text, and reads that wait. It knows nothing of the transport that
//! brings it calls; [`Transport`] is all that it asks of one.
//!
//! [`tree`] says which files there are, in a `namespace`; `meta` answers what is asked about them, with each one's
//! `attr`, `unopened` what is there of one whose log is not open, `directory` lists them, `opening` says who may
//! open what, and `handle` is what an open file remembers; a `second_open` by one process gets an inode of its own, and
//! `looks` at the descriptors of a process that closes are few.
//! `reading` and `writing` move the bytes: records as a [`view`], from a `start` on, or as `json_lines`, whose
//! `offsets` are known as far as somebody has come, and which threads go on to `measure`; [`lines`] and [`frames`]
//! out of writes, and `receipts` for them; a `spool` between an open and its close, and the `storing` of it; a `budget` of
//! the memory for what waits for its end or for its turn. `rights` says who may use a namespace, `rights_files` keeps
//! it, `changes` makes and answers changes of it. [`parked`] holds
//! the reads that wait for a record, and those who poll: a `crowd` for each namespace, `ranked` by what they need, and
//! `targets` for interrupts; `waking` answers them, a large crowd by the thread of the `waker`; `overdue` ends those
//! that have waited as long as they may; `watched` says which inotify watchers are told. `durable` holds the answers that
//! wait for the disk, `turn` the writes that wait for their turn, `later` the reads and questions that wait for the disk,
//! and a `pool` the threads that may wait.
//!
//! `about` looks at the whole mount, and `status` and `metrics` write down what it sees; `stats` do so for one namespace,
//! `xattr` for one file. `json` is how they, and the lines, are written; `json_range` makes the
//! lines for who has no mount.

mod about;
mod attr;
mod budget;
mod changes;
mod crowd;
mod directory;
mod durable;
pub mod errno;
pub mod frames;
mod handle;
mod json;
mod json_lines;
mod json_range;
mod later;
pub mod lines;
mod looks;
mod measure;
mod meta;
mod metrics;
mod namespace;
mod offsets;
mod opener;
mod opening;
mod overdue;
pub mod parked;
mod pool;
mod ranked;
mod reading;
mod receipts;
mod rights;
mod rights_files;
mod second_open;
mod spool;
mod start;
mod stats;
mod status;
mod storing;
mod sync;
mod targets;
mod transport;
pub mod tree;
mod turn;
mod unopened;
mod utf8;
pub mod view;
mod waker;
mod waking;
mod watched;
mod writing;
mod xattr;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::log::{Log, Storage};
use about::Snapshots;
use budget::Budget;
use changes::Changes;
use durable::Line;
use errno::Errno;
use handle::{Handle, Handles, lock};
use later::Later;
use looks::Looks;
use measure::{FarRead, Measuring};
use namespace::Namespace;
use overdue::Overdue;
use parked::Parked;
use pool::Pool;
use rights::Held;
use rights_files::RightsFiles;
use second_open::SecondOpens;
use start::Starts;
use turn::{Backlog, Places};
use unopened::Numbers;
use waker::Waker;

pub use attr::{Attr, NodeType};
pub use directory::DirEntry;
// For the program `immuta`.
#[doc(hidden)]
pub use json_range::JsonLines;
pub use later::Asked;
pub use meta::{DiskSpace, SetAttr};
pub use opening::{Access, Opened};
pub use reading::ReadMode;
pub use start::parse_time;
pub use transport::{
    AttrReply, Caller, DoneReply, Nudge, PollWaker, ReadReply, Transport, WriteReply,
};
pub use waking::PollState;
pub use watched::Grown;
pub use writing::WriteMode;
pub use xattr::XattrReply;

/// So many namespaces whose disk does not answer are waited for at the same time, by threads that are there for it.
const MOST_STORERS: usize = 64;
/// So many closes, writes to `append-file`, and changes of what namespaces there are, are done at the same time.
const MOST_HELPERS: usize = 256;

/// Settings of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The daemon's user, who owns the root until it is given to somebody else.
    pub uid: u32,
    /// The daemon's group.
    pub gid: u32,
    /// A write of at least so many bytes may be part of a larger one that the kernel has split.
    pub split_write_bytes: usize,
    /// Each write is answered, and its records are seen, when they are on the disk: the storage's
    /// [`Sync::Always`](crate::Sync::Always).
    pub sync_always: bool,
    /// Nothing can be written: the storage is open for reading only, beside somebody who writes.
    pub read_only: bool,
    /// No record through `append-lines`, `append-frames` or `log` is longer.
    pub max_record_bytes: u64,
    /// What waits for its end in `append-lines`, `append-frames` and `log`, and the writes that wait for their turn, take no
    /// more memory.
    pub max_open_bytes: u64,
}

/// A directory of logs as a tree of files.
pub struct Fs<T: Transport> {
    storage: Arc<Storage>,
    settings: Settings,
    budget: Arc<Budget>,
    namespaces: RwLock<HashMap<u32, Arc<Namespace>>>,
    unopened_numbers: Numbers,
    handles: Handles,
    second_opens: SecondOpens,
    looks: Looks<T>,
    snapshots: Snapshots,
    directories: Directories,
    /// Reads, and pollers by the number of their open file.
    parked: Parked<Waiter<T>, Poller<T>>,
    waker: Arc<Waker>,
    /// How long a read may wait; nothing: for ever.
    overdue: OnceLock<Arc<Overdue>>,
    durable: Arc<Line<T>>,
    places: Places,
    backlog: Arc<Backlog>,
    later: Later<T>,
    /// Append, where the threads that serve the mount may not.
    storers: Arc<Pool>,
    /// Look, make and remove, where those may not wait for it.
    helpers: Arc<Pool>,
    myself: Weak<Fs<T>>,
    changes: Arc<Changes<T>>,
    rights_files: RightsFiles,
    /// The root's.
    rights: Held,
    far_reads: Parked<FarRead<T>>,
    measuring: Measuring,
    nudge: RwLock<Option<Arc<dyn Nudge>>>,
    /// The threads whose change of times is an inotify nudge.
    nudging_threads: RwLock<Vec<u32>>,
    starts: Mutex<Starts>,
    /// Numbers the lookups that get an inode of their own.
    lookups: AtomicU32,
    /// The mount is on its way out: no line waits for its newline any more.
    closing: AtomicBool,
    started: SystemTime,
    /// When a namespace came or went last.
    names_changed: Mutex<SystemTime>,
    running_since: Instant,
}

/// Open directories, by their number: how many records each lists, fixed when it is rewound, so that a
/// listing ends.
#[derive(Default)]
struct Directories {
    last: AtomicU64,
    records: Mutex<HashMap<u64, u64>>,
}

/// Somebody who polls an open file.
struct Poller<T: Transport> {
    /// Number of the open file.
    fh: u64,
    handle: Arc<Handle>,
    waker: T::Poll,
}

/// A read that waits.
struct Waiter<T: Transport> {
    handle: Arc<Handle>,
    /// The transport's number of the request.
    unique: u64,
    offset: u64,
    size: u32,
    nonblock: bool,
    /// When it has waited as long as it may.
    deadline: Option<Instant>,
    reply: T::Read,
}

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
            .map(|log| (log.id(), Arc::new(rights_files.namespace(log))))
            .collect();
        let fs = Arc::new_cyclic(|myself| Fs {
            storage,
            settings,
            budget: Budget::new(settings.max_open_bytes),
            namespaces: RwLock::new(namespaces),
            unopened_numbers: Numbers::default(),
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
            rights: Held::new(rights_files.load(None)),
            rights_files,
            far_reads: Parked::default(),
            measuring: Measuring::default(),
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

    /// Another process may have written to the log of this name, or made it; `None`: to any. Shows what is
    /// new to whoever waits for it. Only of use when the storage is open for reading only.
    pub fn refresh(&self, name: Option<&str>) {
        let known = name.and_then(|name| self.namespace_named(name).ok());
        if known.is_none() && name.is_none_or(|name| self.storage.may_open_now(name)) {
            self.look_for_new();
        }
        let namespaces = match (known, name) {
            (Some(known), _) => vec![known],
            (None, Some(_)) => Vec::new(),
            (None, None) => {
                let namespaces = self
                    .namespaces
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                namespaces.values().cloned().collect()
            }
        };
        for namespace in namespaces {
            let before = namespace.log.state().count;
            match namespace.log.refresh() {
                Ok(state) if state.count > before => self.grew(&namespace),
                Ok(_) => {}
                Err(e) => ::log::error!(
                    "cannot follow namespace '{}': {e}",
                    namespace.log.namespace()
                ),
            }
        }
    }

    /// Shows the logs that another process has made. Only of use when the storage is open for reading only.
    pub fn look_for_new(&self) {
        match self.storage.rescan() {
            Ok(new) => self.show(new),
            Err(e) => ::log::error!("cannot look for new logs: {e}"),
        }
    }

    /// When [`Fs::look_for_new`] is to be called although nothing has changed any more; `None`: not before something
    /// has.
    pub fn looks_again_in(&self) -> Option<Duration> {
        self.storage.looks_again_in()
    }

    /// Another process may have removed or replaced the log of this name; `None`: any. What is gone is not shown any
    /// more, and whoever reads from it gets end of file. Only of use when the storage is open for reading only.
    pub fn forget_gone(&self, name: Option<&str>) {
        for log in self.storage.forget_gone(name) {
            let gone = self
                .namespaces
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&log.id());
            *lock(&self.names_changed) = SystemTime::now();
            if let Some(namespace) = gone {
                self.grew(&namespace);
            }
        }
    }

    /// Checks the logs whose check was put off, one after the other, and shows each when it is in order. Returns when
    /// none is left, or the storage says that it is enough.
    pub fn open_postponed(&self) {
        while let Ok(Some(opened)) = self.storage.open_postponed() {
            let Ok(log) = opened else {
                continue; // The storage has said why.
            };
            let name = log.namespace().to_string();
            ::log::info!("namespace '{name}' is open: {} records", log.state().count);
            self.show(vec![log]);
            if self.settings.read_only {
                // What its writer has done since it was looked at.
                self.refresh(Some(&name));
            }
        }
    }

    /// Shows logs that were opened while the file system serves.
    fn show(&self, new: Vec<Arc<Log>>) {
        if new.is_empty() {
            return;
        }
        *lock(&self.names_changed) = SystemTime::now();
        self.namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(
                new.into_iter()
                    .map(|log| (log.id(), Arc::new(self.rights_files.namespace(log)))),
            );
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
                ::log::error!(
                    "namespace '{namespace}': an open line could not be stored at the end: {errno}"
                );
            }
        }
        let left = self.parked.close();
        for waiter in left.readers {
            waiter.reply.data(&[]);
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
            self.grew(namespace);
        }
        Ok(())
    }

    fn stats(&self, namespace: &Namespace) -> Result<String, Errno> {
        Ok(stats::json(
            &namespace.log.details()?,
            self.parked.waiting_for(namespace.id()),
        ))
    }

    fn namespace(&self, id: u32) -> Result<Arc<Namespace>, Errno> {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.get(&id).cloned().ok_or(Errno::ESTALE)
    }

    fn namespace_named(&self, name: &str) -> Result<Arc<Namespace>, Errno> {
        self.namespace(self.storage.log(name)?.id())
    }

    fn handle(&self, fh: u64) -> Result<Arc<Handle>, Errno> {
        self.handles.get(fh).ok_or(Errno::EBADF)
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
