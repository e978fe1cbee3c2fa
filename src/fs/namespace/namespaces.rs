//! The namespaces of a mount.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use super::mounted::MountedLog;
use crate::fs::errno::Errno;
use crate::fs::locks::{lock, read, write};

/// The namespaces that are mounted, by their ids.
#[derive(Debug)]
pub(crate) struct Namespaces {
    by_id: RwLock<HashMap<u32, Arc<MountedLog>>>,
    /// When a namespace came or went last.
    changed: Mutex<SystemTime>,
}

impl Namespaces {
    pub(crate) fn new(
        namespaces: impl Iterator<Item = MountedLog>,
        changed: SystemTime,
    ) -> Namespaces {
        let by_id = namespaces.map(|namespace| (namespace.id(), Arc::new(namespace)));
        Namespaces {
            by_id: RwLock::new(by_id.collect()),
            changed: Mutex::new(changed),
        }
    }

    /// The namespace with this id.
    ///
    /// # Errors
    /// `ESTALE` when it is gone.
    pub(crate) fn get(&self, id: u32) -> Result<Arc<MountedLog>, Errno> {
        read(&self.by_id).get(&id).cloned().ok_or(Errno::ESTALE)
    }

    pub(crate) fn all(&self) -> Vec<Arc<MountedLog>> {
        read(&self.by_id).values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        read(&self.by_id).len()
    }

    pub(crate) fn changed(&self) -> SystemTime {
        *lock(&self.changed)
    }

    pub(crate) fn insert(&self, namespace: MountedLog) {
        write(&self.by_id).insert(namespace.id(), Arc::new(namespace));
        *lock(&self.changed) = SystemTime::now();
    }

    pub(crate) fn remove(&self, id: u32) -> Option<Arc<MountedLog>> {
        let removed = write(&self.by_id).remove(&id);
        *lock(&self.changed) = SystemTime::now();
        removed
    }
}
