//! A mounted file system as data: what the calls in [`calls`](super::calls) work on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::{Instant, SystemTime};

use crate::fs::budget::Budget;
use crate::fs::handles::{Handles, SecondOpens, Snapshots, Starts};
use crate::fs::namespace::{MountedLog, UnopenedNumbers};
use crate::fs::rights::{CurrentRights, RightsFiles, RightsQueue};
use crate::fs::settings::Settings;
use crate::fs::transport::{Nudge, Transport};
use crate::fs::wait::{
    Backlog, DiskQueue, Later, Looks, MeasureQueue, Parked, Places, Poller, Pool, WaitLimit,
    Waiter, Waker,
};
use immuta::Storage;

/// A directory of logs as a tree of files.
pub struct Fs<T: Transport> {
    pub(crate) storage: Arc<Storage>,
    pub(crate) settings: Settings,
    pub(crate) budget: Arc<Budget>,
    pub(crate) namespaces: RwLock<HashMap<u32, Arc<MountedLog>>>,
    pub(crate) unopened_numbers: UnopenedNumbers,
    pub(crate) handles: Handles,
    pub(crate) second_opens: SecondOpens,
    pub(crate) looks: Looks<T>,
    pub(crate) snapshots: Snapshots,
    pub(crate) directories: Directories,
    /// Reads, and pollers by the number of their open file.
    pub(crate) parked: Parked<Waiter<T>, Poller<T>>,
    pub(crate) waker: Arc<Waker>,
    /// How long a read may wait; nothing: for ever.
    pub(crate) overdue: OnceLock<Arc<WaitLimit>>,
    pub(crate) durable: Arc<DiskQueue<T>>,
    pub(crate) places: Places,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) later: Later<T>,
    /// Append, where the threads that serve the mount may not.
    pub(crate) storers: Arc<Pool>,
    /// Look, make and remove, where those may not wait for it.
    pub(crate) helpers: Arc<Pool>,
    pub(crate) myself: Weak<Fs<T>>,
    pub(crate) changes: Arc<RightsQueue<T>>,
    pub(crate) rights_files: RightsFiles,
    /// The root's.
    pub(crate) rights: CurrentRights,
    pub(crate) far_reads: Parked<Waiter<T>>,
    pub(crate) measuring: MeasureQueue,
    pub(crate) nudge: RwLock<Option<Arc<dyn Nudge>>>,
    /// The threads whose change of times is an inotify nudge.
    pub(crate) nudging_threads: RwLock<Vec<u32>>,
    pub(crate) starts: Mutex<Starts>,
    /// Numbers the lookups that get an inode of their own.
    pub(crate) lookups: AtomicU32,
    /// The mount is on its way out: no line waits for its newline any more.
    pub(crate) closing: AtomicBool,
    pub(crate) started: SystemTime,
    /// When a namespace came or went last.
    pub(crate) names_changed: Mutex<SystemTime>,
    pub(crate) running_since: Instant,
}

/// Open directories, by their number: how many records each lists, fixed when it is rewound, so that a
/// listing ends.
#[derive(Default)]
pub(crate) struct Directories {
    pub(crate) last: AtomicU64,
    pub(crate) records: Mutex<HashMap<u64, u64>>,
}
