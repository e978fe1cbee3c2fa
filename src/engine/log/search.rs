//! From a place in the text, or a time, to a record.

use std::time::SystemTime;

use super::log::Log;
use crate::error::Result;
use crate::format::{ENTRY_BYTES, IndexEntry, SIZE_FIELD_BYTES};
use crate::ids::{ByteIndex, RecordNo};
use crate::segment::Entry;
use crate::segment::to_ns;

/// How many damaged entries one search steps over.
const MAX_STEPS: u64 = 1 << 16;
/// How many entries are read at once while damaged ones are stepped over: 4 KiB.
const STEPS_AT_ONCE: u64 = 128;

impl Log {
    /// The record whose text covers byte `offset` of the text view; `None` at its end and beyond. O(log n)
    /// reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) if the index is so just there,
    /// [`Error::Io`](crate::Error::Io).
    pub fn find_text(&self, offset: u64) -> Result<Option<RecordNo>> {
        let state = self.state();
        if offset >= state.text_end {
            return Ok(None);
        }
        let start = |entry: &IndexEntry| entry.text_offset;
        let end = |entry: &Entry| entry.text_offset + entry.text_size;
        self.covering(offset, state.count, state.text_end, start, end)
            .map(Some)
    }

    /// The record whose bytes in the log file, size field included, cover byte `index`; `None` before the
    /// first one and from the end on. O(log n) reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) if the index is so just there,
    /// [`Error::Io`](crate::Error::Io).
    pub fn find_index(&self, index: ByteIndex) -> Result<Option<RecordNo>> {
        let state = self.state();
        if index.0 < self.segment.format.header_bytes() || index.0 >= state.log_end {
            return Ok(None);
        }
        let start = |entry: &IndexEntry| entry.log_offset;
        let end = |entry: &Entry| entry.index.0 + SIZE_FIELD_BYTES + entry.size;
        self.covering(index.0, state.count, state.log_end, start, end)
            .map(Some)
    }

    /// The record that covers `place`, where each of `count` records covers what is between its `start` and its `end`,
    /// and the last one ends at `all`.
    fn covering(
        &self,
        place: u64,
        count: u64,
        all: u64,
        start: impl Fn(&IndexEntry) -> u64,
        end: impl Fn(&Entry) -> u64,
    ) -> Result<RecordNo> {
        let (after, skipped) = self.first_above(count, all, place, start)?;
        let found = after
            .checked_sub(1)
            .map(RecordNo)
            .ok_or_else(|| self.bad_entry(RecordNo(0)))?;
        // Behind the record that was found there may be one whose entry is damaged.
        if skipped && place >= end(&self.entry(found)?) {
            return Err(self.bad_entry(RecordNo(after)));
        }
        Ok(found)
    }

    /// The first record appended at `time` or after; the committed count if there is none. O(log n) reads of
    /// 32 bytes.
    ///
    /// The times of records never go back, even if the clock does; a record whose time is not known counts
    /// with the one before it.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) if very many entries of the index are so,
    /// [`Error::Io`](crate::Error::Io).
    pub fn find_time(&self, time: SystemTime) -> Result<RecordNo> {
        let state = self.state();
        // Times before 1970 are not written: those looked for may as well be 1970.
        let target = u64::try_from(to_ns(time)).unwrap_or(0);
        let Some(before) = target.checked_sub(1) else {
            return Ok(RecordNo(0));
        };
        let end = state
            .last_time
            .map_or(u64::MAX, |last| u64::try_from(to_ns(last)).unwrap_or(0));
        let (found, _) = self.first_above(state.count, end, before, |entry| {
            u64::try_from(entry.time_ns).unwrap_or(0)
        })?;
        Ok(RecordNo(found))
    }

    /// The first of `count` records whose key is above `target`. Keys rise with the records, up to `end`;
    /// where they rise evenly, a few reads find it, and every third look halves what is left, so that it is
    /// never more than O(log n). Damaged entries are stepped over; the flag says if there were any.
    fn first_above(
        &self,
        count: u64,
        end: u64,
        target: u64,
        key: impl Fn(&IndexEntry) -> u64,
    ) -> Result<(u64, bool)> {
        let (mut low, mut high, mut steps) = (0, count, 0);
        let (mut low_key, mut high_key) = (0, end);
        for look in 0.. {
            if low == high {
                break;
            }
            let left = high - low;
            let step = if look % 3 == 2 {
                left / 2
            } else {
                let way = u128::from(target.saturating_sub(low_key)) * u128::from(left);
                u64::try_from(way / u128::from(high_key.saturating_sub(low_key).max(1)))
                    .unwrap_or(u64::MAX)
            };
            let middle = low + step.min(left - 1);
            let found = self.next_good(middle, high, &mut steps)?;
            match found.map(|(at, entry)| (at, key(&entry))) {
                Some((at, key)) if key <= target => (low, low_key) = (at + 1, key),
                Some((_, key)) => (high, high_key) = (middle, key),
                None => high = middle,
            }
        }
        Ok((low, steps > 0))
    }

    /// The first entry from `from` on, below `to`, that is not damaged. Adds to `steps` those that it steps over; a search
    /// that would step over more than [`MAX_STEPS`] ends with an error: nobody waits for an index of millions of them.
    fn next_good(&self, from: u64, to: u64, steps: &mut u64) -> Result<Option<(u64, IndexEntry)>> {
        let (mut at, mut bytes) = (from, Vec::new());
        while at < to {
            // Mostly the first one is good.
            let wanted = if at == from {
                1
            } else {
                (to - at).min(STEPS_AT_ONCE)
            };
            let have = self
                .segment
                .index
                .read_some(at, wanted as usize, &mut bytes)
                .map_err(|e| self.index_error(e))?;
            let entries = bytes[..have].chunks_exact(ENTRY_BYTES).zip(at..);
            for (entry, n) in entries {
                if let Some(entry) = IndexEntry::decode(entry, n, self.segment.index.id) {
                    *steps += n - from;
                    return Ok(Some((n, entry)));
                }
            }
            at += wanted;
            if *steps + (at - from) > MAX_STEPS {
                return Err(self.bad_entry(RecordNo(from)));
            }
        }
        *steps += to.saturating_sub(from);
        Ok(None)
    }
}
