//! The end of a log: closed in order, abandoned, or removed.

use super::log::Log;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::locks::lock;

impl Log {
    /// Syncs, marks the log on the disk as closed in order, and tells readers that there will be no more records. A second
    /// call does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        let closed = self.group.while_idle(|synced| {
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
        let written = lock(&self.written).begin_sync();
        debug_assert_eq!(written, *tail, "nobody else has the writer");
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

    /// Ends the log as a crash of the process would: without a sync, and without a mark on the disk.
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

    /// Tells readers and observers that the log is closed.
    pub(crate) fn end(&self) {
        self.signal.update(|state| state.closed = true);
        self.signal.notify_observers();
    }
}
