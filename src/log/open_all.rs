//! Opening all logs of a directory: one after the other, and those whose check takes long when the others are in use.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::create::{MAX_ID, pick_id};
use super::log::Parts;
use super::logs::Logs;
use super::others::Attempt;
use super::progress::Checking;
use super::recovery::{self, Opened};
use super::signal::lock;
use super::syncer::Syncer;
use super::{Error, Log, Namespace, Result, Storage};

/// A look at a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    First,
    /// Another process may just be making a log.
    Again,
}

impl Storage {
    /// Checks and opens the next log whose check was put off, while the others are in use. Returns it, or why it could
    /// not be opened; nothing when none is left. Takes as long as the check. One thread calls it.
    ///
    /// # Errors
    /// [`Error::BeingChecked`] if it was stopped; [`Error::Closed`].
    pub fn open_postponed(&self) -> Result<Option<Result<Arc<Log>, Arc<Error>>>> {
        let Some(checking) = lock(&self.postponed).first().cloned() else {
            return Ok(None);
        };
        let namespace = checking.namespace();
        checking.begin();
        let attempt = Attempt::begin(&self.options, namespace);
        let choose = |has| {
            // Others come and go meanwhile.
            let _changing = lock(&self.changing);
            let logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            let id = self.id_of(namespace, has, &logs);
            self.reserved_id.store(id, Ordering::Relaxed);
            id
        };
        let opened = recovery::open(&self.options, namespace, &choose, Some(&checking));
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        self.reserved_id.store(0, Ordering::Relaxed);
        if checking.is_stopped() || checking.is_postponed() {
            return Err(checking.error());
        }
        if !self.options.read_only && lock(&self.lock).is_none() {
            return Err(Error::Closed);
        }
        lock(&self.postponed).retain(|other| !Arc::ptr_eq(other, &checking));
        Ok(Some(match opened {
            Ok(opened) => {
                let log = self.log_of(namespace, opened, &logs);
                logs.insert(Arc::clone(&log));
                Ok(log)
            }
            Err(e) => {
                tell_failed(namespace, &e);
                let why = Arc::new(e);
                lock(&self.failed).push(attempt.failed(namespace, Arc::clone(&why)));
                Err(why)
            }
        }))
    }

    /// Opens the logs that are there and not open, and returns them.
    pub(super) fn open_all(&self, look: Look) -> Result<Vec<Arc<Log>>> {
        let mut opened_now = Vec::new();
        let dir = &self.options.logs_dir;
        let mut entries = self
            .options
            .disk
            .list(dir)
            .map_err(|e| Error::io("list", dir, e))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let Some(stem) = entry
                .name
                .to_str()
                .and_then(|name| name.strip_suffix(".log"))
            else {
                continue;
            };
            if !self.options.opens(stem) {
                continue;
            }
            let namespace = match Namespace::new(stem) {
                Ok(namespace) if entry.is_file => namespace,
                Ok(_) => {
                    log::warn!(
                        "skipped '{}': not an ordinary file",
                        dir.join(&entry.name).display()
                    );
                    continue;
                }
                Err(e) => {
                    log::warn!("skipped '{}': {e}", dir.join(&entry.name).display());
                    continue;
                }
            };
            let known = self.logs_now().contains_key(&namespace);
            if known || self.is_postponed(stem).is_some() || !self.may_open_now(stem) {
                continue;
            }
            let attempt = Attempt::begin(&self.options, &namespace);
            let checking = self.watch(&namespace);
            // Not under the lock: it may take long, and whoever looks for another log does not wait for it.
            let opened = recovery::open(
                &self.options,
                &namespace,
                &|has| self.id_of(&namespace, has, &self.logs_now()),
                checking.as_ref(),
            );
            if let Some(checking) = checking {
                if checking.is_stopped() {
                    return Err(checking.error());
                }
                if checking.is_postponed() {
                    lock(&self.postponed).push(checking);
                    continue;
                }
            }
            if look == Look::Again && opened.as_ref().is_ok_and(Opened::is_being_made) {
                continue; // What comes next in its file is looked at, too.
            }
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            let mut failed = lock(&self.failed);
            let before = failed.iter().position(|f| f.namespace == namespace);
            match opened {
                Ok(opened) => {
                    let log = self.log_of(&namespace, opened, &logs);
                    logs.insert(Arc::clone(&log));
                    opened_now.push(log);
                    before.map(|at| failed.remove(at));
                }
                Err(e) => match before {
                    None => {
                        tell_failed(&namespace, &e);
                        failed.push(attempt.failed(&namespace, Arc::new(e)));
                    }
                    Some(at) => failed[at] = attempt.failed(&namespace, Arc::new(e)),
                },
            }
        }
        Ok(opened_now)
    }

    /// The check of one log, if somebody watches.
    fn watch(&self, namespace: &Namespace) -> Option<Arc<Checking>> {
        let opening = self.options.opening.clone()?;
        Some(Checking::new(namespace, opening))
    }

    /// The id of a log that says `has`.
    fn id_of(&self, namespace: &Namespace, has: Option<u32>, logs: &Logs) -> u32 {
        let free = |id| id < MAX_ID && !logs.have_id(id);
        match has {
            // A reader has no say in it: the entries on disk carry the id that they carry.
            Some(id) if self.options.read_only || free(id) => id,
            _ => pick_id(namespace, |id| !logs.have_id(id)),
        }
    }

    /// The id of a new log. One that is being checked has one, too.
    pub(crate) fn new_id(&self, namespace: &Namespace, logs: &Logs) -> u32 {
        let reserved = self.reserved_id.load(Ordering::Relaxed);
        pick_id(namespace, |id| id != reserved && !logs.have_id(id))
    }

    pub(super) fn log_of(&self, namespace: &Namespace, opened: Opened, logs: &Logs) -> Arc<Log> {
        let options = &self.options;
        Log::new(Parts {
            id: self.id_in_tree(namespace, opened.index.id, logs),
            namespace: namespace.clone(),
            format: opened.format,
            sync: options.sync,
            max_record_bytes: options.max_record_bytes,
            read_only: options.read_only,
            boot: options.disk.boot_id(),
            disk: Arc::clone(&options.disk),
            log_path: namespace.log_path(&options.logs_dir),
            index_path: namespace.index_path(&options.logs_dir),
            file: opened.file,
            index: opened.index,
            tail: opened.tail,
            recovery: opened.recovery,
            queue: lock(&self.syncer).as_ref().map(Syncer::queue),
        })
    }
}

fn tell_failed(namespace: &Namespace, why: &Error) {
    log::error!("cannot open namespace '{namespace}': {why}");
}
