//! The logs of a directory that are open, by name, and the ids that are taken.

use std::collections::{BTreeMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::create::pick_id;
use crate::log::Log;
use crate::namespace::Namespace;

/// Logs that are open. Reads as a map; a log that comes or goes brings or takes its id.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    by_name: BTreeMap<Namespace, Arc<Log>>,
    /// Of ten thousand logs that are opened, each is asked whether its id is one of the others'.
    ids: HashSet<u32>,
}

impl Logs {
    /// Nobody else gets an id for as long as its log is being opened.
    pub(crate) fn reserve(&mut self, id: u32) {
        self.ids.insert(id);
    }

    /// The log is open, and is added next, or it is not.
    pub(crate) fn give_back(&mut self, reserved: Option<u32>) {
        if let Some(id) = reserved {
            self.ids.remove(&id);
        }
    }

    /// Adds a log, whose name and id no other one has.
    pub(crate) fn insert(&mut self, log: Arc<Log>) {
        self.ids.insert(log.id());
        self.by_name.insert(log.namespace().clone(), log);
    }

    pub(crate) fn remove(&mut self, ns: &str) {
        if let Some(log) = self.by_name.remove(ns) {
            self.ids.remove(&log.id());
        }
    }

    /// Whether one of them has this id, or one that is being opened.
    pub(crate) fn have_id(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// An id for a new log, which none of them has.
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
