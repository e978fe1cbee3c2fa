//! How a log comes to the disk, to its end, and to a stop when the disk fails.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::log::Log;
use super::log::{Writer, Wrote};
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

    /// Takes a failed append back, and says what it failed with. A full disk leaves the log as it was;
    /// anything else leaves it failed.
    pub(crate) fn roll_back(&self, writer: &mut Writer, cause: io::Error, wrote: Wrote) -> Error {
        if let Err(e) = self.cut_back(writer, wrote) {
            return self.fail("undo an append in", &self.segment.log_path, e);
        }
        if !is_no_space(&cause) {
            return self.fail("append to", &self.segment.log_path, cause);
        }
        self.next_syncs.store(true, Ordering::Relaxed);
        // With an entry that vouches for it, a record that was refused could be found whole after a power
        // cut.
        if wrote >= Wrote::Entries
            && let Err(e) = self.segment.index.file.sync_data()
        {
            return self.fail("sync", &self.segment.index_path, e);
        }
        self.no_space(cause)
    }

    /// Puts the files back to `writer.tail`. The count first: it must never be larger than what is there.
    pub(crate) fn cut_back(&self, writer: &Writer, wrote: Wrote) -> io::Result<()> {
        // Mostly nothing of the count was written: then it is not written again, which a file system that copies on write
        // would refuse as it has refused the first one.
        if wrote >= Wrote::Count && !self.segment.header_says(&writer.tail) {
            self.segment.write_header(&writer.tail)?;
        }
        self.segment.log_file.set_len(writer.tail.log_end)?;
        self.segment.index.cut(writer.tail.count)
    }

    pub(crate) fn no_space(&self, source: io::Error) -> Error {
        Error::NoSpace {
            namespace: self.segment.namespace.to_string(),
            source,
        }
    }

    /// From now on appends are refused. Says so once in the log of the program.
    pub(crate) fn fail(&self, action: &'static str, path: &Path, source: io::Error) -> Error {
        let error = Error::io(action, path, source);
        if self.failed.set(error.to_string()).is_ok() {
            log::error!(
                "namespace '{}' takes no more appends until it is reopened: {error}",
                self.segment.namespace
            );
            self.signal.update(|state| state.failed = true);
        }
        error
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
    fn sync_files(&self, tail: &LogEnd) -> Result<()> {
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
    fn check_in_place(&self) -> Result<()> {
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

    /// Syncs, says on disk that all is in order, and tells everybody that there will be no more records. The
    /// second time does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        let closed = self.group.alone(|synced| {
            let mut writer = lock(&self.writer);
            if writer.closed {
                return None;
            }
            writer.closed = true;
            Some(self.close_files(synced, &writer))
        });
        let Some(result) = closed else {
            return Ok(());
        };
        self.end();
        result
    }

    fn close_files(&self, synced: &mut u64, writer: &Writer) -> Result<()> {
        self.check_failed()?;
        if !writer.unclean {
            return self.check_in_place();
        }
        let tail = &writer.tail;
        lock(&self.written).begin_sync();
        self.sync_files(tail)?;
        lock(&self.written).end_sync();
        *synced = tail.count;
        self.signal.update(|state| state.follow(tail));
        self.segment
            .index
            .write_slot(true, tail, self.boot)
            .and_then(|()| self.segment.index.file.sync_data())
            .map_err(|e| self.fail("sync", &self.segment.index_path, e))
    }

    /// Ends the log as a crash of the process would: nothing is synced, nothing is marked.
    pub(crate) fn abandon(&self) {
        lock(&self.writer).closed = true;
        self.end();
    }

    /// Closes the log for removal, unless it holds a record.
    pub(crate) fn close_if_empty(&self) -> Result<()> {
        let mut writer = lock(&self.writer);
        if writer.closed {
            return Err(Error::Closed);
        }
        if writer.tail.count > 0 {
            return Err(Error::NotEmpty {
                namespace: self.segment.namespace.to_string(),
                records: writer.tail.count,
            });
        }
        writer.closed = true;
        Ok(())
    }

    /// Wakes everybody with the news that the log is closed.
    pub(crate) fn end(&self) {
        self.signal.update(|state| state.closed = true);
        self.signal.notify_observers();
    }
}

/// Whether there is no room for what was to be written: on the disk, in a quota, or within the largest file that the
/// process may write. EFBIG counts only when the system has said it, not when a place is no place in any file.
pub(crate) fn is_no_space(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) || e.raw_os_error() == Some(libc::EFBIG)
}
