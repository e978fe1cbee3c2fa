//! Bringing what is written to the disk: for a caller, for a group of writers, for the threads that sync at an interval.

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
    /// Cheap when it is already.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses; the log has then failed. [`Error::Failed`] if it had.
    pub fn sync(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        let target = lock(&self.written).tail.count;
        self.sync_through(target)
    }

    /// How many records, from the first one on, this process knows to be on the disk, with their index
    /// entries; `None` for a log opened for reading only, whose writer alone knows. Costs a lock that is held
    /// for moments.
    pub fn synced(&self) -> Option<u64> {
        (!self.read_only).then(|| self.group.synced())
    }

    /// How many records are written and not known to be on the disk, committed or not, and how long the first of them has
    /// been waiting, by a clock that is never set back; `None` for a log opened for reading only. Costs as much as
    /// [`Log::synced`].
    pub fn unsynced(&self) -> Option<(u64, Duration)> {
        // In this order: what is on the disk is not newer than what is written.
        let synced = self.synced()?;
        let written = *lock(&self.written);
        Some((written.tail.count.saturating_sub(synced), written.lag()))
    }

    /// Before the first write after opening, the index must say on disk that the log is not closed in order:
    /// else, after a power cut, half-written records would be taken for those of another program that
    /// appended after us.
    pub(crate) fn mark_unclean(&self, writer: &mut Writer) -> Result<()> {
        // They may have to be opened again.
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
        if self.sync == Durability::Always {
            self.sync_through(count)?;
        }
        Ok(())
    }

    /// Returns when the first `target` records are on the disk. Writers that come at the same time share
    /// syncs.
    pub(crate) fn sync_through(&self, target: u64) -> Result<()> {
        let sync = || {
            let tail = lock(&self.written).begin_sync();
            self.sync_files(&tail)?;
            lock(&self.written).end_sync();
            if self.sync == Durability::Always {
                self.signal.update(|state| state.follow(&tail));
            }
            Ok(tail.count)
        };
        self.group.through(target, || self.check_failed(), sync)
    }

    /// Brings both files to the disk, then notes how far: a hint that bounds the work of recovery. If it is
    /// lost, recovery checks more.
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
        if self.sync == Durability::Always {
            // Somebody waits: both at once, so that the file system can put them into one commit of its
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

    /// Fails the log if its file is not the one of its name any more: what is appended to a file without a name is gone when
    /// this process ends.
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

    /// Has the log synced the interval after that time, unless it is in line already.
    pub(crate) fn put_in_line(&self, queue: &SyncQueue, since: Instant) {
        if let Some(myself) = self.myself.upgrade()
            && !self.dirty.swap(true, Ordering::Relaxed)
        {
            queue.add(myself, since);
        }
    }

    /// What a thread that syncs at an interval does with a log that it has taken out of its queue. The log is not put in
    /// line again meanwhile, so that one whose disk is slow holds one thread.
    pub(crate) fn sync_from_queue(&self) {
        // A failed sync has said so in the log of the program, and in the state of the log.
        let synced = self.sync();
        self.dirty.store(false, Ordering::Relaxed);
        let came_meanwhile = lock(&self.written).waiting_since();
        if let (Ok(()), Some(queue), Some(since)) = (synced, &self.queue, came_meanwhile) {
            self.put_in_line(queue, since);
        }
    }
}
