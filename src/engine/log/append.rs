//! One append: what is appended, with whose times, who is told, and when it is on the disk.

use std::fmt;
use std::io::{self, Read};
use std::time::SystemTime;

use super::log::Log;
use super::stamp::Stamps;
use super::undo::Wrote;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::format::{MAX_LOG_BYTES, SIZE_FIELD_BYTES};
use crate::locks::lock;
use crate::segment::{Appended, to_ns};

/// What [`Log::append_with`] appends.
pub enum Payloads<'a> {
    /// Records, all or none, as one commit.
    Batch(&'a [&'a [u8]]),
    /// One record of any size, read to its end at constant memory. Other writers wait meanwhile, so it should be a file
    /// rather than a connection.
    Reader(&'a mut dyn Read),
}

impl fmt::Debug for Payloads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payloads::Batch(payloads) => f.debug_tuple("Batch").field(&payloads.len()).finish(),
            Payloads::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// How [`Log::append_with`] appends. By default the records are new, the observers are told, and with
/// [`Durability::Always`](crate::Durability::Always) the append waits for the disk.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct AppendOptions<'a> {
    stamps: Stamps<'a>,
    tells_observers: bool,
    waits_for_disk: bool,
}

impl Default for AppendOptions<'_> {
    fn default() -> Self {
        AppendOptions::new()
    }
}

impl<'a> AppendOptions<'a> {
    /// The default.
    pub const fn new() -> Self {
        AppendOptions {
            stamps: Stamps::Now,
            tells_observers: true,
            waits_for_disk: true,
        }
    }

    /// The records are copies from another log, each with the time it was appended there, or `None` where that is not
    /// known. A record without a time counts as [rebuilt](crate::Details::rebuilt) here too: its checksum tells what was
    /// found when it was copied.
    ///
    /// Times never go back: a time before that of the previous record becomes the same as that one. A time in the future
    /// becomes the present.
    pub const fn times(mut self, times: &'a [Option<SystemTime>]) -> Self {
        self.stamps = Stamps::Copied(times);
        self
    }

    /// The caller [notifies the observers](Log::notify_observers) later, so that it can answer its writer first. Threads
    /// and tasks that [wait](crate::Signal::wait) are woken all the same.
    pub const fn quiet(mut self) -> Self {
        self.tells_observers = false;
        self
    }

    /// The append never waits for the disk. With [`Durability::Always`](crate::Durability::Always) the records are written
    /// and have their place, but readers do not see them, and they may be lost, until the caller's [`Log::sync`] has
    /// returned. One sync serves all appends before it.
    pub const fn unsynced(mut self) -> Self {
        self.waits_for_disk = false;
        self
    }
}

impl Log {
    /// Appends one record and tells everybody who waits for it.
    ///
    /// Blocks for other writers and, with [`Durability::Always`](crate::Durability::Always), for the disk.
    ///
    /// # Errors
    /// As [`Log::append_with`].
    pub fn append(&self, payload: &[u8]) -> Result<Appended> {
        self.append_batch(&[payload])
    }

    /// Appends records, all or none, as one commit. Returns where the first one is; the others follow it
    /// without gaps. No payloads at all: where the next record will be, and nothing is written.
    ///
    /// # Errors
    /// As [`Log::append_with`].
    pub fn append_batch(&self, payloads: &[&[u8]]) -> Result<Appended> {
        self.append_with(Payloads::Batch(payloads), AppendOptions::new())
    }

    /// Appends one record of any size, read to its end from `reader` at constant memory. Nothing is visible
    /// before that.
    ///
    /// Other writers wait meanwhile, so `reader` should be a file rather than a connection.
    /// [`Options::max_record_bytes`](crate::Options::max_record_bytes) does not apply.
    ///
    /// # Errors
    /// As [`Log::append_with`].
    pub fn append_from(&self, reader: &mut dyn Read) -> Result<Appended> {
        self.append_with(Payloads::Reader(reader), AppendOptions::new())
    }

    /// Appends `payloads` as `options` say. Returns where the first record is; the others follow it without gaps.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::TooLarge`]: refused, nothing was written.
    /// [`Error::NoSpace`]: nothing was stored, and appends work again when there is room. [`Error::Input`]: the
    /// reader has failed, and nothing was stored. [`Error::Io`]: nothing is visible, and from now on appends are
    /// refused with [`Error::Failed`] until the log is reopened.
    pub fn append_with(
        &self,
        payloads: Payloads<'_>,
        options: AppendOptions<'_>,
    ) -> Result<Appended> {
        let (appended, count) = match payloads {
            Payloads::Batch(payloads) => self.store_batch(payloads, options.stamps)?,
            Payloads::Reader(reader) => self.store_stream(reader, options.stamps)?,
        };
        if options.waits_for_disk {
            self.sync_if_always(count)?;
        }
        if options.tells_observers {
            self.notify_observers();
        }
        Ok(appended)
    }

    /// Calls the observers of this log's [`Signal`](crate::Signal), after a [quiet](AppendOptions::quiet) append.
    pub fn notify_observers(&self) {
        self.signal.notify_observers();
    }

    /// Writes a batch and commits it. Returns where it is, and how many records have to be on the disk for it to be there;
    /// 0 for an empty batch.
    fn store_batch(&self, payloads: &[&[u8]], stamps: Stamps<'_>) -> Result<(Appended, u64)> {
        let mut guard = lock(&self.writer);
        let writer = &mut *guard;
        self.check_writable(writer)?;
        let appended = writer.first(payloads.first().map_or(0, |payload| payload.len() as u64));
        if payloads.is_empty() {
            return Ok((appended, 0));
        }
        self.check_sizes(writer, payloads)?;
        self.mark_unclean(writer)?;
        if let Err(e) = self.write_batch(writer, payloads, stamps) {
            return Err(self.roll_back(writer, e, Wrote::Records));
        }
        let count = self.commit(guard)?;
        Ok((appended, count))
    }

    fn write_batch(
        &self,
        writer: &mut Writer,
        payloads: &[&[u8]],
        stamps: Stamps<'_>,
    ) -> io::Result<()> {
        let now = to_ns(SystemTime::now());
        let pending = writer.begin();
        for (n, payload) in payloads.iter().enumerate() {
            let time = stamps.of(n, now, pending.tail());
            pending.add(&self.segment, payload, time)?;
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self, writer: &Writer) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if writer.closed {
            return Err(Error::Closed);
        }
        self.check_failed()
    }

    pub(crate) fn check_failed(&self) -> Result<()> {
        match self.failed.get() {
            Some(reason) => Err(Error::Failed {
                namespace: self.segment.namespace.to_string(),
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Refuses payloads that are too large, before anything is written.
    fn check_sizes(&self, writer: &Writer, payloads: &[&[u8]]) -> Result<()> {
        let mut room = MAX_LOG_BYTES - writer.tail.log_end;
        for payload in payloads {
            let size = payload.len() as u64;
            if size > self.max_record_bytes {
                return Err(Error::TooLarge {
                    size,
                    limit: self.max_record_bytes,
                });
            }
            room = room
                .checked_sub(SIZE_FIELD_BYTES + size)
                .ok_or(Error::TooLarge {
                    size,
                    limit: room.saturating_sub(SIZE_FIELD_BYTES),
                })?;
        }
        Ok(())
    }
}
