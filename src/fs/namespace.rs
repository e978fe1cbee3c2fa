//! A namespace that is mounted: its log, and what the tree knows of it beside that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use super::errno::Errno;
use super::handle::lock;
use super::offsets::{Offsets, Size};
use super::rights::{Given, Held};
use super::turn::Turns;
use super::watched::Watched;
use crate::log::Log;

/// A namespace that is mounted.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) log: Arc<Log>,
    pub(super) turns: Turns,
    pub(super) rights: Held,
    /// Open files that asked for the end, by their path in the namespace.
    pub(super) end_askers: Askers,
    pub(super) watched: Arc<Watched>,
    /// Where its lines of JSON are.
    pub(super) offsets: Offsets,
    /// How many writes to its files were refused.
    pub(super) refused_writes: AtomicU64,
    pub(super) first_time: FirstTime,
}

/// When the first record was appended, as far as somebody has looked; inside, `None`: it has no time.
#[derive(Debug, Default)]
pub(super) struct FirstTime {
    pub(super) known: OnceLock<Option<SystemTime>>,
    /// A thread asks the disk.
    pub(super) is_asked: AtomicBool,
}

impl Namespace {
    pub(super) fn new(log: Arc<Log>, given: Given) -> Namespace {
        Namespace {
            log,
            turns: Turns::default(),
            rights: Held::new(given),
            end_askers: Askers::default(),
            watched: Arc::default(),
            offsets: Offsets::default(),
            refused_writes: AtomicU64::new(0),
            first_time: FirstTime::default(),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.log.id()
    }

    /// How long the lines are that one of its files shows.
    pub(super) fn lines_size(&self, file: &str) -> Result<Size, Errno> {
        Ok(self.offsets.size(&self.log, self.end_askers.has(file))?)
    }

    /// Counts a write that was refused.
    pub(super) fn refuse_write(&self) {
        self.refused_writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many open files of each path asked for the end.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// All of them: most writes find none, and look no further.
    all: AtomicUsize,
    by_path: Mutex<HashMap<String, usize>>,
}

impl Askers {
    pub(super) fn add(&self, path: &str) {
        *lock(&self.by_path).entry(path.to_owned()).or_default() += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, path: &str) {
        let mut by_path = lock(&self.by_path);
        if let Some(count) = by_path.get_mut(path) {
            *count -= 1;
            self.all.fetch_sub(1, Ordering::Relaxed);
            if *count == 0 {
                by_path.remove(path);
            }
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.all.load(Ordering::Relaxed) > 0 && lock(&self.by_path).contains_key(path)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        match self.all.load(Ordering::Relaxed) {
            0 => Vec::new(),
            _ => lock(&self.by_path).keys().cloned().collect(),
        }
    }
}
