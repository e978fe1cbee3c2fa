//! What is committed of a log, as readers see it.

use std::time::SystemTime;

use super::log_end::{LogEnd, from_ns};

/// A log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct State {
    /// How many records are committed.
    pub count: u64,
    /// The end of the last committed record, in bytes from the start of the log file.
    pub log_end: u64,
    /// The length of the text view in bytes: every record, with a newline where it has none of its own.
    pub text_end: u64,
    /// When the last record was appended; `None` if there is none, or its time is not known.
    pub last_time: Option<SystemTime>,
    /// As the index holds it, in nanoseconds since 1970, the time with which the last record counts: its own, or
    /// that of one before it if its own is not known. 0 without a record.
    pub(crate) time_ns: i64,
    /// How many of the records have an index entry that was made from the log, because another program wrote
    /// them or the index was lost: their times are not known, and their checksums are those of what was found
    /// then, not of what was written.
    pub rebuilt: u64,
    /// The storage was closed or the namespace removed: there will be no more records. These can still be
    /// read.
    pub closed: bool,
    /// Appends are refused since a write or sync failed.
    pub failed: bool,
}

impl State {
    /// The time that the last record counts with, in nanoseconds since 1970: its own, or that of one before it if its own is
    /// not known; 0 without a record.
    pub fn time_ns(&self) -> i64 {
        self.time_ns
    }

    /// Commits every record up to `end`.
    pub(crate) fn follow(&mut self, end: &LogEnd) {
        self.count = end.count;
        self.log_end = end.log_end;
        self.text_end = end.text_end;
        self.rebuilt = end.rebuilt;
        self.time_ns = end.time_ns;
        self.last_time = (end.time_known && end.count > 0).then(|| from_ns(end.time_ns));
    }
}
