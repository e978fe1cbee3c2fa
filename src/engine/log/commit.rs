//! The commit: what an append has written becomes part of the log, step by step.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use super::log::{KEEP_BYTES, Log, Writer};
use super::undo::Wrote;
use crate::error::Result;
use crate::locks::lock;
use crate::options::Durability;
use crate::segment::LogEnd;

impl Log {
    /// The second half of an append: index entries, count, and the commit, unless a sync has to come before
    /// it.
    ///
    /// The index is written before the count, so that after a crash of this process every counted record has
    /// its entry; the count is written with each append, so that the log alone, its index deleted, opens with
    /// every acknowledged record.
    pub(crate) fn commit(&self, mut guard: MutexGuard<'_, Writer>, tail: LogEnd) -> Result<()> {
        let writer = &mut *guard;
        if let Err(e) = self.segment.index.write(writer.tail.count, &writer.entries) {
            return Err(self.roll_back(writer, e, Wrote::Entries));
        }
        if let Err(e) = self.segment.write_header(&tail) {
            return Err(self.roll_back(writer, e, Wrote::Count));
        }
        writer.tail = tail;
        let since = lock(&self.written).append(tail);
        if self.next_syncs.load(Ordering::Relaxed) {
            self.next_syncs.store(false, Ordering::Relaxed);
        }
        if writer.entries.capacity() > KEEP_BYTES {
            writer.entries = Vec::new();
        }
        if self.sync == Durability::Always {
            return Ok(()); // What syncs it commits it.
        }
        // Still under the writer's lock, so that commits are in order.
        self.signal.update(|state| state.follow(&tail));
        // The thread that stores `false` then looks at what is written: it sees this append, or this sees `false`.
        if let Some(queue) = &self.queue
            && !self.dirty.load(Ordering::Relaxed)
        {
            self.put_in_line(queue, since);
        }
        Ok(())
    }
}
