//! From a place in the text, or a time, to a record.

use std::time::SystemTime;

use super::format::{IndexEntry, SIZE_FIELD_BYTES};
use super::tail::to_ns;
use super::{ByteIndex, Entry, Log, RecordNo, Result};

impl Log {
    /// The record whose text covers byte `offset` of the text view; `None` at its end and beyond. O(log n)
    /// reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) if the index is so just there,
    /// [`Error::Io`](super::Error::Io).
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
    /// [`Error::Damaged`](super::Error::Damaged) if the index is so just there,
    /// [`Error::Io`](super::Error::Io).
    pub fn find_index(&self, index: ByteIndex) -> Result<Option<RecordNo>> {
        let state = self.state();
        if index.0 < self.format.header_bytes() || index.0 >= state.log_end {
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
    /// [`Error::Io`](super::Error::Io).
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
        let (mut low, mut high, mut skipped) = (0, count, false);
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
            let mut at = middle;
            let found = loop {
                if at == high {
                    break None;
                }
                match self.index.entry(at).map_err(|e| self.index_error(e))? {
                    None => (at, skipped) = (at + 1, true),
                    Some(entry) => break Some(key(&entry)),
                }
            };
            match found {
                Some(key) if key <= target => (low, low_key) = (at + 1, key),
                Some(key) => (high, high_key) = (middle, key),
                None => high = middle,
            }
        }
        Ok((low, skipped))
    }
}
