//! How far a log has come, and how far it has to come before a waiter gets something.

/// How far a log has to come before a waiter gets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Any news is enough.
    News,
    /// The log has at least this many records.
    Records(u64),
    /// The text of the log is at least this many bytes long.
    Text(u64),
    /// The log file is at least this many bytes long.
    Log(u64),
    /// The time of the last record, in nanoseconds since 1970, is this or later.
    Time(i64),
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Committed records.
    pub records: u64,
    /// The length of the text in bytes.
    pub text: u64,
    /// The length of the log file in bytes.
    pub log: u64,
    /// The time of the last record in nanoseconds since 1970; `i64::MIN` without a record.
    pub time: i64,
    /// The log does not grow any more: every need counts as met.
    pub closed: bool,
}

impl Reached {
    /// A log without records.
    pub const NOTHING: Reached = Reached {
        records: 0,
        text: 0,
        log: 0,
        time: i64::MIN,
        closed: false,
    };

    /// Whether the log has come as far as `need` says.
    pub fn meets(&self, need: Need) -> bool {
        self.closed || need <= self.largest_met(need)
    }

    /// The largest need of the same kind that is met.
    pub fn largest_met(&self, kind: Need) -> Need {
        match kind {
            Need::News => Need::News,
            Need::Records(_) => Need::Records(self.records),
            Need::Text(_) => Need::Text(self.text),
            Need::Log(_) => Need::Log(self.log),
            Need::Time(_) => Need::Time(self.time),
        }
    }
}
