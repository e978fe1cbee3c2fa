//! The times that records get. A record is never older than the record before it.

use std::time::SystemTime;

use crate::segment::{LogEnd, to_ns};

/// The time of one record, as its index entry says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// In ns since 1970, never below the time of the record before.
    pub(crate) ns: i64,
    /// Whether this is the record's own time, and not repeated from the record before.
    pub(crate) known: bool,
}

/// Where the times of the records of one append come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamps<'a> {
    /// From the clock: the records are new.
    Now,
    /// From another log: the time that each record was appended there, where that is known.
    Copied(&'a [Option<SystemTime>]),
}

impl Stamps<'_> {
    /// The time of the `n`-th record of an append at `now`. The record comes behind `tail`.
    pub(crate) fn of(self, n: usize, now: i64, tail: &LogEnd) -> Stamp {
        let (ns, known) = match self {
            Stamps::Now => (now, true),
            Stamps::Copied(times) => match times.get(n).copied().flatten() {
                // Another machine's clock may be ahead. As times do not go back, its time would be that of every later
                // record.
                Some(time) => (to_ns(time).min(now), true),
                None => (tail.time_ns, false),
            },
        };
        Stamp {
            ns: ns.max(tail.time_ns),
            known,
        }
    }
}
