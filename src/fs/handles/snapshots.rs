//! Open files whose text was written when they were opened.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::fs::locks::{read, write};

/// Texts as they were when they were opened, by the number of the open file.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    open: RwLock<HashMap<u64, Arc<str>>>,
}

impl Snapshots {
    pub(crate) fn insert(&self, fh: u64, text: String) {
        write(&self.open).insert(fh, text.into());
    }

    pub(crate) fn get(&self, fh: u64) -> Option<Arc<str>> {
        read(&self.open).get(&fh).cloned()
    }

    pub(crate) fn remove(&self, fh: u64) {
        write(&self.open).remove(&fh);
    }
}
