//! Reads the records to import: from another log, or from a file.

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
    /// The fingerprint of record `n`, which is checked first.
    pub(crate) fn of(log: &Log, n: u64) -> Result<Fingerprint, Failure> {
        let entry = log.entry(RecordNo(n))?;
        log.verify_record(&entry)?;
        Ok(Fingerprint {
            size: entry.size,
            checksum: entry.checksum,
        })
    }
}

/// Records to import, in order.
pub(crate) trait Source {
    /// Skips the first `count` records, which are one at least. Called before anything else, or not at all. Returns the
    /// fingerprint of the last skipped record; `Err(n)` if there are only `n` records.
    fn skip(&mut self, count: u64) -> Result<Result<Fingerprint, u64>, Failure>;

    /// Appends the next records, at least one. Returns how many; 0 at the end.
    fn append_to(&mut self, log: &Log) -> Result<u64, Failure>;

    /// How many bytes have been read.
    fn position(&self) -> u64;

    /// How many bytes there are to read, if that is known.
    fn total(&self) -> Option<u64>;
}

/// Another log.
pub(crate) struct FromLog {
    log: Arc<Log>,
    next: u64,
    /// How many records the log had at the start. Later ones are not imported.
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
