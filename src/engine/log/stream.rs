//! Following a log: one record after the other, with a wait at the end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use super::log::Log;
use super::signal::WaitOutcome;
use crate::error::{Error, Result};
use crate::ids::{ByteIndex, RecordNo};
use crate::segment::Entry;
use crate::segment::{Run, Scratch};

/// How much a stream reads ahead: it fits into the second-level cache of a CPU, with room for other data.
const AHEAD_BYTES: usize = 128 << 10;
/// A stream that waits gives its buffers back if they are larger than this.
const WAITING_BYTES: usize = 16 << 10;

/// A record, as a stream gives it: checked against its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// A reader that goes through a log from one record on, and waits at the end: with a thread in
/// [`Stream::next`], without one in
/// [`Stream::next_async`].
///
/// ```
/// use std::time::Duration;
/// use immuta::{Options, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let logs_dir = dir.path();
/// let storage = Storage::open(Options::new(logs_dir).namespaces(["events"]))?;
/// storage.append_batch("events", &["one", "two", "three"])?;
///
/// let mut from_the_second = storage.stream("events", 1)?;
/// let mut seen = Vec::new();
/// while let Some(record) = from_the_second.next(Some(Duration::ZERO))? {
///     seen.push(String::from_utf8_lossy(record.payload).into_owned());
/// }
/// assert_eq!(seen, ["two", "three"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    log: Arc<Log>,
    next: u64,
    scratch: Scratch,
    /// How many of the records in `scratch` have been given.
    given: usize,
    /// A record too large for `scratch`.
    large: Vec<u8>,
    /// The number of its waker in the signal.
    waker_number: Option<u64>,
}

/// Where the record that was just read is in memory.
enum At {
    Run(usize),
    Large(Entry),
}

impl Stream {
    /// A stream that begins at `start`: 0 is the first record, N skips N records, a negative number skips every record
    /// that is there now. A start beyond the end waits for that record.
    pub fn new(log: Arc<Log>, start: i64) -> Self {
        let next = u64::try_from(start).unwrap_or_else(|_| log.state().count);
        Stream {
            log,
            next,
            scratch: Scratch::default(),
            given: 0,
            large: Vec::new(),
            waker_number: None,
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

    /// The next record. Blocks until there is one, or until `timeout` is over: then `Ok(None)`. A `timeout` of zero does not
    /// block; `None` has no limit.
    ///
    /// # Errors
    /// [`Error::Closed`] when every committed record has been given and there will be no more.
    /// [`Error::Damaged`], once, for a damaged record: the next call gives the one after it. [`Error::Io`].
    // Not an `Iterator`: the record borrows the stream's buffer, which saves a copy.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Record<'_>>> {
        if !self.has_read_ahead() {
            match self.log.signal().wait(self.next, timeout) {
                WaitOutcome::TimedOut => return Ok(None),
                WaitOutcome::Closed => return Err(Error::Closed),
                WaitOutcome::Ready => {}
            }
        }
        let at = self.advance()?;
        Ok(Some(self.record(at)))
    }

    /// As [`Stream::next`], for async code of any runtime: it holds no thread while it waits, and the append wakes it.
    /// Dropping the future loses no record. The caller's thread reads, from the page cache as a rule.
    ///
    /// # Errors
    /// As [`Stream::next`].
    ///
    /// ```
    /// # use immuta::{Options, Storage, Stream};
    /// async fn first_word(stream: &mut Stream) -> immuta::Result<String> {
    ///     let record = stream.next_async().await?;
    ///     let text = String::from_utf8_lossy(record.payload);
    ///     Ok(text.split(' ').next().unwrap_or_default().to_owned())
    /// }
    /// ```
    pub async fn next_async(&mut self) -> Result<Record<'_>> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        let at = self.advance()?;
        Ok(self.record(at))
    }

    /// As [`Stream::next_async`], for futures that are written by hand. After `Pending`, the log's next change wakes the
    /// context's waker. The waker must do no more than schedule: the writer calls it in the middle of its work.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Record<'_>>> {
        match self.poll_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Ready(Ok(())) => Poll::Ready(match self.advance() {
                Ok(at) => Ok(self.record(at)),
                Err(e) => Err(e),
            }),
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.has_read_ahead() {
            return Poll::Ready(Ok(()));
        }
        let signal = self.log.signal();
        match signal.poll_above(self.next, &mut self.waker_number, cx.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(WaitOutcome::Closed) => Poll::Ready(Err(Error::Closed)),
            Poll::Ready(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether the next record is in memory. If it is not in the log yet either, buffers are given back: the wait may
    /// be long.
    fn has_read_ahead(&mut self) -> bool {
        if self.given < self.scratch.entries.len() {
            return true;
        }
        if self.next >= self.log.state().count {
            self.scratch.shrink(WAITING_BYTES);
            self.large = Vec::new();
            self.scratch.entries.clear();
            self.given = 0;
        }
        false
    }

    /// Goes on by one record, which the caller knows to be in the log.
    fn advance(&mut self) -> Result<At> {
        if self.given == self.scratch.entries.len() {
            self.given = 0;
            let first = RecordNo(self.next);
            let large = match self.log.read_run(first, AHEAD_BYTES, &mut self.scratch) {
                Ok(Run::Records(_)) => None,
                Ok(Run::Large(entry)) => Some(entry),
                Err(e) => {
                    self.scratch.entries.clear();
                    return Err(self.step_over(e));
                }
            };
            if let Some(entry) = large {
                self.scratch.entries.clear();
                self.read_large(&entry).map_err(|e| self.step_over(e))?;
                self.next += 1;
                return Ok(At::Large(entry));
            }
        }
        self.given += 1;
        self.next += 1;
        Ok(At::Run(self.given - 1))
    }

    fn record(&self, at: At) -> Record<'_> {
        match at {
            At::Run(at) => record(&self.scratch.entries[at], self.scratch.payload(at)),
            At::Large(entry) => record(&entry, &self.large),
        }
    }

    fn read_large(&mut self, entry: &Entry) -> Result<()> {
        // The index entry has been checked: the size is no larger than the log.
        self.large = vec![0; usize::try_from(entry.size).unwrap_or(usize::MAX)];
        self.log.read_part(entry, 0, &mut self.large)?;
        if crate::format::checksum(&self.large) != entry.checksum {
            self.log.verify_record(entry)?; // Its error says what is wrong.
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

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(number) = self.waker_number {
            self.log.signal().leave(number);
        }
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
