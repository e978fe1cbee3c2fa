//! The times that records get. They never go back.

use std::time::SystemTime;

use crate::segment::{LogEnd, to_ns};

/// The time of one record, as its index entry says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// In ns since 1970, never below that of the record before.
    pub(crate) ns: i64,
    /// Whether that is its own.
    pub(crate) known: bool,
}

/// Where the times of the records of one append come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamps<'a> {
    /// The records are new: the clock's.
    Now,
    /// They are copies: the time that each was appended in another log, where that is known.
    Copied(&'a [Option<SystemTime>]),
}

impl Stamps<'_> {
    /// The time of the `n`-th record of an append that is made at `now`, and comes behind `tail`.
    pub(crate) fn of(self, n: usize, now: i64, tail: &LogEnd) -> Stamp {
        let (ns, known) = match self {
            Stamps::Now => (now, true),
            Stamps::Copied(times) => match times.get(n).copied().flatten() {
                // Another machine's clock may be ahead. Taken over, that would hold for all that follow.
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
