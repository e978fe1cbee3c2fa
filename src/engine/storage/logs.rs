//! The open logs of a directory, by name, and the ids that are taken.

use std::collections::{BTreeMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::create::pick_id;
use crate::log::Log;
use crate::namespace::Namespace;

/// The open logs. It reads as a map; inserting and removing a log also takes and frees its id.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    by_name: BTreeMap<Namespace, Arc<Log>>,
    /// The ids of the logs, and those that are reserved. A set, so that opening ten thousand logs does not compare each with all.
    ids: HashSet<u32>,
}

impl Logs {
    /// Keeps an id from other logs while its log is being opened.
    pub(crate) fn reserve(&mut self, id: u32) {
        self.ids.insert(id);
    }

    /// Frees a reserved id: the log is inserted next, or could not be opened.
    pub(crate) fn give_back(&mut self, reserved: Option<u32>) {
        if let Some(id) = reserved {
            self.ids.remove(&id);
        }
    }

    /// Adds a log. No other log has its name or its id.
    pub(crate) fn insert(&mut self, log: Arc<Log>) {
        self.ids.insert(log.id());
        self.by_name.insert(log.namespace().clone(), log);
    }

    pub(crate) fn remove(&mut self, ns: &str) {
        if let Some(log) = self.by_name.remove(ns) {
            self.ids.remove(&log.id());
        }
    }

    /// Whether an open log, or one that is being opened, has this id.
    pub(crate) fn have_id(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// A free id for a new log.
    pub(crate) fn new_id(&self, namespace: &Namespace) -> u32 {
        pick_id(namespace, |id| !self.have_id(id))
    }
}

impl Deref for Logs {
    type Target = BTreeMap<Namespace, Arc<Log>>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}
