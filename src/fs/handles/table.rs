//! The open files of a mount.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use crate::fs::locks::{read, write};

use super::handle::Handle;

/// The open files of a mount, by the number that the kernel gives back with each call.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    last: AtomicU64,
    open: RwLock<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    /// A number that no open file has.
    pub(crate) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn insert(&self, handle: Handle) -> u64 {
        let fh = self.number();
        write(&self.open).insert(fh, Arc::new(handle));
        fh
    }

    pub(crate) fn get(&self, fh: u64) -> Option<Arc<Handle>> {
        read(&self.open).get(&fh).cloned()
    }

    pub(crate) fn remove(&self, fh: u64) -> Option<Arc<Handle>> {
        write(&self.open).remove(&fh)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        read(&self.open).values().cloned().collect()
    }
}
