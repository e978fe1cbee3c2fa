//! Reads of `log.jsonl` far behind what is known of its lines, say by a program that goes on where it was
//! before the mount began: what lies between has to be read first, which takes as long as it takes.
//!
//! The threads that serve the mount are not for that. Such a read is parked, without a thread, and a thread of a
//! [pool](super::pool) measures, for each namespace in turn, a piece at a time. A signal ends the read as any other that
//! waits.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::pool::Pool;

/// In so many namespaces something is measured at the same time: more would be no faster, but a disk that stands still is
/// to leave threads for the others.
const MOST_MEASURED: usize = 16;

/// The namespaces in which something is measured, and the threads for that.
pub(crate) struct MeasureQueue {
    pub(crate) namespaces: Mutex<HashSet<u32>>,
    pub(crate) threads: Arc<Pool>,
}

impl Default for MeasureQueue {
    fn default() -> Self {
        MeasureQueue {
            namespaces: Mutex::default(),
            threads: Pool::new("measure", MOST_MEASURED),
        }
    }
}
