//! The end of a log, and times as the index holds them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::format::Format;
use crate::format::{MAX_LOG_BYTES, SIZE_FIELD_BYTES, text_bytes};
use crate::ids::{ByteIndex, RecordNo};

/// Where an append has put a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The record's number.
    pub record: RecordNo,
    /// Where its size field is in the log file.
    pub index: ByteIndex,
    /// The size of its payload in bytes.
    pub size: u64,
}

/// The end of a log: what the next record needs to know of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) count: u64,
    pub(crate) log_end: u64,
    pub(crate) text_end: u64,
    /// Where the last record starts; 0 without a record. The second field of a `count16` header.
    pub(crate) last_index: u64,
    /// The largest time of a record so far, in ns since 1970. The next record's time is not below it.
    pub(crate) time_ns: i64,
    /// Whether the time of the last record itself is known.
    pub(crate) time_known: bool,
    /// How many records so far have an entry that was made from the log.
    pub(crate) rebuilt: u64,
}

impl LogEnd {
    pub(crate) fn empty(format: Format) -> Self {
        LogEnd {
            count: 0,
            log_end: format.header_bytes(),
            text_end: 0,
            last_index: 0,
            time_ns: 0,
            time_known: false,
            rebuilt: 0,
        }
    }

    /// The end after one more record of `size` bytes, whose last byte is `last`. `None` if a log cannot be that long.
    pub(crate) fn after_record(
        &self,
        size: u64,
        last: Option<u8>,
        time_ns: i64,
        time_known: bool,
    ) -> Option<Self> {
        let log_end = self
            .log_end
            .checked_add(SIZE_FIELD_BYTES)?
            .checked_add(size)?;
        (log_end <= MAX_LOG_BYTES).then(|| LogEnd {
            count: self.count + 1,
            log_end,
            text_end: self.text_end + text_bytes(size, last),
            last_index: self.log_end,
            time_ns,
            time_known,
            // Saturating: the slot of a forged index may say any number.
            rebuilt: self.rebuilt.saturating_add(u64::from(!time_known)),
        })
    }
}

/// The time that the index holds as `ns`.
pub(crate) fn from_ns(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

/// A time as the index and [`State::time_ns`](super::State::time_ns) hold it: in nanoseconds since 1970, negative before that. A time that does not fit becomes the nearest
/// one that does.
pub fn to_ns(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}
