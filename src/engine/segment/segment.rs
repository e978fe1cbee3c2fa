//! The two files of a log, and which files they are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::index::Index;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, WayOut};
use crate::format::{Format, entry_offset};
use crate::ids::RecordNo;
use crate::namespace::Namespace;

/// A log file and the index beside it.
///
/// The records that can be read in a segment are those that a [`State`](super::State) or a [`LogEnd`](super::LogEnd)
/// counts: the caller passes it, since a segment does not know what is committed.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The log that the files belong to.
    pub(crate) namespace: Namespace,
    pub(crate) log_path: PathBuf,
    pub(crate) index_path: PathBuf,
    pub(crate) log_file: Arc<dyn DiskFile>,
    pub(crate) index: Index,
    /// The format of the log file. It never changes.
    pub(crate) format: Format,
}

impl Segment {
    /// Whether the log file was removed, renamed or replaced since it was opened: its path leads to another file, or to none.
    /// `false` where the disk cannot tell.
    pub(crate) fn has_lost_its_name(&self, disk: &dyn Disk) -> bool {
        match (disk.stat(&self.log_path), self.log_file.stat()) {
            (Err(e), _) => e.kind() == io::ErrorKind::NotFound,
            (Ok(Some(there)), Ok(Some(open))) => there.identity != open.identity,
            _ => false,
        }
    }

    /// The error of a read of the log file that failed with `e`.
    pub(crate) fn log_error(&self, e: io::Error) -> Error {
        Error::io("read", &self.log_path, e)
    }

    /// The error of a read of the index that failed with `e`.
    pub(crate) fn index_error(&self, e: io::Error) -> Error {
        Error::io("read", &self.index_path, e)
    }

    /// The error for record `n` when the bytes at the place of its index entry are not that entry.
    pub(crate) fn bad_entry(&self, n: RecordNo) -> Error {
        let offset = entry_offset(n.0).unwrap_or(u64::MAX);
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record: Some(n),
            offset: 0,
            what: format!(
                "its index entry, at byte {offset} of '{}', is not what was written",
                self.index_path.display()
            ),
            way_out: Some(WayOut::DeleteIndex),
        }
    }

    /// The error for record `n` when the log file is not what was written at byte `offset`.
    pub(crate) fn damaged(&self, n: RecordNo, offset: u64, what: &str) -> Error {
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record: Some(n),
            offset,
            what: what.to_owned(),
            way_out: None,
        }
    }
}
