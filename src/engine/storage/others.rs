//! Logs that another process creates, removes and replaces, in a directory that is open for reading only.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::create::MAX_ID;
use super::logs::Logs;
use super::open_all::Look;
use super::storage::Storage;
use crate::disk::FileStat;
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::log::Log;
use crate::namespace::Namespace;
use crate::options::Options;

/// A log that could not be opened is tried again after this many times the duration of the attempt. So a large log that is
/// still being written takes little of the machine.
const PAUSES: u32 = 20;

/// A log that is there and could not be opened.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) namespace: Namespace,
    pub(crate) why: Arc<Error>,
    /// Its two files as they were at the last attempt; `None` where the disk cannot tell.
    seen: [Option<FileStat>; 2],
    /// When the next attempt may be made.
    next_attempt: Instant,
    /// The files have changed since, but too early for an attempt.
    is_waiting: bool,
}

/// An attempt to open a log.
pub(crate) struct Attempt {
    seen: [Option<FileStat>; 2],
    began: Instant,
}

impl Attempt {
    pub(crate) fn begin(options: &Options, namespace: &Namespace) -> Attempt {
        Attempt {
            // A writer makes one attempt only.
            seen: if options.read_only {
                stats(options, namespace)
            } else {
                [None; 2]
            },
            began: Instant::now(),
        }
    }

    pub(crate) fn failed(self, namespace: &Namespace, why: Arc<Error>) -> Unopened {
        let now = Instant::now();
        let pause = (now - self.began).saturating_mul(PAUSES);
        Unopened {
            namespace: namespace.clone(),
            why,
            seen: self.seen,
            next_attempt: now + pause,
            is_waiting: false,
        }
    }
}

fn stats(options: &Options, namespace: &Namespace) -> [Option<FileStat>; 2] {
    let dir = &options.logs_dir;
    [namespace.log_path(dir), namespace.index_path(dir)]
        .map(|path| options.disk.stat(&path).unwrap_or_default())
}

impl Storage {
    /// In a directory that is open for reading only: opens the logs that other processes have created since, and those
    /// that could not be opened before and now can. Returns them. In a directory that is open for writing there are no such
    /// logs.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn rescan(&self) -> Result<Vec<Arc<Log>>> {
        if self.options.read_only {
            self.forget_due_attempts();
            self.open_all(Look::Again)
        } else {
            Ok(Vec::new())
        }
    }

    /// In a directory that is open for reading only: closes the logs whose file another process has removed, renamed or
    /// replaced, and returns them. `ns`: looks at the log of this name only. Readers that wait for records of such a log are
    /// woken. [`Storage::rescan`] opens a file that has taken the place of one.
    pub fn forget_gone(&self, ns: Option<&str>) -> Vec<Arc<Log>> {
        if !self.options.read_only {
            return Vec::new();
        }
        let named = |name: &Namespace| ns.is_none_or(|ns| ns == name.as_str());
        let known: Vec<_> = self
            .logs_now()
            .iter()
            .filter(|(name, _)| named(name))
            .map(|(_, log)| Arc::clone(log))
            .collect();
        let gone: Vec<_> = known
            .into_iter()
            .filter(|log| log.segment.has_lost_its_name(&*self.options.disk))
            .collect();
        let mut logs = self.logs_to_change();
        for log in &gone {
            logs.remove(log.namespace().as_str());
            lock(&self.ended_ids).insert(log.id());
        }
        drop(logs);
        gone.iter().for_each(|log| log.end());
        lock(&self.failed).retain(|failed| {
            let log_path = failed.namespace.log_path(&self.options.logs_dir);
            let is_there = |e: std::io::Error| e.kind() != ErrorKind::NotFound;
            !named(&failed.namespace)
                || self
                    .options
                    .disk
                    .stat(&log_path)
                    .map_or_else(is_there, |_| true)
        });
        gone
    }

    /// Whether to try to open the log of this name: its files have changed since the last attempt, and the pause after it is
    /// over. [`Storage::looks_again_in`] says how long the pause still is.
    pub fn may_open_now(&self, ns: &str) -> bool {
        let mut failed = lock(&self.failed);
        let Some(failed) = failed.iter_mut().find(|f| f.namespace.as_str() == ns) else {
            return true;
        };
        if failed.seen[0].is_none() {
            return true; // Such a disk cannot tell.
        }
        if stats(&self.options, &failed.namespace) == failed.seen {
            failed.is_waiting = false;
            return false;
        }
        failed.is_waiting = Instant::now() < failed.next_attempt;
        !failed.is_waiting
    }

    /// Before an attempt at each log that is due: it no longer waits for one.
    pub(crate) fn forget_due_attempts(&self) {
        let now = Instant::now();
        for failed in lock(&self.failed).iter_mut() {
            failed.is_waiting &= now < failed.next_attempt;
        }
    }

    /// How long until the next attempt at a log that could not be opened and has changed since; `None`: there is no such log.
    pub fn looks_again_in(&self) -> Option<Duration> {
        let failed = lock(&self.failed);
        let waiting = failed.iter().filter(|failed| failed.is_waiting);
        let next = waiting.map(|failed| failed.next_attempt).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// The id that [`Log::id`] gives, for a log whose entries carry `carried`. A writer has made the two the same. A reader
    /// cannot: if another log carries the same id (a copy of a log, say), or if it is not a possible one, the log gets
    /// another id for as long as it is open.
    pub(crate) fn id_in_tree(&self, namespace: &Namespace, carried: u32, logs: &Logs) -> u32 {
        if !self.options.read_only {
            return carried;
        }
        let is_free = |id| !logs.have_id(id) && !lock(&self.ended_ids).contains(&id);
        if (1..MAX_ID).contains(&carried) && is_free(carried) {
            return carried;
        }
        loop {
            let id = logs.new_id(namespace);
            if is_free(id) {
                return id;
            }
        }
    }
}
