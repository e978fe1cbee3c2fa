//! What is found of a log, before anything is decided.

use std::sync::Arc;

use crate::disk::{DiskFile, OpenMode, Window};
use crate::error::{Error, Result, WayOut, repair_command};
use crate::format::{Header, IndexEntry, Slot};
use crate::ids::RecordNo;
use crate::segment::Segment;

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To read it, perhaps beside its writer. No byte of its files is changed.
    Read,
    /// To read and write it. Its files are mended.
    Write,
    /// To see what mending it would do. No byte of its files is changed.
    Plan,
}

impl Purpose {
    pub(crate) fn open_mode(self) -> OpenMode {
        match self {
            Purpose::Read | Purpose::Plan => OpenMode::Read,
            Purpose::Write => OpenMode::Write,
        }
    }
}

/// A log and its index as they are found. [`find`](super::find::find) makes it.
pub(crate) struct Evidence {
    pub(crate) purpose: Purpose,
    /// The two files. Without an index file, or where it must not be written to, the index is in memory.
    pub(crate) segment: Segment,
    /// The log file, for the reads of recovery: they may be watched.
    pub(crate) log: Arc<dyn DiskFile>,
    pub(crate) has_index_file: bool,
    /// What the index says; `None`: there is no index, or neither of its slots is valid.
    pub(crate) slot: Option<Slot>,
    pub(crate) header: Header,
    /// The length of the log file. It was read after the header: what the header counts is inside, also beside a writer.
    pub(crate) length: u64,
    pub(crate) index_length: u64,
    /// The machine's boot id now; 0: not known.
    pub(crate) boot: u64,
}

impl Evidence {
    /// How many records the index says were on the disk at the last sync; 0 without an index.
    pub(crate) fn synced(&self) -> u64 {
        self.slot.map_or(0, |slot| slot.synced_count)
    }

    /// Entry `n` of the index. `index` is a window over its file.
    pub(crate) fn entry(&self, index: &mut Window<'_>, n: u64) -> Result<Option<IndexEntry>> {
        let entry = self.segment.index.entry_in(index, n);
        entry.map_err(|e| self.segment.index_error(e))
    }
}

/// The error that refuses a log as damaged at byte `offset`, in `record` or, without one, in its header. It names the way
/// out.
pub(crate) fn refused(
    segment: &Segment,
    record: Option<RecordNo>,
    offset: u64,
    what: &str,
) -> Error {
    let (namespace, log_path) = (&segment.namespace, &segment.log_path);
    let command = repair_command(log_path.parent().unwrap_or(log_path), namespace);
    let before = match record {
        None => "records".to_owned(),
        Some(RecordNo(1)) => "record".to_owned(),
        Some(n) => format!("{n} records"),
    };
    Error::Damaged {
        namespace: namespace.to_string(),
        record,
        offset,
        what: what.to_owned(),
        way_out: Some(WayOut::Refused(format!(
            "{command} keeps the {before} before that, and saves what it cuts off"
        ))),
    }
}
