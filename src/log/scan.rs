//! Reading: one record's place, whole runs of records, and the way from a text offset or a time to a record.

use std::io;
use std::time::SystemTime;

use super::disk;
use super::format::{
    ENTRY_BYTES, IndexEntry, SIZE_FIELD_BYTES, checksum, checksum_append, decode_length,
    entry_offset, text_bytes,
};
use super::log::{from_ns, to_ns};
use super::signal::State;
use super::{ByteIndex, Error, Log, RecordNo, Result};

/// A run reads at least this much at once, if there is so much.
const MIN_RUN_BYTES: usize = 64 << 10;
/// The largest payload that a run holds; a larger record is [`Run::Large`].
pub const MAX_RUN_BYTES: usize = 1 << 20;
/// The most records in one run: their entries are 128 KiB of index.
const MAX_RUN_RECORDS: u64 = 4096;
/// What is read at a time where a record is streamed through a buffer.
const PIECE_BYTES: usize = 64 << 10;

/// Where a committed record is, and what is known about it. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub record: RecordNo,
    /// Where its size field is in the log file; the payload is 8 bytes further.
    pub index: ByteIndex,
    /// The size of its payload in bytes.
    pub size: u64,
    /// Where its text starts in the text view.
    pub text_offset: u64,
    /// The length of its text: the size, and one more if a newline is added. So it is at least 1.
    pub text_size: u64,
    /// When it was appended; `None` if that is not known.
    pub time: Option<SystemTime>,
    /// CRC-32C of its payload.
    pub checksum: u32,
}

impl Entry {
    fn new(n: u64, raw: &IndexEntry, log_end: u64, text_end: u64) -> Option<Self> {
        Some(Entry {
            record: RecordNo(n),
            index: ByteIndex(raw.log_offset),
            size: log_end
                .checked_sub(raw.log_offset)?
                .checked_sub(SIZE_FIELD_BYTES)?,
            text_offset: raw.text_offset,
            text_size: text_end.checked_sub(raw.text_offset)?,
            time: (!raw.time_unknown).then(|| from_ns(raw.time_ns)),
            checksum: raw.checksum,
        })
    }

    /// Whether the text view adds a newline that the record has not.
    pub fn adds_newline(&self) -> bool {
        self.text_size > self.size
    }

    fn end(&self) -> u64 {
        self.index.0 + SIZE_FIELD_BYTES + self.size
    }
}

/// Buffers for [`Log::read_run`], to be used again. They grow to what a run needs: about a megabyte at most, so keep one for each
/// thread rather than for each reader.
#[derive(Debug, Default)]
pub struct Scratch {
    index: Vec<u8>,
    bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
}

impl Scratch {
    /// The payload of the `at`-th record of the run read last.
    pub(crate) fn payload(&self, at: usize) -> &[u8] {
        Records {
            entries: &self.entries,
            bytes: &self.bytes,
            next: 0,
        }
        .payload(at)
    }

    /// Gives memory back if it is more than `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let entries = self.entries.capacity() * size_of::<Entry>();
        if self.index.capacity() + self.bytes.capacity() + entries > bytes {
            *self = Scratch::default();
        }
    }
}

/// What [`Log::read_run`] has read.
#[derive(Clone, Debug)]
pub enum Run<'a> {
    /// At least one record, each checked against its checksum.
    Records(Records<'a>),
    /// The record is too large for a run and nothing was read: [`Log::verify_record`], then [`Log::read_part`].
    Large(Entry),
}

/// The records of a run, in order: `(entry, payload)`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    entries: &'a [Entry],
    /// The log's bytes from the first entry's index on.
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Records<'a> {
    /// The entries of the run, also of those records already taken.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    fn payload(&self, at: usize) -> &'a [u8] {
        let entry = &self.entries[at];
        let start = (entry.index.0 + SIZE_FIELD_BYTES - self.entries[0].index.0) as usize;
        &self.bytes[start..start + entry.size as usize]
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Entry, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = *self.entries.get(self.next)?;
        let payload = self.payload(self.next);
        self.next += 1;
        Some((entry, payload))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.entries.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

impl Log {
    /// Where record `n` is. One read of the index.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] from the committed count on, [`Error::Damaged`], [`Error::Io`].
    pub fn entry(&self, n: RecordNo) -> Result<Entry> {
        let state = self.state();
        if n.0 >= state.count {
            return Err(Error::NoSuchRecord {
                record: n,
                count: state.count,
            });
        }
        let mut pair = [0; 2 * ENTRY_BYTES];
        let wanted = if n.0 + 1 < state.count {
            2 * ENTRY_BYTES
        } else {
            ENTRY_BYTES
        };
        let at = entry_offset(n.0).unwrap_or(u64::MAX);
        let have = disk::read_up_to(&*self.index.file, &mut pair[..wanted], at)
            .map_err(|e| self.index_error(e))?;
        let id = self.index.id;
        let raw = IndexEntry::decode(&pair[..have.min(ENTRY_BYTES)], n.0, id)
            .ok_or_else(|| self.bad_entry(n))?;
        let next = IndexEntry::decode(&pair[have.min(ENTRY_BYTES)..have], n.0 + 1, id);
        self.entry_between(n, &raw, next.as_ref(), &state)
    }

