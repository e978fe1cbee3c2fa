//! One log: its files, its counts, its locks.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::group::Group;
use super::signal::Signal;
use super::sync_thread::SyncQueue;
use super::unsynced::Written;
use super::writer::Writer;
use crate::disk::Disk;
use crate::format::Format;
use crate::namespace::Namespace;
use crate::options::{Durability, Options};
use crate::recovery::{Opened, Recovery};
use crate::segment::{Segment, State};

/// One namespace: an append-only log with one writer at a time and any number of readers.
///
/// All methods can be called from any thread. Readers never wait for a writer.
//
// Locks, outer to inner: `writer`, `written`, the index's slot, the signal's state; the group's, with none of them.
// Observers are called with none of them.
pub struct Log {
    pub(crate) id: u32,
    pub(crate) segment: Segment,
    pub(crate) sync: Durability,
    pub(crate) max_record_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) boot: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) signal: Signal,
    pub(crate) recovery: Recovery,
    pub(crate) writer: Mutex<Writer>,
    /// The writer's tail, for a sync: it does not wait for an append that takes long.
    pub(crate) written: Mutex<Written>,
    pub(crate) group: Group,
    pub(crate) failed: OnceLock<String>,
    /// The next append waits for the disk: it is the first since opening, or the disk was full last time.
    pub(crate) next_syncs: AtomicBool,
    /// Set while the log is in the queue of those to be synced, or is being synced from there.
    pub(crate) dirty: AtomicBool,
    pub(crate) queue: Option<Arc<SyncQueue>>,
    pub(crate) myself: Weak<Log>,
}

impl Log {
    /// A log that was just opened or created with `options`. `id` is the one that the tree shows; with
    /// [`Durability::Every`], `queue` is where it is put to be synced.
    pub(crate) fn new(
        id: u32,
        opened: Opened,
        options: &Options,
        queue: Option<Arc<SyncQueue>>,
    ) -> Arc<Self> {
        let Opened {
            segment,
            end: tail,
            recovery,
            ..
        } = opened;
        let mut state = State::default();
        state.follow(&tail);
        Arc::new_cyclic(|myself| Log {
            id,
            segment,
            sync: options.sync,
            max_record_bytes: options.max_record_bytes,
            read_only: options.read_only,
            boot: options.disk.boot_id(),
            disk: Arc::clone(&options.disk),
            signal: Signal::new(state),
            recovery,
            writer: Mutex::new(Writer::new(tail)),
            written: Mutex::new(Written::new(tail)),
            group: Group::new(tail.count),
            failed: OnceLock::new(),
            next_syncs: AtomicBool::new(true),
            dirty: AtomicBool::new(false),
            queue,
            myself: Weak::clone(myself),
        })
    }

    /// The name.
    pub fn namespace(&self) -> &Namespace {
        &self.segment.namespace
    }

    /// A number from 1 to 2^23 - 1 that the namespace keeps as long as its index file lives, unique among
    /// those of its storage, and not soon given to another one. Of two logs that carry one id, the one that is opened
    /// later for reading only has another as long as it is open.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How the log lies on disk.
    pub fn format(&self) -> Format {
        self.segment.format
    }

    /// What opening the log found, kept and cut.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What readers wait on.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// What is committed now: one consistent snapshot, at the cost of an uncontended lock.
    pub fn state(&self) -> State {
        self.signal.state()
    }

    /// Why the log takes no appends, if it has failed.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Whether the next append waits for the disk, however it is called: the first one after opening says on the disk
    /// that the log is being written to, one on a full disk may have to see to it that nothing of it is there, and one to
    /// files that were closed to keep fewer open opens them, and may have to sync and close others.
    pub fn next_append_syncs(&self) -> bool {
        let is_open = || self.segment.log_file.is_ready() && self.segment.index.file.is_ready();
        !self.read_only && (self.next_syncs.load(Ordering::Relaxed) || !is_open())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("namespace", &self.segment.namespace.as_str())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
