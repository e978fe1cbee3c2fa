//! Which files are kept open: a bounded number of them, so that ten thousand logs do not need twenty thousand descriptors.
//!
//! When too many are open, the pool closes files that are not in use: first the file that was not used for longest (nearly: one
//! bit tells whether a file was used since the pool last looked at it).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::system_calls::most_descriptors;
use crate::locks::lock;

/// Files of logs may take one of this many parts of the process's descriptors. The others are for readers, for records that are
/// still written, and for the rest of the program.
pub(super) const PARTS: u64 = 4;
const FEWEST_FILES: u64 = 8;
/// How many files that were written to are synced and closed at a time.
const SYNCED_AT_ONCE: usize = 8;

pub(super) static POOL: Pool = Pool {
    queue: Mutex::new(VecDeque::new()),
    open: AtomicUsize::new(0),
};

/// A file that the pool may close, and that opens itself again when it is used.
pub(super) trait Closable: Send + Sync {
    /// Whether it was used since the last call.
    fn take_used(&self) -> bool;
    /// Closes it, if it can be closed now.
    fn close(&self) -> Closing;
    /// Syncs it. Returns whether all that was written is on the disk.
    fn sync_to_close(&self) -> bool;
}

/// What became of an attempt to close a file.
pub(super) enum Closing {
    Closed,
    /// It is in use, or could not be found again.
    InUse,
    /// It has to be synced first.
    WrittenTo,
}

/// The files that are open.
pub(super) struct Pool {
    /// In the order in which the pool looks at them.
    queue: Mutex<VecDeque<Weak<dyn Closable>>>,
    open: AtomicUsize,
}

impl Pool {
    /// How many files are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A file was opened. Closes others if there are too many.
    pub(super) fn opened(&self, file: Weak<dyn Closable>) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut queue = lock(&self.queue);
        if queue.len() > 2 * open + 64 {
            // A file that is gone stays in the queue until the pool looks at it.
            queue.retain(|file| file.strong_count() > 0);
        }
        queue.push_back(file);
        drop(queue);
        self.make_room(limit());
    }

    /// A file was closed.
    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Closes files until no more than `limit` are open, or no other one can be closed.
    pub(super) fn make_room(&self, limit: usize) {
        if self.open() <= limit {
            return;
        }
        let mut written_to = Vec::new();
        let mut queue = lock(&self.queue);
        for _ in 0..2 * queue.len() {
            if self.open() <= limit || written_to.len() == SYNCED_AT_ONCE {
                break;
            }
            let Some(next) = queue.pop_front() else { break };
            let Some(file) = next.upgrade() else { continue };
            if file.take_used() {
                queue.push_back(next);
                continue;
            }
            match file.close() {
                Closing::Closed => self.closed(),
                Closing::InUse => queue.push_back(next),
                Closing::WrittenTo => written_to.push(file),
            }
        }
        drop(queue);
        for file in written_to {
            if self.open() > limit
                && file.sync_to_close()
                && matches!(file.close(), Closing::Closed)
            {
                self.closed();
            } else {
                lock(&self.queue).push_back(Arc::downgrade(&file));
            }
        }
    }
}

/// How many files of logs are kept open.
fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let soft = most_descriptors().unwrap_or(0);
        usize::try_from((soft / PARTS).max(FEWEST_FILES)).unwrap_or(usize::MAX)
    })
}
