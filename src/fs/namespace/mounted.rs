//! A namespace that is mounted: its log, and what else the mount knows of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use super::need::Reached;
use super::turns::Turns;
use super::watched::{Grown, Watched};
use crate::fs::errno::Errno;
use crate::fs::forms::{JsonIndex, Size};
use crate::fs::locks::lock;
use crate::fs::rights::{CurrentRights, RightsFiles, RightsSince};
use immuta::Log;

/// A namespace that is mounted.
#[derive(Debug)]
pub(crate) struct MountedLog {
    pub(crate) log: Arc<Log>,
    pub(crate) turns: Turns,
    pub(crate) rights: CurrentRights,
    /// The open files that end at end of file.
    pub(crate) end_watchers: EndWatchers,
    pub(crate) watched: Arc<Watched>,
    /// Where the lines of JSON of its log are.
    pub(crate) json_index: JsonIndex,
    /// Number of refused writes to its files.
    pub(crate) refused_writes: AtomicU64,
    pub(crate) first_time: FirstTime,
}

/// When the first record was appended, once a thread has read it; `Some(None)`: the record has no time.
#[derive(Debug, Default)]
pub(crate) struct FirstTime {
    pub(crate) known: OnceLock<Option<SystemTime>>,
    /// A thread is reading it from the disk.
    pub(crate) is_asked: AtomicBool,
}

impl MountedLog {
    pub(crate) fn new(log: Arc<Log>, given: RightsSince) -> MountedLog {
        MountedLog {
            log,
            turns: Turns::default(),
            rights: CurrentRights::new(given),
            end_watchers: EndWatchers::default(),
            watched: Arc::default(),
            json_index: JsonIndex::default(),
            refused_writes: AtomicU64::new(0),
            first_time: FirstTime::default(),
        }
    }

    /// Mounts a log with the rights that its file of rights says.
    pub(crate) fn with_rights(log: Arc<Log>, rights: &RightsFiles) -> MountedLog {
        let given = rights.load(Some(log.namespace()));
        MountedLog::new(log, given)
    }

    pub(crate) fn id(&self) -> u32 {
        self.log.id()
    }

    /// The size of a file that shows lines of JSON.
    pub(crate) fn lines_size(&self, file: &str) -> Result<Size, Errno> {
        Ok(self
            .json_index
            .size(&self.log, self.end_watchers.has(file))?)
    }

    /// How far the log has come.
    pub(crate) fn reached(&self) -> Reached {
        let state = self.log.state();
        Reached {
            records: state.count,
            text: state.text_end,
            log: state.log_end,
            time: match state.count {
                0 => i64::MIN,
                _ => state.time_ns().max(0),
            },
            closed: state.closed,
        }
    }

    /// Whether something that takes long is being stored, or waits for that.
    pub(crate) fn stores_long(&self) -> bool {
        self.turns.has_long()
    }

    /// The files that have grown with the log and whose watchers have to be told. `by_log`: the records came through `log`.
    pub(crate) fn grown(&self, by_log: bool) -> Vec<Grown> {
        let end_watchers = self.end_watchers.paths();
        (self.watched).grown(self.log.namespace(), &end_watchers, by_log)
    }

    /// Counts a write that was refused.
    pub(crate) fn refuse_write(&self) {
        self.refused_writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the open files that end at end of file, by their path in the namespace: inotify watchers of these paths are told
/// of growth.
#[derive(Debug, Default)]
pub(crate) struct EndWatchers {
    /// All of them. Most writes find 0, and do not take the lock.
    all: AtomicUsize,
    by_path: Mutex<HashMap<String, usize>>,
}

impl EndWatchers {
    pub(crate) fn add(&self, path: &str) {
        *lock(&self.by_path).entry(path.to_owned()).or_default() += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, path: &str) {
        let mut by_path = lock(&self.by_path);
        if let Some(count) = by_path.get_mut(path) {
            *count -= 1;
            self.all.fetch_sub(1, Ordering::Relaxed);
            if *count == 0 {
                by_path.remove(path);
            }
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.all.load(Ordering::Relaxed) > 0 && lock(&self.by_path).contains_key(path)
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        match self.all.load(Ordering::Relaxed) {
            0 => Vec::new(),
            _ => lock(&self.by_path).keys().cloned().collect(),
        }
    }
}
