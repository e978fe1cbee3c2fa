//! The way back after a failed write: the files as they were before the append, or a log that takes no more.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::log::Log;
use super::writer::Writer;
use crate::error::{Error, Result};

/// How far an append has come: what of it may be in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrote {
    Records,
    Entries,
    Count,
}

impl Log {
    /// Puts the files back to the writer's tail. If that fails, the log has failed.
    pub(crate) fn undo(&self, writer: &mut Writer, wrote: Wrote) -> Result<()> {
        writer.pending.shrink();
        self.cut_back(writer, wrote)
            .map_err(|e| self.fail("undo an append in", &self.segment.log_path, e))
    }

    /// Takes a failed append back, and says what it failed with. A full disk leaves the log as it was;
    /// anything else leaves it failed.
    pub(crate) fn roll_back(&self, writer: &mut Writer, cause: io::Error, wrote: Wrote) -> Error {
        if let Err(e) = self.undo(writer, wrote) {
            return e;
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
    fn cut_back(&self, writer: &Writer, wrote: Wrote) -> io::Result<()> {
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
}

/// Whether there is no room for what was to be written: on the disk, in a quota, or within the largest file that the
/// process may write. That counts only when the system has said it, not when a place is no place in any file.
pub(crate) fn is_no_space(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) || (e.kind() == io::ErrorKind::FileTooLarge && e.raw_os_error().is_some())
}
