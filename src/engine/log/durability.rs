//! Syncing: for a caller, for a group of writers, for the threads that sync at an interval.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::log::Log;
use super::sync_thread::SyncQueue;
use super::undo::is_no_space;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::options::Durability;
use crate::segment::LogEnd;

impl Log {
    /// Returns when every record that was appended before the call is on the disk, with its index entry.
    /// Cheap when the records are there already.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses; the log has then failed. [`Error::Failed`] if it had failed before.
    pub fn sync(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        let count = lock(&self.written).tail.count;
        self.sync_up_to(count)
    }

    /// How many records, from the first one on, this process knows to be on the disk, with their index
    /// entries; `None` for a log opened for reading only: only its writer knows. Costs an uncontended lock.
    pub fn synced(&self) -> Option<u64> {
        (!self.read_only).then(|| self.group.synced())
    }

    /// How many records are written and not known to be on the disk, committed or not, and how long ago the first of them was
    /// written, by a clock that is never set back; `None` for a log opened for reading only. Costs as much as
    /// [`Log::synced`].
    pub fn unsynced(&self) -> Option<(u64, Duration)> {
        // In this order, so that the number is not too small: meanwhile more may be written and synced.
        let synced = self.synced()?;
        let written = *lock(&self.written);
        Some((written.tail.count.saturating_sub(synced), written.lag()))
    }

    /// Marks the log on the disk as not closed in order, before the first write after opening. Otherwise, after a power cut,
    /// half-written records would pass for records that another program has appended since.
    pub(crate) fn mark_unclean(&self, writer: &mut Writer) -> Result<()> {
        // Files that were closed to keep fewer open are opened again.
        self.segment
            .log_file
            .ready()
            .map_err(|e| Error::io("open", &self.segment.log_path, e))?;
        self.segment
            .index
            .file
            .ready()
            .map_err(|e| Error::io("open", &self.segment.index_path, e))?;
        if writer.unclean {
            return Ok(());
        }
        let tail = &writer.tail;
        let marked = self
            .segment
            .index
            .write_slot(false, tail, self.boot)
            .and_then(|()| self.segment.index.file.sync_data());
        match marked {
            Ok(()) => {
                writer.unclean = true;
                Ok(())
            }
            Err(source) if is_no_space(&source) => Err(self.no_space(source)),
            Err(source) => Err(self.fail("mark", &self.segment.index_path, source)),
        }
    }

    /// With [`Durability::Always`], returns when the first `count` records are on the disk and readers see them.
    pub(crate) fn sync_if_always(&self, count: u64) -> Result<()> {
        if self.durability == Durability::Always {
            self.sync_up_to(count)?;
        }
        Ok(())
    }

    /// Returns when the first `count` records are on the disk. Callers at the same time share syncs.
    pub(crate) fn sync_up_to(&self, count: u64) -> Result<()> {
        let sync = || {
            let tail = lock(&self.written).begin_sync();
            self.sync_files(&tail)?;
            lock(&self.written).end_sync();
            if self.durability == Durability::Always {
                self.signal.update(|state| {
                    debug_assert!(state.count <= tail.count, "readers see unsynced records");
                    state.follow(&tail);
                });
            }
            Ok(tail.count)
        };
        self.group.wait_synced(count, || self.check_failed(), sync)
    }

    /// Syncs both files, then writes into the index how many records are on the disk. That slot is not synced: it is a hint
    /// that bounds the work of recovery, and if it is lost, recovery checks more.
    pub(crate) fn sync_files(&self, tail: &LogEnd) -> Result<()> {
        let sync_log = || {
            self.segment
                .log_file
                .sync_data()
                .map_err(|e| self.fail("sync", &self.segment.log_path, e))
        };
        let sync_index = || {
            self.segment
                .index
                .file
                .sync_data()
                .map_err(|e| self.fail("sync", &self.segment.index_path, e))
        };
        if self.durability == Durability::Always {
            // A writer waits, so both files are synced at once: the file system can put them into one commit of its
            // journal.
            thread::scope(|scope| {
                let other = thread::Builder::new().spawn_scoped(scope, sync_index);
                let log = sync_log();
                let index = match other {
                    Ok(other) => other.join().unwrap_or_else(|_| sync_index()),
                    Err(_) => sync_index(),
                };
                log.and(index)
            })?;
        } else {
            sync_log()?;
            sync_index()?;
        }
        self.check_in_place()?;
        self.segment
            .index
            .write_slot(false, tail, self.boot)
            .map_err(|e| self.fail("write", &self.segment.index_path, e))
    }

    /// Fails the log if its path leads to another file now, or to none: records that are appended to a file without a name are
    /// gone when this process ends.
    pub(crate) fn check_in_place(&self) -> Result<()> {
        if self.read_only || !self.segment.has_lost_its_name(&*self.disk) {
            return Ok(());
        }
        let gone = io::Error::new(
            io::ErrorKind::NotFound,
            "the file was removed or renamed while it was open (its records can be read until it is closed: copy them \
             first)",
        );
        Err(self.fail("keep", &self.segment.log_path, gone))
    }

    /// Has the log synced when the interval since `since` is over, unless it is in the queue already.
    pub(crate) fn queue_sync(&self, queue: &SyncQueue, since: Instant) {
        if let Some(myself) = self.myself.upgrade()
            && !self.is_queued.swap(true, Ordering::Relaxed)
        {
            queue.add(myself, since);
        }
    }

    /// Syncs the log that a thread has taken out of the queue. The log is not added to the queue meanwhile, so that a log
    /// with a slow disk occupies one thread only.
    pub(crate) fn sync_queued(&self) {
        // `fail` has reported a failed sync, in the program's own log and in the state.
        let synced = self.sync();
        self.is_queued.store(false, Ordering::Relaxed);
        let written_meanwhile = lock(&self.written).waiting_since();
        if let (Ok(()), Some(queue), Some(since)) = (synced, &self.queue, written_meanwhile) {
            self.queue_sync(queue, since);
        }
    }
}
