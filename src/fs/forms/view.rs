//! Shows a log as a file of bytes: as text, or as frames.
//!
//! ```text
//! text      each payload, followed by a newline unless it ends in one
//! frames    [size: 8 bytes, little-endian][payload] ...
//! ```
//!
//! A byte never changes its offset: the index keeps where the text of each record starts, and frames have the offsets that
//! they have in the log file, less its header.

use immuta::{ByteIndex, Entry, Log, RecordNo, Result, Run, Scratch, State};

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As text, with newlines.
    Text,
    /// As frames, with sizes: safe for any bytes.
    Frames,
}

/// Bytes of the size of a frame.
const SIZE_BYTES: u64 = 8;

impl View {
    /// The offset at which the view ends now.
    pub fn end(self, log: &Log, state: &State) -> u64 {
        match self {
            View::Text => state.text_end,
            View::Frames => state.log_end - log.format().header_bytes(),
        }
    }

    /// The offset at which a record starts.
    pub fn start_of(self, log: &Log, entry: &Entry) -> u64 {
        match self {
            View::Text => entry.text_offset,
            View::Frames => entry.index.0 - log.format().header_bytes(),
        }
    }

    /// How many bytes the view shows of a record: at least one.
    fn size_of(self, entry: &Entry) -> u64 {
        match self {
            View::Text => entry.text_size,
            View::Frames => SIZE_BYTES + entry.size,
        }
    }

    /// The record that covers an offset; `None` at the end and beyond.
    fn find(self, log: &Log, offset: u64) -> Result<Option<RecordNo>> {
        match self {
            View::Text => log.find_text(offset),
            View::Frames => log.find_index(ByteIndex(
                log.format().header_bytes().saturating_add(offset),
            )),
        }
    }

    /// What stands in front of a payload: some bytes, and how many of them count.
    fn prefix(self, entry: &Entry) -> ([u8; SIZE_BYTES as usize], usize) {
        match self {
            View::Text => ([0; SIZE_BYTES as usize], 0),
            View::Frames => (entry.size.to_le_bytes(), SIZE_BYTES as usize),
        }
    }

    /// What stands behind a payload.
    fn suffix(self, entry: &Entry) -> &'static [u8] {
        match self {
            View::Text if entry.adds_newline() => b"\n",
            View::Text | View::Frames => b"",
        }
    }
}

/// Where the last read of a handle ended, so that a sequential reader needs no search. Only a hint: the record at any
/// other offset is searched for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Offset in the view, in bytes.
    offset: u64,
    /// The record that covers that offset.
    record: u64,
    /// A record whose checksum was verified before its first part was shown: the other parts are read without verifying
    /// it again.
    verified: Option<u64>,
}

