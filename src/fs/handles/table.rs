//! The open files of a mount.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fh, Arc::new(handle));
        fh
    }

    pub(crate) fn get(&self, fh: u64) -> Option<Arc<Handle>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fh)
            .cloned()
    }

    pub(crate) fn remove(&self, fh: u64) -> Option<Arc<Handle>> {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fh)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
