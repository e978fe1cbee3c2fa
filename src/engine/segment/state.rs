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
    /// The length of the text view in bytes. Each record is in it, with a newline after it unless it ends in one.
    pub text_end: u64,
    /// When the last record was appended; `None` without a record, or if its time is not known.
    pub last_time: Option<SystemTime>,
    /// See [`State::time_ns`].
    pub(crate) time_ns: i64,
    /// How many of the records have an index entry that was made from the log, since another program wrote the records
    /// or the index was lost. Their times are not known. Their checksums are those of the bytes that were found then, not
    /// of those that were written.
    pub rebuilt: u64,
    /// The storage was closed, or the namespace was removed. There will be no more records; those that are there can still be
    /// read.
    pub closed: bool,
    /// A write or a sync has failed, and appends are refused since.
    pub failed: bool,
}

impl State {
    /// The time of the last record as the index holds it, in nanoseconds since 1970. If it is not known, the time of the last
    /// record before it that is known; 0 if there is none.
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
