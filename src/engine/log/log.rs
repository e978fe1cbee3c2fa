//! One log: its files, its locks, and the five counts that say how much of it is there.
//!
//! No count ever shrinks, and at any time:
//!
//! ```text
//!     group.synced <= slot.synced <= written <= writer.tail
//!     group.synced <= state <= slot.synced          with Durability::Always
//!     state <= written                              otherwise
//!
//!   count         these records                                  moved by                  holding
//!   writer.tail   are whole in both files, and the header        Log::commit               writer
//!                 counts them
//!   written       the same; a copy for syncs, which must not     Log::commit               writer, written
//!                 wait for a long append
//!   state         are what readers see                           Log::commit, or with      writer, signal
//!                                                                Always Log::sync_up_to    turn, signal
//!   slot.synced   were on the disk when the index's slot was     Log::sync_files           turn, slot
//!                 written: recovery trusts them                  Log::mark_unclean         writer, slot
//!   group.synced  are on the disk: no caller waits for them      Group::wait_synced        turn, group
//! ```
//!
//! "turn": one sync runs at a time, and holds no lock meanwhile ([`Group::wait_synced`]). [`Log::close`] takes the turn and then
//! the writer, and moves the last three. In a log opened for reading only, [`Log::refresh`] moves the writer's tail and the
//! state; the other three stay.
//!
//! ```text
//!   an append             a process that is killed after this step leaves
//!   1 records             bytes that no count counts: opening cuts them
//!   2 index entries       whole records with entries: opening counts them, all of a batch or none
//!   3 count in header     the records; the same after each further step
//!   4 writer.tail
//!   5 written
//!   6 state               not with Always: there a sync does it
//!
//!   a sync                a power cut after this step leaves
//!   1 take written        of the unsynced records any part: opening keeps those before the first that is not whole
//!   2 sync both files     the records; opening checks them, beginning at the slot of the sync before
//!   3 slot                the records; opening begins at this slot, if it has reached the disk, or at the one before
//!   4 state               the same. With Always only
//!   5 group.synced        the same. The callers return
//! ```
//!
//! The caller is answered after the last step, and readers see a record after the step `state`. After a crash before that step
//! the record may be there or not. docs/format.md, "Opening", has the cases.

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
// Locks, outer to inner: `writer`, then one of `written`, the index's slot, the signal's, the queue's. The group's mutex is held
// together with none of them; the turn that it gives is outside of all. Observers are called with no lock held.
pub struct Log {
    pub(crate) id: u32,
    pub(crate) segment: Segment,
    pub(crate) durability: Durability,
    pub(crate) max_record_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) boot: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) signal: Signal,
    pub(crate) recovery: Recovery,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) written: Mutex<Written>,
    pub(crate) group: Group,
    pub(crate) failed: OnceLock<String>,
    /// Whether the next append waits for the disk: it is the first since opening, or the disk was full at the last one.
    pub(crate) next_append_syncs: AtomicBool,
    /// Whether the log is in the queue of logs to be synced, or is being synced from there.
    pub(crate) is_queued: AtomicBool,
    pub(crate) queue: Option<Arc<SyncQueue>>,
    pub(crate) myself: Weak<Log>,
}

impl Log {
    /// A log that was just opened or created with `options`. `id` is what [`Log::id`] says; with [`Durability::Every`], `queue`
    /// takes the log when it has to be synced.
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
            durability: options.sync,
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
            next_append_syncs: AtomicBool::new(true),
            is_queued: AtomicBool::new(false),
            queue,
            myself: Weak::clone(myself),
        })
    }

    /// The name.
    pub fn namespace(&self) -> &Namespace {
        &self.segment.namespace
    }

    /// A number from 1 to 2^23 - 1, unique in the storage. The namespace keeps it as long as its index file lives, and no other
    /// namespace soon gets it. Of two logs with one id in their files, the log that is opened later for reading only has
    /// another id as long as it is open.
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

    /// Whether the next append waits for the disk, whatever its options: the first append after opening marks the log on the
    /// disk as being written to; an append to a full disk may have to sync that nothing of it is there; and an append to files
    /// that were closed to keep fewer open opens them, and may have to sync and close others.
    pub fn next_append_syncs(&self) -> bool {
        let is_open = || self.segment.log_file.is_ready() && self.segment.index.file.is_ready();
        !self.read_only && (self.next_append_syncs.load(Ordering::Relaxed) || !is_open())
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
