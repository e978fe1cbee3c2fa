//! Finding a record by a place in the text or in the file, or by a time.

use std::time::SystemTime;

use super::log_end::to_ns;
use super::run::Entry;
use super::segment::Segment;
use super::state::State;
use crate::error::Result;
use crate::format::{ENTRY_BYTES, IndexEntry, SIZE_FIELD_BYTES};
use crate::ids::{ByteIndex, RecordNo};

/// The most damaged entries that one search steps over.
const MAX_STEPS: u64 = 1 << 16;
/// How many entries are read at once behind a damaged one: 4 KiB.
const STEPS_AT_ONCE: u64 = 128;

impl Segment {
    /// The record whose text covers byte `offset` of the text view; `None` at its end and beyond. O(log n) reads of 32
    /// bytes.
    pub(crate) fn find_text(&self, state: &State, offset: u64) -> Result<Option<RecordNo>> {
        if offset >= state.text_end {
            return Ok(None);
        }
        let start = |entry: &IndexEntry| entry.text_offset;
        let end = |entry: &Entry| entry.text_offset + entry.text_size;
        self.covering(state, offset, state.text_end, start, end)
            .map(Some)
    }

    /// The record whose bytes in the log file, size field included, cover byte `index`; `None` before the first record and
    /// from the end on. O(log n) reads of 32 bytes.
    pub(crate) fn find_index(&self, state: &State, index: ByteIndex) -> Result<Option<RecordNo>> {
        if index.0 < self.format.header_bytes() || index.0 >= state.log_end {
            return Ok(None);
        }
        let start = |entry: &IndexEntry| entry.log_offset;
        let end = |entry: &Entry| entry.index.0 + SIZE_FIELD_BYTES + entry.size;
        self.covering(state, index.0, state.log_end, start, end)
            .map(Some)
    }

    /// The record that covers `place`. Each record covers the places from its `start` up to its `end`; the last one ends at
    /// `all`.
    fn covering(
        &self,
        state: &State,
        place: u64,
        all: u64,
        start: impl Fn(&IndexEntry) -> u64,
        end: impl Fn(&Entry) -> u64,
    ) -> Result<RecordNo> {
        let (after, skipped) = self.first_above(state.count, all, place, start)?;
        let found = after
            .checked_sub(1)
            .map(RecordNo)
            .ok_or_else(|| self.bad_entry(RecordNo(0)))?;
        // The next record may be the one, if its entry is damaged.
        if skipped && place >= end(&self.entry(state, found)?) {
            return Err(self.bad_entry(RecordNo(after)));
        }
        Ok(found)
    }

    /// The first record appended at `time` or after; the count if there is none. O(log n) reads of 32 bytes.
    pub(crate) fn find_time(&self, state: &State, time: SystemTime) -> Result<RecordNo> {
        // No record has a time before 1970, so an earlier `time` finds what 1970 finds.
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

    /// The first of `count` records whose key is above `target`, and whether the search stepped over damaged entries. Keys rise
    /// with the records, up to `end`. Where they rise evenly, a few reads find the record; every third read halves what is left,
    /// so that there are never more than O(log n).
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

    /// The first entry from `from` on, below `to`, that is not damaged. Adds the damaged entries before it to `steps`. A search
    /// that would step over more than [`MAX_STEPS`] damaged entries ends with an error, since nobody waits for an index of
    /// millions of them.
    fn next_good(&self, from: u64, to: u64, steps: &mut u64) -> Result<Option<(u64, IndexEntry)>> {
        let (mut at, mut bytes) = (from, Vec::new());
        while at < to {
            // Usually the first entry is good.
            let wanted = if at == from {
                1
            } else {
                (to - at).min(STEPS_AT_ONCE)
            };
            let have = self
                .index
                .read_some(at, wanted as usize, &mut bytes)
                .map_err(|e| self.index_error(e))?;
            let entries = bytes[..have].chunks_exact(ENTRY_BYTES).zip(at..);
            for (entry, n) in entries {
                if let Some(entry) = IndexEntry::decode(entry, n, self.index.id) {
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
