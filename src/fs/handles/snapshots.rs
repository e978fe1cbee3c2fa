//! Open files whose text was written when they were opened.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Texts as they were when they were opened, by the number of the open file.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    open: RwLock<HashMap<u64, Arc<str>>>,
}

impl Snapshots {
    pub(crate) fn insert(&self, fh: u64, text: String) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fh, text.into());
    }

    pub(crate) fn get(&self, fh: u64) -> Option<Arc<str>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fh)
            .cloned()
    }

    pub(crate) fn remove(&self, fh: u64) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fh);
    }
}
