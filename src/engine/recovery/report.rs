//! What opening a log found, kept and cut.

use std::fmt;
use std::path::PathBuf;

use crate::ids::RecordNo;

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The log was closed in order, and nobody has changed it since: only its end was read.
    pub clean: bool,
    /// How many records were kept.
    pub records: u64,
    /// The first record whose index entry was made from the log. The times of such records are not known.
    pub rebuilt_from: Option<RecordNo>,
    /// How many index entries were made from the log.
    pub rebuilt: u64,
    /// How many records were kept although their bytes are not those that were written. Reading one of them gives
    /// [`Error::Damaged`](crate::Error::Damaged).
    pub damaged: u64,
    /// What was cut off the end of the log.
    pub cut: Option<Cut>,
    /// If whole records were cut that the log counted: the file beside the log that holds what was cut, as frames.
    /// `immuta append --input frames` appends them again.
    pub saved: Option<PathBuf>,
    /// The count in the header of the log, if it was not the number of records kept.
    pub claimed: Option<i64>,
}

/// What recovery cut off the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Where the log ends now, in bytes from its start.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// What these bytes were.
    pub what: &'static str,
    /// How many whole records, which the log counted, are at the front of these bytes.
    pub records: u64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kept {} records", self.records)?;
        if let Some(claimed) = self.claimed {
            write!(f, " (its header said {claimed})")?;
        }
        if let Some(from) = self.rebuilt_from {
            write!(
                f,
                ", made the index again for {} from record {from} on (their times are not known)",
                self.rebuilt
            )?;
        }
        if let Some(cut) = self.cut {
            let Cut { offset, bytes, .. } = cut;
            write!(f, ", cut {bytes} bytes at byte {offset}: {}", cut.what)?;
            if let Some(path) = &self.saved {
                let (path, s) = (path.display(), if cut.records == 1 { "" } else { "s" });
                write!(
                    f,
                    ", saved in '{path}' with {} whole record{s} (immuta append --input frames takes them back)",
                    cut.records
                )?;
            }
        }
        if self.damaged > 0 {
            write!(f, ", {} of them damaged", self.damaged)?;
        }
        Ok(())
    }
}
