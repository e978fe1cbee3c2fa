//! The commit: the records of an append become part of the log. The steps, and what a crash between two of them leaves, are
//! drawn in `log.rs`.

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
        debug_assert!(writer.tail.count < tail.count, "an append without a record");
        writer.tail = tail;
        let since = lock(&self.written).append(tail);
        if self.next_append_syncs.load(Ordering::Relaxed) {
            self.next_append_syncs.store(false, Ordering::Relaxed);
        }
        if self.durability == Durability::Always {
            return Ok(tail.count); // The sync commits it.
        }
        // Still under the writer's lock, so that commits are in order.
        self.signal.update(|state| {
            debug_assert!(state.count < tail.count, "a commit out of order");
            state.follow(&tail);
        });
        // After `sync_queued` has stored `false`, it looks for unsynced records. Either it sees this append, or this thread
        // sees `false`.
        if let Some(queue) = &self.queue
            && !self.is_queued.load(Ordering::Relaxed)
        {
            self.queue_sync(queue, since);
        }
        Ok(tail.count)
    }
}
