//! The log as a file of bytes: as text, or as frames.
//!
//! ```text
//! text      each payload, followed by a newline unless it ends in one
//! frames    [size: 8 bytes, little-endian][payload] ...
//! ```
//!
//! A byte never changes its offset: the index keeps where each record's text starts, frames lie as they do in
//! the log, and a record shows the same bytes for ever.

use immuta::{ByteIndex, Entry, Log, RecordNo, Result, Run, Scratch, State};

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// With newlines.
    Text,
    /// With sizes: safe for any bytes.
    Frames,
}

/// The bytes of a frame's size.
const SIZE_BYTES: u64 = 8;

impl View {
    /// Where the view ends now, in bytes.
    pub fn end(self, log: &Log, state: &State) -> u64 {
        match self {
            View::Text => state.text_end,
            View::Frames => state.log_end - log.format().header_bytes(),
        }
    }

    /// Where a record starts in it.
    pub fn start_of(self, log: &Log, entry: &Entry) -> u64 {
        match self {
            View::Text => entry.text_offset,
            View::Frames => entry.index.0 - log.format().header_bytes(),
        }
    }

    /// How many bytes a record is in it: at least one.
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

    /// What stands in front of a payload.
    fn prefix(self, entry: &Entry) -> ([u8; SIZE_BYTES as usize], usize) {
        match self {
            View::Text => ([0; SIZE_BYTES as usize], 0),
            View::Frames => (entry.size.to_le_bytes(), SIZE_BYTES as usize),
        }
    }

    /// What stands behind it.
    fn suffix(self, entry: &Entry) -> &'static [u8] {
        match self {
            View::Text if entry.adds_newline() => b"\n",
            View::Text | View::Frames => b"",
        }
    }
}

/// Where a handle's last read ended, so that a reader who reads on needs no search. Only a hint: any other
/// offset is searched for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Offset in the view, in bytes.
    offset: u64,
    /// The record that covers that offset.
    record: u64,
    /// A record of which a part was given, after its checksum was verified: what is left of it is read in
    /// pieces, and once is enough.
    verified: Option<u64>,
}

/// Reads a view from `offset` into `out`, up to `size` bytes: all that is committed of it and fits. Nothing
/// at or past the end. A damaged record ends what is read before it; it is an error when it comes first.
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
            // Every record has a byte in every view: an index that says otherwise is not to make a read spin.
            Ok(n) if n <= next && out.len() == before => return Err(log.bad_entry(RecordNo(n))),
            Ok(n) => next = n,
            // All of it, or nothing: whoever is given less takes it for the end.
            Err(e) if e.would_wait() => return Err(e),
            Err(_) if !out.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    position.offset = offset + out.len() as u64;
    position.record = next;
    Ok(())
}

/// A read under way: `out` is filled up to `size`, with what stands at `at` and behind it.
struct Reading<'a> {
    view: View,
    at: u64,
    size: usize,
    out: &'a mut Vec<u8>,
}

impl Reading<'_> {
    /// Reads records from `next` on, as far as one run goes. Returns the record to go on with.
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
                        // Smaller ones are cheaper read again, together with those behind them.
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

    /// Shows a part of a record that has been verified, without reading more of it. Returns whether that was
    /// all.
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

    /// Shows one record from `at` on, as much as there is room for: what is in front of the payload, the
    /// payload (`payload` appends it, from a place in it, as much as fits), what is behind it. Returns
    /// whether that was all.
    fn record(
        &mut self,
        log: &Log,
        entry: &Entry,
        payload: impl FnOnce(u64, usize, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        let before = self.out.len();
        // Two neighbours of a forged index may contradict each other.
        let bad = || log.bad_entry(entry.record);
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

    /// Shows bytes of which the first `skip` are not wanted; what remains to be skipped behind them is left
    /// in it.
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
