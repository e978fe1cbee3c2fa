//! What an open file shows at an offset, and what has to be there before it shows anything.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle::{Handle, NOT_READ, Output};
use crate::fs::errno::Errno;
use crate::fs::forms::{json_lines, view};
use crate::fs::locks::lock;
use crate::fs::namespace::{Need, Reached};
use immuta::{Log, RecordNo};

thread_local! {
    /// Buffers of the thread, not of the reader: ten thousand readers wait, a handful of threads read.
    pub(crate) static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
pub(crate) struct Buffers {
    lines: json_lines::Buffers,
    /// What a read gives.
    pub(crate) out: Vec<u8>,
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Bytes, in the buffer; none is end of file.
    Bytes,
    /// The end of what is committed, of a file that goes on.
    End,
    /// Lines of JSON so far behind what is known of them that they have to be measured first.
    Far,
}

impl Handle {
    /// Fills the buffer with what the file shows at `offset`.
    pub(crate) fn show(
        &self,
        offset: u64,
        size: usize,
        buffers: &mut Buffers,
    ) -> Result<Found, Errno> {
        let Buffers { lines, out } = buffers;
        let log = &self.namespace.log;
        out.clear();
        if let Output::View(open) = &self.output {
            // From now on what has to be there is known to the byte.
            open.base(log)?;
        }
        let at_end = !self.reached().meets(self.need(offset));
        match &self.output {
            _ if at_end => return Ok(Found::End),
            Output::Nothing => return Err(Errno::EBADF),
            Output::Receipts(receipts) => {
                let committed = log.state().count;
                lock(receipts).read(committed, size, out, |n| Ok(log.entry(n)?.into()))?;
            }
            Output::View(open) => {
                // Without a beginning, and yet not to wait: the namespace was removed.
                if let Some(base) = open.base(log)? {
                    // A copy: other reads of the file do not wait while this one waits for the disk.
                    let (mut position, at) = (*lock(&open.position), base.saturating_add(offset));
                    let scratch = &mut lines.scratch;
                    view::read(open.view, log, &mut position, at, size, scratch, out)?;
                    *lock(&open.position) = position;
                }
            }
            Output::Lines(open) => {
                if self.is_far(offset) {
                    return Ok(Found::Far);
                }
                let json_index = &self.namespace.json_index;
                json_index.read(log, &open.position, offset, size, lines, out)?;
                if out.is_empty() && open.waits && !log.state().closed {
                    return Ok(Found::End);
                }
            }
            Output::Count(shown) => {
                if offset == 0 || shown.load(Ordering::Relaxed) == NOT_READ {
                    shown.store(log.state().count, Ordering::Relaxed);
                }
                let text = count_text(shown.load(Ordering::Relaxed));
                out.extend_from_slice(piece(&text, offset, size));
            }
            Output::Record { n, verified, .. } => {
                record(log, RecordNo(*n), verified, offset, size, out)?
            }
        }
        Ok(Found::Bytes)
    }

    /// What has to be there before a read at `offset` is answered. Reads nothing from the disk.
    pub(crate) fn need(&self, offset: u64) -> Need {
        match &self.output {
            Output::View(view) if view.waits => view.need(&self.namespace.log, offset),
            Output::Lines(lines) if lines.waits => {
                let position = *lock(&lines.position);
                let record = self.namespace.json_index.record_at(&position, offset);
                record.map_or(Need::News, |n| Need::Records(n.saturating_add(1)))
            }
            Output::Record { n, .. } => Need::Records(n.saturating_add(1)),
            Output::View(_)
            | Output::Lines(_)
            | Output::Count(_)
            | Output::Receipts(_)
            | Output::Nothing => Need::News,
        }
    }

    /// How far the log has come.
    pub(crate) fn reached(&self) -> Reached {
        self.namespace.reached()
    }

    /// Whether more has to be known of where the lines of JSON are before a read at `offset` can be answered.
    pub(crate) fn is_far(&self, offset: u64) -> bool {
        let Output::Lines(lines) = &self.output else {
            return false;
        };
        let (namespace, position) = (&self.namespace, *lock(&lines.position));
        namespace
            .json_index
            .is_far(&namespace.log, &position, offset)
    }
}

/// What a read of a short text gets.
fn piece(text: &str, offset: u64, size: usize) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    &rest[..rest.len().min(size)]
}

/// Reads a piece of a record's payload. Its checksum is verified once for each handle, whatever the pieces
/// are.
fn record(
    log: &Log,
    n: RecordNo,
    verified: &AtomicBool,
    offset: u64,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    if n.0 >= log.state().count {
        return Ok(()); // The namespace was removed while this waited for the record: end of file.
    }
    let entry = log.entry(n)?;
    if !verified.load(Ordering::Relaxed) {
        log.verify_record(&entry)?;
        verified.store(true, Ordering::Relaxed);
    }
    let wanted = entry.size.saturating_sub(offset).min(size as u64) as usize;
    out.resize(wanted, 0);
    let got = if wanted == 0 {
        0
    } else {
        log.read_part(&entry, offset, out)?
    };
    out.truncate(got);
    Ok(())
}

/// What `count` shows.
pub(crate) fn count_text(count: u64) -> String {
    format!("{count}\n")
}
