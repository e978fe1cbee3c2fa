//! Many appends that become visible at once, or not at all.

use std::io::{self, IoSlice};
use std::sync::MutexGuard;
use std::time::SystemTime;

use super::log::Log;
use super::log::{COPY_BYTES, WRITE_BYTES, Writer, entry_at};
use super::stamp::Stamps;
use super::undo::Wrote;
use crate::disk;
use crate::error::{Error, Result};
use crate::format::{IndexEntry, SIZE_FIELD_BYTES, checksum, encode_length};
use crate::ids::{ByteIndex, RecordNo};
use crate::locks::lock;
use crate::options::Durability;
use crate::segment::Appended;
use crate::segment::{LogEnd, to_ns};

/// Records that are being appended, and that nobody sees before [`Transaction::commit`]. Dropped without it,
/// none of them was ever there; the same after a crash, also one in the middle of the commit.
///
/// Payloads go to the disk as they come; what is held in memory is 32 bytes a record and a buffer. Other
/// writers to the log and its close **wait** until the transaction ends, so it should not take
/// long, and the thread that has it must not append to the same log past it: that would wait for ever.
/// Readers do not notice it.
///
/// ```
/// use immuta::{Options, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let logs_dir = dir.path();
/// let storage = Storage::open(Options::new(logs_dir).namespaces(["orders"]))?;
/// let log = storage.log("orders")?;
///
/// let mut order = log.transaction()?;
/// order.append(b"order 7")?;
/// order.append(b"two apples")?;
/// assert_eq!(log.state().count, 0);
/// order.commit()?;
/// assert_eq!(log.state().count, 2);
///
/// let mut regretted = log.transaction()?;
/// regretted.append(b"order 8")?;
/// drop(regretted);
/// assert_eq!(log.state().count, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it takes everything back"]
pub struct Transaction<'a> {
    log: &'a Log,
    /// `None` when it is over: committed, or failed and taken back.
    writer: Option<MutexGuard<'a, Writer>>,
    tail: LogEnd,
    entries: Vec<u8>,
    /// What has not been written yet, and where it belongs.
    bytes: Vec<u8>,
    written: u64,
    /// The last record's entry, as it has to be when no other one follows.
    last: Option<IndexEntry>,
}

impl Log {
    /// Begins a transaction. Blocks while another writer is at work.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::Failed`]; [`Error::NoSpace`] and [`Error::Io`] as
    /// from [`Log::append_batch`].
    pub fn transaction(&self) -> Result<Transaction<'_>> {
        let mut writer = lock(&self.writer);
        self.check_writable(&writer)?;
        self.mark_unclean(&mut writer)?;
        let tail = writer.tail;
        Ok(Transaction {
            log: self,
            writer: Some(writer),
            tail,
            entries: Vec::new(),
            bytes: Vec::new(),
            written: tail.log_end,
            last: None,
        })
    }
}

impl Transaction<'_> {
    /// Appends one record. Returns where it will be.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the record is refused, and the transaction goes on without it. Anything else ends
    /// it, with all taken back: it takes no more appends ([`Error::Closed`]), and cannot be committed.
    pub fn append(&mut self, payload: &[u8]) -> Result<Appended> {
        if self.writer.is_none() {
            return Err(Error::Closed);
        }
        let size = payload.len() as u64;
        let limit = self.log.max_record_bytes;
        let time = Stamps::Now.of(0, to_ns(SystemTime::now()), &self.tail);
        let next = self
            .tail
            .after_record(size, payload.last().copied(), time.ns, time.known)
            .filter(|_| size <= limit)
            .ok_or(Error::TooLarge { size, limit })?;
        let written = self.write(payload);
        written.map_err(|e| self.give_up(e))?;
        let entry = entry_at(&self.tail, time, checksum(payload));
        let goes_on = IndexEntry {
            batch_goes_on: true,
            ..entry
        };
        let appended = Appended {
            record: RecordNo(self.tail.count),
            index: ByteIndex(self.tail.log_end),
            size,
        };
        self.entries
            .extend_from_slice(&goes_on.encode(self.tail.count, self.log.segment.index.id));
        self.last = Some(entry);
        self.tail = next;
        Ok(appended)
    }

    /// How many records would be committed now.
    pub fn records(&self) -> u64 {
        let before = self.writer.as_ref().map(|writer| writer.tail.count);
        before.map_or(0, |before| self.tail.count - before)
    }

    /// Makes all records visible, in one step. Blocks for the disk with
    /// [`Durability::Always`](crate::Durability::Always).
    ///
    /// # Errors
    /// As [`Log::append_batch`]; [`Error::Closed`] if an append has failed before. None of the records is
    /// then there.
    pub fn commit(mut self) -> Result<()> {
        if self.writer.is_none() {
            return Err(Error::Closed);
        }
        let flushed = self.flush();
        flushed.map_err(|e| self.give_up(e))?;
        let Some(last) = self.last else {
            return Ok(()); // an empty one changes nothing
        };
        let encoded = last.encode(self.tail.count - 1, self.log.segment.index.id);
        let before = self.entries.len() - encoded.len();
        self.entries.truncate(before);
        self.entries.extend_from_slice(&encoded);
        if let Some(mut writer) = self.writer.take() {
            writer.entries = std::mem::take(&mut self.entries);
            self.log.commit(writer, self.tail)?;
            if self.log.sync == Durability::Always {
                self.log.sync_through(self.tail.count)?;
            }
            self.log.notify_observers();
        }
        Ok(())
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.bytes
            .extend_from_slice(&encode_length(payload.len() as u64));
        if payload.len() <= COPY_BYTES {
            self.bytes.extend_from_slice(payload);
            return match self.bytes.len() < WRITE_BYTES {
                true => Ok(()),
                false => self.flush(),
            };
        }
        let mut both = [IoSlice::new(&self.bytes), IoSlice::new(payload)];
        disk::write_all_vectored(&*self.log.segment.log_file, &mut both, self.written)?;
        self.bytes.clear();
        self.written = self.tail.log_end + SIZE_FIELD_BYTES + payload.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            disk::write_all(&*self.log.segment.log_file, &self.bytes, self.written)?;
            self.written += self.bytes.len() as u64;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Takes everything back after a failed write.
    fn give_up(&mut self, cause: io::Error) -> Error {
        match self.writer.take() {
            Some(mut writer) => self.log.roll_back(&mut writer, cause, Wrote::Records),
            None => Error::Closed,
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take()
            && self.written > writer.tail.log_end
        {
            // If this fails, nobody is there to be told: the log refuses appends from now on, and says so.
            let _ = self.log.undo(&writer, Wrote::Records);
        }
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("log", &self.log.segment.namespace.as_str())
            .field("records", &self.records())
            .finish_non_exhaustive()
    }
}
