//! Many appends that become visible at once, or not at all.

use std::io;
use std::sync::MutexGuard;
use std::time::SystemTime;

use super::log::Log;
use super::stamp::Stamps;
use super::undo::Wrote;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::segment::{Appended, to_ns};

/// Records that are being appended, and that nobody sees before [`Transaction::commit`]. Dropping the transaction removes
/// them. So does a crash, unless all of them were written: then all of them are there.
///
/// Payloads are written to the log's file as they come; memory holds 32 bytes a record and a buffer. Other
/// writers to the log and its close **wait** until the transaction ends, so it should not take
/// long. The thread that has it must not append to the same log in another way: it would wait for ever.
/// Readers do not notice a transaction.
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
    /// `None` when the transaction is over: committed, or failed and undone.
    writer: Option<MutexGuard<'a, Writer>>,
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
        writer.begin();
        Ok(Transaction {
            log: self,
            writer: Some(writer),
        })
    }
}

impl Transaction<'_> {
    /// Appends one record. Returns where it is after the commit.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the record is refused, and the transaction goes on without it. Any other error ends
    /// the transaction and removes its records: it takes no more appends ([`Error::Closed`]), and cannot be committed.
    pub fn append(&mut self, payload: &[u8]) -> Result<Appended> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::Closed);
        };
        let pending = &mut writer.pending;
        let size = payload.len() as u64;
        let limit = self.log.max_record_bytes;
        if size > limit || !pending.fits(size) {
            return Err(Error::TooLarge { size, limit });
        }
        let appended = pending.next(size);
        let time = Stamps::Now.of(0, to_ns(SystemTime::now()), pending.tail());
        match pending.add(&self.log.segment, payload, time) {
            Ok(()) => Ok(appended),
            Err(e) => Err(self.give_up(e)),
        }
    }

    /// How many records the transaction holds.
    pub fn records(&self) -> u64 {
        self.writer
            .as_ref()
            .map_or(0, |writer| writer.pending.tail().count - writer.tail.count)
    }

    /// Makes all records visible, in one step. Blocks for the disk with
    /// [`Durability::Always`](crate::Durability::Always).
    ///
    /// # Errors
    /// As [`Log::append_batch`]; [`Error::Closed`] if an append has failed before. After an error none of the records is
    /// there.
    pub fn commit(mut self) -> Result<()> {
        let is_empty = self.records() == 0;
        let Some(writer) = self.writer.take() else {
            return Err(Error::Closed);
        };
        if is_empty {
            return Ok(());
        }
        let count = self.log.commit(writer)?;
        self.log.sync_if_always(count)?;
        self.log.notify_observers();
        Ok(())
    }

    /// Undoes the transaction after a failed write.
    fn give_up(&mut self, cause: io::Error) -> Error {
        match self.writer.take() {
            Some(mut writer) => self.log.roll_back(&mut writer, cause, Wrote::Records),
            None => Error::Closed,
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take()
            && writer.has_written()
        {
            // A drop returns no error. If this fails, the log has failed, and `fail` has reported it.
            let _ = self.log.undo(&mut writer, Wrote::Records);
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
