//! What the files of `.immuta` tell of: the mount and its namespaces at one moment.

use std::time::{Duration, SystemTime};

use crate::fs::settings::Settings;
use immuta::{Durability, Format, State};

/// The mount at one moment.
pub(crate) struct MountLook {
    pub(crate) logs_dir: String,
    pub(crate) settings: Settings,
    pub(crate) sync: Durability,
    pub(crate) started: SystemTime,
    pub(crate) uptime: Duration,
    /// Reads that wait for a record.
    pub(crate) blocked_readers: usize,
    /// By name.
    pub(crate) namespaces: Vec<NamespaceLook>,
    /// How much memory lines and frames take that wait for their end, and how many writes were refused for want of it.
    pub(crate) open_bytes: u64,
    pub(crate) open_refused: u64,
    /// The namespaces that could not be opened, and why.
    pub(crate) unopened: Vec<(String, String)>,
}

/// A namespace at one moment.
pub(crate) struct NamespaceLook {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) format: Format,
    pub(crate) first_time: Option<SystemTime>,
    /// How many records have come since the mount began.
    pub(crate) appended: u64,
    /// How many writes were refused since then.
    pub(crate) refused_writes: u64,
    pub(crate) blocked_readers: usize,
    pub(crate) open: OpenFiles,
    /// How many records are on the disk; `None`: another process writes, and it alone knows.
    pub(crate) synced: Option<u64>,
    /// How many are written and not known to be there, whether readers see them or not; `None`: not known.
    pub(crate) unsynced: Option<u64>,
    /// How long the first of those has been waiting; `None`: not known.
    pub(crate) sync_lag: Option<Duration>,
    /// Why the log takes no more records.
    pub(crate) failed: Option<String>,
}

/// How many open files a namespace has.
#[derive(Clone, Copy, Default)]
pub(crate) struct OpenFiles {
    pub(crate) readers: u64,
    pub(crate) writers: u64,
}
