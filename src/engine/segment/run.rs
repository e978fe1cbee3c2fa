//! What a read of a log gives: entries, and runs of records.

use std::time::SystemTime;

use super::log_end::{Appended, from_ns};
use crate::format::{IndexEntry, SIZE_FIELD_BYTES};
use crate::ids::{ByteIndex, RecordNo};

/// The largest payload that a run holds; a larger record is [`Run::Large`].
pub const MAX_RUN_BYTES: usize = 1 << 20;

/// Where a committed record is, and what is known about it. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its number.
    pub record: RecordNo,
    /// Where its size field is in the log file. The payload starts 8 bytes after that.
    pub index: ByteIndex,
    /// The size of its payload in bytes.
    pub size: u64,
    /// Where its text starts in the text view.
    pub text_offset: u64,
    /// The length of its text: the size, and one more if the text view adds a newline. So it is at least 1.
    pub text_size: u64,
    /// When it was appended; `None` if that is not known.
    pub time: Option<SystemTime>,
    /// CRC-32C of its payload.
    pub checksum: u32,
}

impl Entry {
    /// The record of entry `n`, in a log with a header of `header_bytes`. It ends at `log_end`, its text at `text_end`. `None` if
    /// that cannot be a record: an entry whose checksum is right may still be forged.
    pub(crate) fn new(
        n: u64,
        raw: &IndexEntry,
        header_bytes: u64,
        log_end: u64,
        text_end: u64,
    ) -> Option<Self> {
        let size = log_end
            .checked_sub(raw.log_offset)?
            .checked_sub(SIZE_FIELD_BYTES)?;
        let text_size = text_end.checked_sub(raw.text_offset)?;
        let newline = text_size.checked_sub(size)?;
        if raw.log_offset < header_bytes || newline > 1 || text_size == 0 {
            return None;
        }
        Some(Entry {
            record: RecordNo(n),
            index: ByteIndex(raw.log_offset),
            size,
            text_offset: raw.text_offset,
            text_size,
            time: (!raw.time_unknown).then(|| from_ns(raw.time_ns)),
            checksum: raw.checksum,
        })
    }

    /// Whether the record does not end in a newline, so that the text view adds one.
    pub fn adds_newline(&self) -> bool {
        self.text_size > self.size
    }

    pub(crate) fn end(&self) -> u64 {
        self.index.0 + SIZE_FIELD_BYTES + self.size
    }
}

impl From<Entry> for Appended {
    fn from(entry: Entry) -> Self {
        Appended {
            record: entry.record,
            index: entry.index,
            size: entry.size,
        }
    }
}

/// Buffers for [`Log::read_run`](crate::Log::read_run), which can be used again. They grow to the size of a run, about a
/// megabyte at most. So keep them for a thread rather than for a reader.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) index: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
}

impl Scratch {
    /// The payload of record `at` of the run that was read last.
    pub(crate) fn payload(&self, at: usize) -> &[u8] {
        Records {
            entries: &self.entries,
            bytes: &self.bytes,
            next: 0,
        }
        .payload(at)
    }

    /// Frees the buffers if they hold more than `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let entries = self.entries.capacity() * size_of::<Entry>();
        if self.index.capacity() + self.bytes.capacity() + entries > bytes {
            *self = Scratch::default();
        }
    }
}

/// What one [`Log::read_run`](crate::Log::read_run) gives.
#[derive(Clone, Debug)]
pub enum Run<'a> {
    /// At least one record. Each was compared with its checksum.
    Records(Records<'a>),
    /// The first record is too large for a run, and was not read. Check it with
    /// [`Log::verify_record`](crate::Log::verify_record), then read it with [`Log::read_part`](crate::Log::read_part).
    Large(Entry),
}

/// The records of a run, in order: `(entry, payload)`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    pub(crate) entries: &'a [Entry],
    /// The log's bytes from the first entry's index on.
    pub(crate) bytes: &'a [u8],
    pub(crate) next: usize,
}

impl<'a> Records<'a> {
    /// The entries of all records of the run, also of those that the iterator has already given.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    pub(crate) fn payload(&self, at: usize) -> &'a [u8] {
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
