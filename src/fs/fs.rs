//! A mounted file system as data: what the calls in [`calls`](super::calls) work on.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::{Instant, SystemTime};

use crate::fs::budget::Budget;
use crate::fs::handles::{Directories, Handles, SecondOpens, Snapshots, Starts};
use crate::fs::inbox::Inbox;
use crate::fs::namespace::{MountedLog, Namespaces, UnopenedNumbers};
use crate::fs::pool::{Job, Pool};
use crate::fs::rights::{CurrentRights, RightsFiles};
use crate::fs::settings::Settings;
use crate::fs::transport::{Nudge, Transport};
use crate::fs::wait::{
    DiskQueue, Later, Looks, MeasureQueue, Parked, Poller, StoreQueue, WaitLimit, Waiter,
};
use immuta::Storage;

/// A directory of logs as a tree of files.
pub struct Fs<T: Transport> {
    pub(super) storage: Arc<Storage>,
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) open: Open,
    pub(super) waiting: Waiting<T>,
    pub(super) root_rights: CurrentRights,
    pub(super) rights_files: RightsFiles,
    pub(super) nudge: Nudging,
    pub(super) clock: Clock,
    /// The mount is on its way out: no line waits for its newline any more.
    pub(super) closing: AtomicBool,
    /// For what is done later, on another thread.
    pub(super) myself: Weak<Fs<T>>,
}

/// What the kernel knows by a name.
pub(super) struct Names {
    pub(super) namespaces: Namespaces,
    pub(super) unopened: UnopenedNumbers,
    pub(super) starts: Mutex<Starts>,
    /// Numbers the lookups that get an inode of their own.
    pub(super) lookups: AtomicU32,
}

/// What is open.
#[derive(Default)]
pub(super) struct Open {
    pub(super) handles: Handles,
    pub(super) snapshots: Snapshots,
    pub(super) directories: Directories,
    pub(super) second: SecondOpens,
}

/// What waits, and the threads that see to it.
pub(super) struct Waiting<T: Transport> {
    /// Bounds the memory of what waits.
    pub(super) budget: Arc<Budget>,
    /// Reads, and pollers by the number of their open file.
    pub(super) parked: Parked<Waiter<T>, Poller<T>>,
    /// Namespaces with a crowd, whose next slice is to be answered.
    pub(super) crowds: Arc<Inbox<Arc<MountedLog>>>,
    /// How long a read may wait; nothing: for ever.
    pub(super) limit: OnceLock<Arc<WaitLimit>>,
    pub(super) far_reads: Arc<MeasureQueue<T>>,
    pub(super) later: Later<T>,
    pub(super) disk: Arc<DiskQueue>,
    pub(super) store: Arc<StoreQueue>,
    pub(super) looks: Arc<Looks>,
    /// Look, make and remove, where the threads that serve the mount may not wait for it.
    pub(super) helpers: Arc<Pool>,
    /// Changes of rights, and the answers to those that are made.
    pub(super) rights: Arc<Inbox<Job>>,
}

/// Told of growth, where the kernel does not tell inotify watchers.
#[derive(Default)]
pub(super) struct Nudging {
    pub(super) nudge: RwLock<Option<Arc<dyn Nudge>>>,
    /// The threads whose change of times is an inotify nudge.
    pub(super) threads: RwLock<Vec<u32>>,
}

/// When the mount began.
pub(super) struct Clock {
    pub(super) started: SystemTime,
    pub(super) running_since: Instant,
}
