//! Open directories.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fs::locks::lock;

/// Open directories, by their number: how many records each lists, fixed when it is rewound, so that a
/// listing ends.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    last: AtomicU64,
    records: Mutex<HashMap<u64, u64>>,
}

impl Directories {
    /// Opens a directory that lists this number of records. Returns the number of the open directory.
    pub(crate) fn open(&self, records: u64) -> u64 {
        let fh = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.rewind(fh, records);
        fh
    }

    /// From now on the directory lists this number of records.
    pub(crate) fn rewind(&self, fh: u64, records: u64) {
        lock(&self.records).insert(fh, records);
    }

    /// How many records the directory lists.
    pub(crate) fn records(&self, fh: u64) -> u64 {
        lock(&self.records).get(&fh).copied().unwrap_or(0)
    }

    pub(crate) fn close(&self, fh: u64) {
        lock(&self.records).remove(&fh);
    }
}
