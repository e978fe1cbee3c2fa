//! Reading a log. `segment/read` and `segment/search` do the work, up to what is committed.

use std::io;
use std::time::SystemTime;

use super::log::Log;
use crate::error::{Error, Result};
use crate::ids::{ByteIndex, RecordNo};
use crate::segment::{Entry, Run, Scratch};

impl Log {
    /// Where record `n` is. One read of the index.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] from the committed count on, [`Error::Damaged`], [`Error::Io`].
    pub fn entry(&self, n: RecordNo) -> Result<Entry> {
        self.segment.entry(&self.state(), n)
    }

    /// Reads whole records from `first` on, as many as fit into about `want_bytes` (at least one, at most 1
    /// MiB), with one read of the index and one of the log, and checks them. A damaged record ends the run
    /// before it.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`] from the committed count on; [`Error::Damaged`] if `first` is damaged;
    /// [`Error::Io`].
    pub fn read_run<'a>(
        &self,
        first: RecordNo,
        want_bytes: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Run<'a>> {
        let state = self.state();
        self.segment.read_run(&state, first, want_bytes, scratch)
    }

    /// Reads a part of a payload, from `offset` in it, as it is on disk, unchecked. Returns how many bytes:
    /// fewer than `buf` holds only at the end of the payload.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] if the log ends before the record does.
    pub fn read_part(&self, entry: &Entry, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.segment.read_part(entry, offset, buf)
    }

    /// Reads a record of any size through a small buffer and checks it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not what was written, [`Error::Io`].
    pub fn verify_record(&self, entry: &Entry) -> Result<()> {
        self.verify_record_with(entry, |_| {})
    }

    /// As [`Log::verify_record`], and gives each piece of the payload to `each`, in order. So a caller that has
    /// to look at a whole record reads it once. What `each` has got counts only if the result is `Ok`.
    ///
    /// # Errors
    /// As [`Log::verify_record`].
    pub fn verify_record_with(&self, entry: &Entry, each: impl FnMut(&[u8])) -> Result<()> {
        self.segment.verify_record(entry, each)
    }

    /// The record whose text covers byte `offset` of the text view; `None` at its end and beyond. O(log n)
    /// reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the index is damaged just there, [`Error::Io`].
    pub fn find_text(&self, offset: u64) -> Result<Option<RecordNo>> {
        self.segment.find_text(&self.state(), offset)
    }

    /// The record whose bytes in the log file, size field included, cover byte `index`; `None` before the
    /// first record and from the end on. O(log n) reads of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the index is damaged just there, [`Error::Io`].
    pub fn find_index(&self, index: ByteIndex) -> Result<Option<RecordNo>> {
        self.segment.find_index(&self.state(), index)
    }

    /// The first record appended at `time` or after; the committed count if there is none. O(log n) reads of
    /// 32 bytes.
    ///
    /// The times of records never go back, even if the clock does. A record whose own time is not known counts
    /// with the time of the record before it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if very many entries of the index are damaged, [`Error::Io`].
    pub fn find_time(&self, time: SystemTime) -> Result<RecordNo> {
        self.segment.find_time(&self.state(), time)
    }

    /// The error of a read that would have to wait for the disk, for a program that knows so before it reads.
    /// [`Error::would_wait`] recognises it.
    pub fn would_wait_error(&self) -> Error {
        self.segment.log_error(io::ErrorKind::WouldBlock.into())
    }

    /// The error for record `n` when its index entry cannot be right, for a program that finds so while it shows
    /// the record: the entry contradicts the one before it or after it.
    pub fn bad_entry_error(&self, n: RecordNo) -> Error {
        self.segment.bad_entry(n)
    }
}
