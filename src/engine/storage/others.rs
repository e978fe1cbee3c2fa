//! Logs that another process makes, removes and replaces, as who only reads sees them.

use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};
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

/// A log that could not be opened is looked at again after so many times as long as that took, so that a large one that
/// somebody goes on writing to takes little of the machine.
const PAUSES: u32 = 20;

/// A log that is there and could not be opened.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) namespace: Namespace,
    pub(crate) why: Arc<Error>,
    /// Its two files as they were then; nothing where the disk cannot tell.
    seen: [Option<FileStat>; 2],
    /// Not before this it is looked at again.
    again: Instant,
    /// It has changed since, and it was too early to look.
    waits: bool,
}

/// An attempt to open a log.
pub(crate) struct Attempt {
    seen: [Option<FileStat>; 2],
    began: Instant,
}

impl Attempt {
    pub(crate) fn begin(options: &Options, namespace: &Namespace) -> Attempt {
        Attempt {
            // Who writes makes one attempt.
            seen: if options.read_only {
                stats(options, namespace)
            } else {
                [None; 2]
            },
            began: Instant::now(),
        }
    }

    pub(crate) fn failed(self, namespace: &Namespace, why: Arc<Error>) -> Failed {
        let now = Instant::now();
        let pause = (now - self.began).saturating_mul(PAUSES);
        Failed {
            namespace: namespace.clone(),
            why,
            seen: self.seen,
            again: now + pause,
            waits: false,
        }
    }
}

fn stats(options: &Options, namespace: &Namespace) -> [Option<FileStat>; 2] {
    let dir = &options.logs_dir;
    [namespace.log_path(dir), namespace.index_path(dir)]
        .map(|path| options.disk.stat(&path).unwrap_or_default())
}

impl Storage {
    /// Of a directory that is open for reading only: opens the logs that have come since, and those that
    /// could not be opened and now can. Returns them. A directory that is open for writing has no others than
    /// those it knows.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn rescan(&self) -> Result<Vec<Arc<Log>>> {
        if self.options.read_only {
            self.nothing_waits();
            self.open_all(Look::Again)
        } else {
            Ok(Vec::new())
        }
    }

    /// Of a directory that is open for reading only: forgets the logs whose file another process has removed, moved
    /// away or replaced, of this name or of any, and returns them. Whoever waits for their records is woken: they are
    /// closed. A file that has come in the place of one is found by [`Storage::rescan`].
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
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
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

    /// Whether an attempt to open the log of this name may end otherwise than the last one, and is due. One that comes
    /// too early is due at [`Storage::looks_again_in`].
    pub fn may_open_now(&self, ns: &str) -> bool {
        let mut failed = lock(&self.failed);
        let Some(failed) = failed.iter_mut().find(|f| f.namespace.as_str() == ns) else {
            return true;
        };
        if failed.seen[0].is_none() {
            return true; // Such a disk cannot tell.
        }
        if stats(&self.options, &failed.namespace) == failed.seen {
            failed.waits = false;
            return false;
        }
        failed.waits = Instant::now() < failed.again;
        !failed.waits
    }

    /// What is due is looked at now, or is not there any more.
    pub(crate) fn nothing_waits(&self) {
        let now = Instant::now();
        for failed in lock(&self.failed).iter_mut() {
            failed.waits &= now < failed.again;
        }
    }

    /// When the next log that could not be opened, and has changed since, is worth another look; `None`: there is none.
    pub fn looks_again_in(&self) -> Option<Duration> {
        let failed = lock(&self.failed);
        let waiting = failed.iter().filter(|failed| failed.waits);
        let next = waiting.map(|failed| failed.again).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// The id by which the tree knows a log, whose entries carry `carried`. Who only reads has no say in what they
    /// carry, and so two logs may carry one id, or one that is none: the copy of a log, say.
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
