//! The log as text: each record, followed by a newline unless it ends in one.
//!
//! A byte of text never changes its offset: the index keeps where each record's text starts, and a record
//! shows the same bytes for ever.

use crate::log::{Log, RecordNo, Result, Run, Scratch};

/// Where a handle's last read ended, so that a reader who reads on needs no search. Only a hint: any other
/// offset is searched for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Offset in the text, in bytes.
    offset: u64,
    /// The record that covers that offset.
    record: u64,
    /// A large record whose checksum this handle has verified: it is read in pieces, and once is enough.
    verified: Option<u64>,
}

/// Reads text from `offset` into `out`, up to `size` bytes: all that is committed of it and fits. Nothing at
/// or past the end. A damaged record ends what is read before it; it is an error when it comes first.
///
/// # Errors
/// Those of [`Log::read_run`].
pub fn read(
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
        match log.find_text(offset)? {
            Some(RecordNo(n)) => n,
            None => return Ok(()),
        }
    };
    let count = log.state().count;
    while out.len() < size && next < count {
        let at = offset + out.len() as u64;
        let result = read_some(log, position, next, at, size, scratch, out);
        match result {
            Ok(n) => next = n,
            Err(_) if !out.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    position.offset = offset + out.len() as u64;
    position.record = next;
    Ok(())
}

/// Reads the text of records from `next` on, as far as one run goes. Returns the record to go on with.
fn read_some(
    log: &Log,
    position: &mut Position,
    mut next: u64,
    mut at: u64,
    size: usize,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<u64> {
    match log.read_run(RecordNo(next), size - out.len(), scratch)? {
        Run::Records(records) => {
            for (entry, payload) in records {
                let skip = (at - entry.text_offset) as usize;
                let room = size - out.len();
                let from_payload = payload.get(skip..).unwrap_or_default();
                out.extend_from_slice(&from_payload[..from_payload.len().min(room)]);
                if entry.adds_newline() && out.len() < size {
                    out.push(b'\n');
                }
                at = entry.text_offset + entry.text_size.min((skip + room) as u64);
                if at < entry.text_offset + entry.text_size {
                    break;
                }
                next = entry.record.0 + 1;
                if out.len() == size {
                    break;
                }
            }
        }
        Run::Large(entry) => {
            if position.verified != Some(next) {
                log.verify_record(&entry)?;
                position.verified = Some(next);
            }
            let skip = at - entry.text_offset;
            let start = out.len();
            let wanted = entry.size.saturating_sub(skip).min((size - start) as u64) as usize;
            out.resize(start + wanted, 0);
            let got = log.read_part(&entry, skip, &mut out[start..])?;
            out.truncate(start + got);
            if got == wanted
                && skip + wanted as u64 == entry.size
                && entry.adds_newline()
                && out.len() < size
            {
                out.push(b'\n');
            }
            if skip + (out.len() - start) as u64 == entry.text_size {
                next += 1;
            }
        }
    }
    Ok(next)
}
