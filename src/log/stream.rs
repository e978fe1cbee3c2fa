//! Following a log from a record on, in order, for as long as one likes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::run::{Run, Scratch};
use super::signal::WaitOutcome;
use super::{ByteIndex, Entry, Error, Log, RecordNo, Result};

/// How much a stream reads ahead: what the second-level cache of a CPU holds beside other things.
const AHEAD_BYTES: usize = 128 << 10;
/// A stream that waits gives its buffers back if they are larger than this.
const WAITING_BYTES: usize = 16 << 10;

/// A record, as a stream gives it: checked against its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub record: RecordNo,
    /// Where its size field is in the log file.
    pub index: ByteIndex,
    /// The size of its payload in bytes.
    pub size: u64,
    /// When it was appended; `None` if that is not known.
    pub time: Option<SystemTime>,
    /// Exactly its bytes.
    pub payload: &'a [u8],
}

/// A reader that goes through a log from one record on, and waits at the end.
#[derive(Debug)]
pub struct Stream {
    log: Arc<Log>,
    next: u64,
    scratch: Scratch,
    /// How many of the records in `scratch` have been given.
    given: usize,
    /// A record too large for `scratch`.
    large: Vec<u8>,
}

impl Stream {
    /// `start`: 0 is the first record, N skips N records, a negative one gives only what is appended from now on. A start beyond the
    /// end waits for that record.
    pub fn new(log: Arc<Log>, start: i64) -> Self {
        let next = u64::try_from(start).unwrap_or_else(|_| log.state().count);
        Stream {
            log,
            next,
            scratch: Scratch::default(),
            given: 0,
            large: Vec::new(),
        }
    }

    /// The number of the record that [`Stream::next`] will give.
    pub fn position(&self) -> RecordNo {
        RecordNo(self.next)
    }

    /// The log it reads.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The next record. Blocks until there is one; `Ok(None)` when `timeout` is over (`None`: never; zero: does not block).
    ///
    /// # Errors
    /// [`Error::Closed`] when all that was committed has been given and there will be no more. [`Error::Damaged`], once, for a
    /// damaged record: the next call gives the one after it. [`Error::Io`].
    // Not an `Iterator`: the record borrows the stream's buffer, so that giving it costs no copy.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Record<'_>>> {
        if self.given < self.scratch.entries.len() {
            return Ok(Some(self.give()));
        }
        if self.next >= self.log.state().count {
            self.scratch.shrink(WAITING_BYTES);
            self.large = Vec::new();
            self.scratch.entries.clear();
            self.given = 0;
        }
        match self.log.signal().wait(self.next, timeout) {
            WaitOutcome::TimedOut => return Ok(None),
            WaitOutcome::Closed => return Err(Error::Closed),
            WaitOutcome::Ready => {}
        }
        self.given = 0;
        let run = match self
            .log
            .read_run(RecordNo(self.next), AHEAD_BYTES, &mut self.scratch)
        {
            Ok(Run::Records(_)) => None,
            Ok(Run::Large(entry)) => Some(entry),
            Err(e) => {
                self.scratch.entries.clear();
                return Err(self.step_over(e));
            }
        };
        match run {
            None => Ok(Some(self.give())),
            Some(entry) => match self.read_large(&entry) {
                Ok(()) => {
                    self.next += 1;
                    Ok(Some(record(&entry, &self.large)))
                }
                Err(e) => Err(self.step_over(e)),
            },
        }
    }

    fn give(&mut self) -> Record<'_> {
        let at = self.given;
        self.given += 1;
        self.next += 1;
        record(&self.scratch.entries[at], self.scratch.payload(at))
    }

    fn read_large(&mut self, entry: &Entry) -> Result<()> {
        // The size is no larger than the log, by the index that has just been checked.
        self.large = vec![0; usize::try_from(entry.size).unwrap_or(usize::MAX)];
        self.log.read_part(entry, 0, &mut self.large)?;
        if super::format::checksum(&self.large) != entry.checksum {
            self.log.verify_record(entry)?; // says what is wrong
        }
        Ok(())
    }

    fn step_over(&mut self, e: Error) -> Error {
        if matches!(e, Error::Damaged { .. }) {
            self.next += 1;
        }
        e
    }
}

fn record<'a>(entry: &Entry, payload: &'a [u8]) -> Record<'a> {
    Record {
        record: entry.record,
        index: entry.index,
        size: entry.size,
        time: entry.time,
        payload,
    }
}
