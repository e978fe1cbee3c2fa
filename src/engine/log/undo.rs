//! The way back after a failed write: either the files are as they were before the append, or the log has failed and refuses
//! appends.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::log::Log;
use super::writer::Writer;
use crate::error::{Error, Result};

/// How far a failed append has come: which of its parts may be in the files. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrote {
    Records,
    Entries,
    Count,
}

impl Log {
    /// Puts the files back to the writer's tail. If that does not succeed, the log has failed.
    pub(crate) fn undo(&self, writer: &mut Writer, wrote: Wrote) -> Result<()> {
        writer.pending.shrink();
        self.cut_back(writer, wrote)
            .map_err(|e| self.fail("undo an append in", &self.segment.log_path, e))
    }

    /// Undoes an append that has failed with `cause`. Returns the error for its caller. After a full disk the log goes on as it
    /// was before the append; after any other error it has failed.
    pub(crate) fn roll_back(&self, writer: &mut Writer, cause: io::Error, wrote: Wrote) -> Error {
        if let Err(e) = self.undo(writer, wrote) {
            return e;
        }
        if !is_no_space(&cause) {
            return self.fail("append to", &self.segment.log_path, cause);
        }
        self.next_append_syncs.store(true, Ordering::Relaxed);
        // A power cut must not bring back a refused record, together with an entry that vouches for it.
        if wrote >= Wrote::Entries
            && let Err(e) = self.segment.index.file.sync_data()
        {
            return self.fail("sync", &self.segment.index_path, e);
        }
        self.no_space(cause)
    }

    /// Cuts both files at `writer.tail`. The count is put back first: it must never count records that are not there.
    fn cut_back(&self, writer: &Writer, wrote: Wrote) -> io::Result<()> {
        // Mostly the failed write has not changed the count. Then it is not written again: a full file system that copies on
        // write would refuse that, too.
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

    /// Marks the log as failed: from now on it refuses appends. The first failure is reported in the program's own log.
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
}

/// Whether a write has failed for want of room: on the disk, in a quota, or within the largest file that the process may
/// write. A file that is too large counts only if the system says so, not if the engine does because an offset is beyond
/// the end of any file.
pub(crate) fn is_no_space(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) || (e.kind() == io::ErrorKind::FileTooLarge && e.raw_os_error().is_some())
}
