//! The commit: what an append has written becomes part of the log, step by step.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use super::log::Log;
use super::undo::Wrote;
use super::writer::Writer;
use crate::error::Result;
use crate::locks::lock;
use crate::options::Durability;

impl Log {
    /// Makes the records of the append under way part of the log, in this order: the rest of the records, the index entries,
    /// the count, then what readers see. With [`Durability::Always`] readers see them after a sync. Returns how many
    /// records the log then has.
    ///
    /// The index is written before the count, so that after a crash of this process every counted record has
    /// its entry. The count is written with each append, so that the log alone, its index deleted, opens with
    /// every acknowledged record.
    pub(crate) fn commit(&self, mut guard: MutexGuard<'_, Writer>) -> Result<u64> {
        let writer = &mut *guard;
        let (segment, pending) = (&self.segment, &mut writer.pending);
        if let Err(e) = pending.flush(segment) {
            return Err(self.roll_back(writer, e, Wrote::Records));
        }
        if let Err(e) = segment
            .index
            .write(writer.tail.count, pending.entries(segment))
        {
            return Err(self.roll_back(writer, e, Wrote::Entries));
        }
        let tail = *pending.tail();
        if let Err(e) = segment.write_header(&tail) {
            return Err(self.roll_back(writer, e, Wrote::Count));
        }
        pending.shrink();
        writer.tail = tail;
        let since = lock(&self.written).append(tail);
        if self.next_syncs.load(Ordering::Relaxed) {
            self.next_syncs.store(false, Ordering::Relaxed);
        }
        if self.sync == Durability::Always {
            return Ok(tail.count); // The sync commits it.
        }
        // Still under the writer's lock, so that commits are in order.
        self.signal.update(|state| state.follow(&tail));
        // The thread that stores `false` then looks at what is written: it sees this append, or this sees `false`.
        if let Some(queue) = &self.queue
            && !self.dirty.load(Ordering::Relaxed)
        {
            self.put_in_line(queue, since);
        }
        Ok(tail.count)
    }
}
