//! Records that come from elsewhere: from another log, or from a file.

mod file;

use std::io::{self, Read};
use std::sync::Arc;

use immuta::{Entry, Log, MAX_RUN_BYTES, RecordNo, Run, Scratch};

use crate::Failure;

pub(crate) use file::{FromFile, Input, STDIN};

/// What tells whether two records are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    size: u64,
    /// CRC-32C.
    checksum: u32,
}

impl Fingerprint {
    /// Of a record that is as it was written.
    pub(crate) fn of(log: &Log, n: u64) -> Result<Fingerprint, Failure> {
        let entry = log.entry(RecordNo(n))?;
        log.verify_record(&entry)?;
        Ok(Fingerprint {
            size: entry.size,
            checksum: entry.checksum,
        })
    }
}

/// Where the records come from, in order.
pub(crate) trait Source {
    /// Steps over the first `count` records, at least one; called first or not at all. Returns what the last
    /// of them is; `Err(n)` if there are only `n`.
    fn skip(&mut self, count: u64) -> Result<Result<Fingerprint, u64>, Failure>;

    /// Appends the next records, one at the least. Returns how many; 0 at the end.
    fn append_to(&mut self, log: &Log) -> Result<u64, Failure>;

    /// How far it is, in bytes.
    fn position(&self) -> u64;

    /// Where it ends, in bytes, if that is known.
    fn total(&self) -> Option<u64>;
}

/// Another log.
pub(crate) struct FromLog {
    log: Arc<Log>,
    next: u64,
    /// What is appended there meanwhile is not imported.
    count: u64,
    position: u64,
    scratch: Scratch,
}

impl FromLog {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        FromLog {
            count: log.state().count,
            log,
            next: 0,
            position: 0,
            scratch: Scratch::default(),
        }
    }
}

impl Source for FromLog {
    fn skip(&mut self, count: u64) -> Result<Result<Fingerprint, u64>, Failure> {
        if count > self.count {
            return Ok(Err(self.count));
        }
        self.next = count;
        Fingerprint::of(&self.log, count - 1).map(Ok)
    }

    fn append_to(&mut self, into: &Log) -> Result<u64, Failure> {
        if self.next == self.count {
            return Ok(0);
        }
        let run = self
            .log
            .read_run(RecordNo(self.next), MAX_RUN_BYTES, &mut self.scratch)?;
        let done = match run {
            Run::Records(records) => {
                let left = usize::try_from(self.count - self.next).unwrap_or(usize::MAX);
                let records: Vec<_> = records
                    .take(left)
                    .map(|(entry, payload)| {
                        self.position = entry.index.0;
                        (payload, entry.time)
                    })
                    .collect();
                into.append_copies(&records)?;
                records.len() as u64
            }
            Run::Large(entry) => {
                self.log.verify_record(&entry)?;
                let mut payload = Payload {
                    log: &self.log,
                    entry,
                    done: 0,
                };
                into.append_copy_from(&mut payload, entry.time)?;
                self.position = entry.index.0;
                1
            }
        };
        self.next += done;
        Ok(done)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn total(&self) -> Option<u64> {
        Some(self.log.state().log_end)
    }
}

/// A large record, read piece by piece.
struct Payload<'a> {
    log: &'a Log,
    entry: Entry,
    done: u64,
}

impl Read for Payload<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self
            .log
            .read_part(&self.entry, self.done, buf)
            .map_err(io::Error::other)?;
        self.done += n as u64;
        Ok(n)
    }
}