/// Reads a view from `offset` into `out`: all committed bytes, up to `size` of them; none at the end or behind it. A read
/// ends before a damaged record, and fails when it begins in one.
///
/// # Errors
/// Those of [`Log::read_run`].
pub fn read(
    view: View,
    log: &Log,
    position: &mut Position,
    offset: u64,
    size: usize,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    let mut next = if position.offset == offset {
        position.record
    } else {
        match view.find(log, offset)? {
            Some(RecordNo(n)) => n,
            None => return Ok(()),
        }
    };
    let count = log.state().count;
    while out.len() < size && next < count {
        let before = out.len();
        let mut reading = Reading {
            view,
            at: offset + before as u64,
            size,
            out: &mut *out,
        };
        match reading.some(log, &mut position.verified, next, scratch) {
            // Every record has at least one byte in every view. An index that denies it must not make this loop spin.
            Ok(n) if n <= next && out.len() == before => {
                return Err(log.bad_entry_error(RecordNo(n)));
            }
            Ok(n) => next = n,
            // All or nothing: the reader would take a short read for the end of file.
            Err(e) if e.would_wait() => return Err(e),
            Err(_) if !out.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    position.offset = offset + out.len() as u64;
    position.record = next;
    Ok(())
}

/// A read under way: fills `out` up to `size` bytes, with what the view has from `at` on.
struct Reading<'a> {
    view: View,
    at: u64,
    size: usize,
    out: &'a mut Vec<u8>,
}

impl Reading<'_> {
    /// Shows records from `next` on, as many as one run of the log holds. Returns the record to continue with.
    fn some(
        &mut self,
        log: &Log,
        verified: &mut Option<u64>,
        mut next: u64,
        scratch: &mut Scratch,
    ) -> Result<u64> {
        if *verified == Some(next) {
            let entry = log.entry(RecordNo(next))?;
            return Ok(next + u64::from(self.piece(log, &entry)?));
        }
        match log.read_run(RecordNo(next), self.size - self.out.len(), scratch)? {
            Run::Records(records) => {
                for (entry, payload) in records {
                    let done = self.record(log, &entry, |skip, room, out| {
                        let rest = payload.get(skip as usize..).unwrap_or_default();
                        out.extend_from_slice(&rest[..rest.len().min(room)]);
                        Ok(())
                    })?;
                    if !done {
                        // A smaller record is read again with the records behind it, which is cheaper than in pieces.
                        if entry.size > self.size as u64 {
                            *verified = Some(next);
                        }
                        break;
                    }
                    next = entry.record.0 + 1;
                    if self.out.len() == self.size {
                        break;
                    }
                }
            }
            Run::Large(entry) => {
                log.verify_record(&entry)?;
                *verified = Some(next);
                next += u64::from(self.piece(log, &entry)?);
            }
        }
        Ok(next)
    }

    /// Shows a part of a record that has been verified, and reads no more than that part. Returns whether the record ends
    /// in it.
    fn piece(&mut self, log: &Log, entry: &Entry) -> Result<bool> {
        self.record(log, entry, |skip, room, out| {
            let start = out.len();
            let wanted = entry.size.saturating_sub(skip).min(room as u64) as usize;
            out.resize(start + wanted, 0);
            let got = if wanted == 0 {
                0
            } else {
                log.read_part(entry, skip, &mut out[start..])?
            };
            out.truncate(start + got);
            Ok(())
        })
    }

    /// Shows one record from `at` on, as far as there is room: the bytes in front of the payload, the payload, and the bytes
    /// behind it. `payload(skip, room, out)` appends up to `room` bytes of the payload from `skip` on. Returns whether the
    /// record ends within the room.
    fn record(
        &mut self,
        log: &Log,
        entry: &Entry,
        payload: impl FnOnce(u64, usize, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        let before = self.out.len();
        // Two neighbouring entries of a damaged index may contradict each other.
        let bad = || log.bad_entry_error(entry.record);
        let start = self.view.start_of(log, entry);
        let mut skip = self.at.checked_sub(start).ok_or_else(bad)?;
        let all = self.view.size_of(entry).checked_sub(skip).ok_or_else(bad)?;

        let (prefix, length) = self.view.prefix(entry);
        self.fixed(&prefix[..length], &mut skip);
        let room = self.size - self.out.len();
        if room > 0 && skip < entry.size {
            payload(skip, room, self.out)?;
        }
        skip = skip.saturating_sub(entry.size);
        let shown = (self.out.len() - before) as u64;
        let suffix = self.view.suffix(entry);
        if shown + suffix.len() as u64 >= all {
            self.fixed(suffix, &mut skip);
        }
        let shown = (self.out.len() - before) as u64;
        self.at += shown;
        Ok(shown == all)
    }

    /// Shows `bytes` without the first `skip` of them, and takes from `skip` the number of bytes that it has skipped.
    fn fixed(&mut self, bytes: &[u8], skip: &mut u64) {
        let from = usize::try_from(*skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let rest = &bytes[from..];
        let room = self.size - self.out.len();
        self.out.extend_from_slice(&rest[..rest.len().min(room)]);
        *skip -= from as u64;
    }
}
