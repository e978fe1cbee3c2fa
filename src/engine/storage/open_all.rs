//! Opening all logs of a directory: by several threads if there are many logs. Logs whose check was postponed are opened one by
//! one, while the others are in use.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::create::MAX_ID;
use super::in_order::{InOrder, Piece};
use super::logs::Logs;
use super::others::Attempt;
use super::storage::Storage;
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::log::{Log, SyncThreads};
use crate::namespace::Namespace;
use crate::progress::Checking;
use crate::recovery::{self, Opened};

/// From this number of logs on, helpers open them, too.
const MANY: usize = 32;
/// How many threads help to open many logs. Most of the time they wait for the disk.
const HELPERS: usize = 7;

/// Which look at a directory it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    First,
    /// A log without a byte may be one that another process is just creating.
    Again,
}

impl Storage {
    /// Checks and opens the next log whose check was postponed, while the others are in use. Returns the log, or why it could
    /// not be opened; `None` when none is left. Takes as long as the check. Only one thread may call this.
    ///
    /// # Errors
    /// [`Error::BeingChecked`] if the check was stopped; [`Error::Closed`].
    pub fn open_postponed(&self) -> Result<Option<Result<Arc<Log>, Arc<Error>>>> {
        let Some(checking) = lock(&self.postponed).first().cloned() else {
            return Ok(None);
        };
        let namespace = checking.namespace();
        checking.begin();
        let attempt = Attempt::begin(&self.options, namespace);
        let reserved = Cell::new(None);
        let choose = |has| {
            // Other namespaces are created and removed meanwhile.
            let _changing = lock(&self.changing);
            self.choose_id(namespace, has, &reserved)
        };
        let opened = recovery::open(&self.options, namespace, &choose, Some(&checking));
        let mut logs = self.logs_to_change();
        logs.give_back(reserved.get());
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
                report_failure(namespace, &e);
                let why = Arc::new(e);
                lock(&self.failed).push(attempt.failed(namespace, Arc::clone(&why)));
                Err(why)
            }
        }))
    }

    /// Opens the logs that are there and not open, and returns them, sorted.
    pub(crate) fn open_all(&self, look: Look) -> Result<Vec<Arc<Log>>> {
        let names = self.names_to_open()?;
        // A log that was not closed in order is synced, and several syncs at once cost little more than one. For a reader, ids
        // are chosen when the logs are open: with one thread, always the same ones.
        let helpers = match names.len() {
            MANY.. if !self.options.read_only => HELPERS,
            _ => 0,
        };
        let order = InOrder::new(names.len());
        let open = || {
            let mut opened = Vec::new();
            while let Some(piece) = order.take() {
                opened.extend(self.open_one(&names[piece.number], look, &piece)?);
            }
            Ok(opened)
        };
        let mut opened: Vec<_> = thread::scope(|scope| {
            let start = |_| {
                let helper = thread::Builder::new().name("open".into());
                helper.spawn_scoped(scope, open).ok()
            };
            let helpers: Vec<_> = (0..helpers).filter_map(start).collect();
            let mut all = open();
            for helper in helpers {
                let opened = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
                all = all.and_then(|mut all| {
                    all.extend(opened?);
                    Ok(all)
                });
            }
            all
        })?;
        opened.sort_by(|a, b| a.namespace().cmp(b.namespace()));
        lock(&self.failed).sort_by(|a, b| a.namespace.cmp(&b.namespace));
        lock(&self.postponed).sort_by(|a, b| a.namespace().cmp(b.namespace()));
        Ok(opened)
    }

    /// The logs that are there, are not open, and are worth an attempt, sorted.
    fn names_to_open(&self) -> Result<Vec<Namespace>> {
        let dir = &self.options.logs_dir;
        let entries = self.options.disk.list(dir);
        let mut entries = entries.map_err(|e| Error::io("list", dir, e))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.name.to_str();
            let Some(stem) = name.and_then(|name| name.strip_suffix(".log")) else {
                continue;
            };
            if !self.options.opens(stem) {
                continue;
            }
            match Namespace::new(stem) {
                Ok(namespace) if entry.is_file => {
                    let known = self.logs_now().contains_key(&namespace);
                    if !known && self.is_postponed(stem).is_none() && self.may_open_now(stem) {
                        names.push(namespace);
                    }
                }
                Ok(_) => log::warn!(
                    "skipped '{}': not an ordinary file",
                    dir.join(&entry.name).display()
                ),
                Err(e) => log::warn!("skipped '{}': {e}", dir.join(&entry.name).display()),
            }
        }
        Ok(names)
    }

    /// Opens a log, unless its check is postponed, or another process is just creating it. Ids are chosen in the order of
    /// names.
    fn open_one(
        &self,
        namespace: &Namespace,
        look: Look,
        piece: &Piece<'_>,
    ) -> Result<Option<Arc<Log>>> {
        let attempt = Attempt::begin(&self.options, namespace);
        let checking = self.watch(namespace);
        let reserved = Cell::new(None);
        let choose = |has| piece.step(|| self.choose_id(namespace, has, &reserved));
        // Without the lock of `logs`: the check may take long, and callers that look for other logs do not wait for it.
        let opened = recovery::open(&self.options, namespace, &choose, checking.as_ref());
        let mut logs = self.logs_to_change();
        logs.give_back(reserved.get());
        if let Some(checking) = checking {
            if checking.is_stopped() {
                return Err(checking.error());
            }
            if checking.is_postponed() {
                lock(&self.postponed).push(checking);
                return Ok(None);
            }
        }
        if look == Look::Again && opened.as_ref().is_ok_and(Opened::is_being_made) {
            return Ok(None); // A later look finds it when it has bytes.
        }
        let mut failed = lock(&self.failed);
        let before = failed.iter().position(|f| f.namespace == *namespace);
        Ok(match (opened, before) {
            (Ok(opened), before) => {
                let log = self.log_of(namespace, opened, &logs);
                logs.insert(Arc::clone(&log));
                before.map(|at| failed.remove(at));
                Some(log)
            }
            (Err(e), None) => {
                report_failure(namespace, &e);
                failed.push(attempt.failed(namespace, Arc::new(e)));
                None
            }
            (Err(e), Some(at)) => {
                failed[at] = attempt.failed(namespace, Arc::new(e));
                None
            }
        })
    }

    /// Chooses the id of a log whose index says `has`, and reserves it until it is given back.
    fn choose_id(
        &self,
        namespace: &Namespace,
        has: Option<u32>,
        reserved: &Cell<Option<u32>>,
    ) -> u32 {
        let mut logs = self.logs_to_change();
        let id = self.kept_or_new_id(namespace, has, &logs);
        if !self.options.read_only {
            reserved.set(Some(id));
            logs.reserve(id);
        }
        id
    }

    /// The check of one log, if the options have it watched.
    fn watch(&self, namespace: &Namespace) -> Option<Arc<Checking>> {
        let opening = self.options.opening.clone()?;
        Some(Checking::new(namespace, opening))
    }

    /// The id that the index says, if it can be kept; else a new one.
    fn kept_or_new_id(&self, namespace: &Namespace, has: Option<u32>, logs: &Logs) -> u32 {
        let free = |id| id < MAX_ID && !logs.have_id(id);
        match has {
            // A reader cannot change the id that the entries on the disk carry.
            Some(id) if self.options.read_only || free(id) => id,
            _ => logs.new_id(namespace),
        }
    }

    /// Makes the log of the files that were opened.
    pub(crate) fn log_of(&self, namespace: &Namespace, opened: Opened, logs: &Logs) -> Arc<Log> {
        let id = self.id_in_tree(namespace, opened.segment.index.id, logs);
        let queue = lock(&self.sync_threads).as_ref().map(SyncThreads::queue);
        Log::new(id, opened, &self.options, queue)
    }
}

fn report_failure(namespace: &Namespace, why: &Error) {
    log::error!("cannot open namespace '{namespace}': {why}");
}