    /// The record whose text covers byte `offset` of the text view; `None` at its end and beyond. O(log n) reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the index is so just there, [`Error::Io`].
    pub fn find_text(&self, offset: u64) -> Result<Option<RecordNo>> {
        let state = self.state();
        if offset >= state.text_end {
            return Ok(None);
        }
        let (after, skipped) = self.first_above(state.count, state.text_end, offset, |entry| {
            entry.text_offset
        })?;
        let found = RecordNo(
            after
                .checked_sub(1)
                .ok_or_else(|| self.bad_entry(RecordNo(0)))?,
        );
        if skipped {
            let entry = self.entry(found)?;
            if offset >= entry.text_offset + entry.text_size {
                return Err(self.bad_entry(RecordNo(after)));
            }
        }
        Ok(Some(found))
    }

    /// The first record appended at `time` or after; the committed count if there is none. O(log n) reads of 32 bytes.
    ///
    /// The times of records never go back, even if the clock does; a record whose time is not known counts with the one before it.
    ///
    /// # Errors
    /// [`Error::Io`].
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

    /// Reads whole records from `first` on, as many as fit into about `want_bytes` (at least 64 KiB, at most 1 MiB), with one read
    /// of the index and one of the log, and checks them. A damaged record ends the run before it.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] from the committed count on; [`Error::Damaged`] if `first` is damaged; [`Error::Io`].
    pub fn read_run<'a>(
        &self,
        first: RecordNo,
        want_bytes: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Run<'a>> {
        let state = self.state();
        if first.0 >= state.count {
            return Err(Error::NoSuchRecord {
                record: first,
                count: state.count,
            });
        }
        let want = want_bytes.clamp(MIN_RUN_BYTES, MAX_RUN_BYTES) as u64;
        if let Some(large) = self.plan_run(first, want, &state, scratch)? {
            return Ok(Run::Large(large));
        }
        let start = first_index(&scratch.entries);
        let length = scratch.entries.last().map_or(0, |last| last.end() - start) as usize;
        if scratch.bytes.len() < length {
            scratch.bytes = vec![0; length];
        }
        let have = disk::read_up_to(&*self.file, &mut scratch.bytes[..length], start)
            .map_err(|e| self.log_error(e))?;
        let good = scratch
            .entries
            .iter()
            .take_while(|entry| is_whole(entry, start, &scratch.bytes[..have]))
            .count();
        if good == 0 {
            return Err(self.damaged(first, start, "its bytes are not those that were written"));
        }
        scratch.entries.truncate(good);
        Ok(Run::Records(Records {
            entries: &scratch.entries,
            bytes: &scratch.bytes,
            next: 0,
        }))
    }

    /// Fills `scratch.entries` with the records of a run, at least one; or returns the first one if it is too large.
    fn plan_run(
        &self,
        first: RecordNo,
        want: u64,
        state: &State,
        scratch: &mut Scratch,
    ) -> Result<Option<Entry>> {
        scratch.entries.clear();
        let left = state.count - first.0;
        let average = (state.log_end / state.count).max(SIZE_FIELD_BYTES);
        let planned = (want / average + 1).min(MAX_RUN_RECORDS).min(left);
        // One more entry tells where the last record ends, unless that is the end of the log.
        let entries = planned + u64::from(planned < left);
        match self
            .index
            .read(first.0, entries as usize, &mut scratch.index)
        {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(self.bad_entry(first)),
            Err(e) => return Err(self.index_error(e)),
        }
        let raw = |i: u64| {
            let at = i as usize * ENTRY_BYTES;
            IndexEntry::decode(
                &scratch.index[at..at + ENTRY_BYTES],
                first.0 + i,
                self.index.id,
            )
        };
        let mut current = raw(0).ok_or_else(|| self.bad_entry(first))?;
        let start = current.log_offset;
        for i in 0..planned {
            let next = if i + 1 < entries { raw(i + 1) } else { None };
            let entry =
                match self.entry_between(RecordNo(first.0 + i), &current, next.as_ref(), state) {
                    Ok(entry) => entry,
                    Err(e) if i == 0 => return Err(e),
                    Err(_) => break,
                };
            if i == 0 && entry.size > MAX_RUN_BYTES as u64 {
                return Ok(Some(entry));
            }
            if i > 0 && entry.end() - start > want {
                break;
            }
            scratch.entries.push(entry);
            match next {
                Some(next) => current = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// Reads a part of a payload, from `offset` in it, as it is on disk, unchecked. Returns how much: less than `buf` only at the end
    /// of the payload.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] if the log ends before the record does.
    pub fn read_part(&self, entry: &Entry, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = entry.size.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let at = entry.index.0 + SIZE_FIELD_BYTES + offset.min(entry.size);
        let have =
            disk::read_up_to(&*self.file, &mut buf[..wanted], at).map_err(|e| self.log_error(e))?;
        if have < wanted {
            return Err(self.damaged(entry.record, at, "the log ends before the record does"));
        }
        Ok(wanted)
    }

    /// Reads a record of any size through a small buffer and checks it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not what was written, [`Error::Io`].
    pub fn verify_record(&self, entry: &Entry) -> Result<()> {
        let start = entry.index.0;
        let mut field = [0; SIZE_FIELD_BYTES as usize];
        let have =
            disk::read_up_to(&*self.file, &mut field, start).map_err(|e| self.log_error(e))?;
        if have < field.len() || decode_length(field) != Some(entry.size) {
            return Err(self.damaged(
                entry.record,
                start,
                "its size field is not what was written",
            ));
        }
        let mut piece = vec![
            0;
            usize::try_from(entry.size)
                .unwrap_or(usize::MAX)
                .min(PIECE_BYTES)
        ];
        let (mut done, mut crc) = (0, 0);
        while done < entry.size {
            let n = self.read_part(entry, done, &mut piece)?;
            crc = checksum_append(crc, &piece[..n]);
            done += n as u64;
        }
        if crc != entry.checksum {
            return Err(self.damaged(
                entry.record,
                start,
                "its bytes are not those that were written",
            ));
        }
        Ok(())
    }

    /// A record from its own index entry and the next one's. Without a next one, the end of the log is its end; and if the next entry is
    /// there but damaged, the size field in the log says where it is.
    fn entry_between(
        &self,
        n: RecordNo,
        raw: &IndexEntry,
        next: Option<&IndexEntry>,
        state: &State,
    ) -> Result<Entry> {
        let (log_end, text_end) = match next {
            Some(next) => (next.log_offset, next.text_offset),
            None if n.0 + 1 == state.count => (state.log_end, state.text_end),
            None => self.end_from_log(n, raw, state)?,
        };
        Entry::new(n.0, raw, log_end, text_end).ok_or_else(|| self.bad_entry(n))
    }

    fn end_from_log(&self, n: RecordNo, raw: &IndexEntry, state: &State) -> Result<(u64, u64)> {
        let mut field = [0; SIZE_FIELD_BYTES as usize];
        disk::read_exact(&*self.file, &mut field, raw.log_offset).map_err(|e| self.log_error(e))?;
        let end = decode_length(field)
            .and_then(|size| {
                raw.log_offset
                    .checked_add(SIZE_FIELD_BYTES)?
                    .checked_add(size)
            })
            .filter(|end| *end <= state.log_end)
            .ok_or_else(|| {
                self.damaged(n, raw.log_offset, "its size field is not what was written")
            })?;
        let size = end - raw.log_offset - SIZE_FIELD_BYTES;
        let mut last = [0];
        if size > 0 {
            disk::read_exact(&*self.file, &mut last, end - 1).map_err(|e| self.log_error(e))?;
        }
        let text = text_bytes(size, (size > 0).then_some(last[0]));
        Ok((end, raw.text_offset.saturating_add(text)))
    }

    /// The first of `count` records whose key is above `target`. Keys rise with the records, up to `end`; where they rise evenly, a few reads
    /// find it, and every third look halves what is left, so that it is never more than O(log n). Damaged entries are stepped
    /// over; the flag says if there were any.
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

    fn index_error(&self, e: io::Error) -> Error {
        Error::io("read", &self.index_path, e)
    }

    fn log_error(&self, e: io::Error) -> Error {
        Error::io("read", &self.log_path, e)
    }

    fn bad_entry(&self, n: RecordNo) -> Error {
        let offset = entry_offset(n.0).unwrap_or(u64::MAX);
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record: Some(n),
            offset: 0,
            what: format!(
                "its index entry, at byte {offset} of '{}', is not what was written (delete that file with the log \
                 closed, and it is rebuilt, without times)",
                self.index_path.display()
            ),
        }
    }

    fn damaged(&self, n: RecordNo, offset: u64, what: &str) -> Error {
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record: Some(n),
            offset,
            what: what.to_owned(),
        }
    }
}

fn first_index(entries: &[Entry]) -> u64 {
    entries.first().map_or(0, |entry| entry.index.0)
}

/// Whether size field and payload of a record are as the index says, in bytes that start at `start` of the log.
fn is_whole(entry: &Entry, start: u64, bytes: &[u8]) -> bool {
    let at = (entry.index.0 - start) as usize;
    let Some(record) = bytes.get(at..at + (SIZE_FIELD_BYTES + entry.size) as usize) else {
        return false;
    };
    let (field, payload) = record.split_at(SIZE_FIELD_BYTES as usize);
    field == entry.size.to_le_bytes() && checksum(payload) == entry.checksum
}
