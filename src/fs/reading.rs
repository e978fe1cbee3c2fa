//! Reads: what is there is given, and who is at the end waits, or is told.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::errno::Errno;
use super::handle::{Handle, NOT_READ, Output, lock};
use super::parked::Reached;
use super::waking::{need, reached};
use super::{Fs, ReadReply, Transport, Waiter, json_lines, view};
use crate::log::{Log, RecordNo};

thread_local! {
    /// Buffers of the thread, not of the reader: ten thousand readers wait, a handful of threads read.
    pub(super) static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
pub(super) struct Buffers {
    lines: json_lines::Buffers,
    /// What a read gives.
    pub(super) out: Vec<u8>,
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Bytes, in the buffer; none is end of file.
    Bytes,
    /// The end of what is committed, of a file that goes on.
    End,
}

/// How a read comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMode {
    /// It must not wait.
    pub nonblock: bool,
    /// It fills the kernel's page cache, for `sendfile(2)`, `splice(2)` or a mapping.
    pub for_page_cache: bool,
}

impl<T: Transport> Fs<T> {
    /// Reads up to `size` bytes at `offset`. Where the log ends: a handle that has asked for the end gets end
    /// of file, one in non-blocking mode gets `EAGAIN`, any other is parked under `unique`, the kernel's
    /// number of its request, and answered when there is something.
    ///
    /// For the page cache nothing is read but a record that is written; all else is `EINVAL`: the kernel would end
    /// it where it ended when somebody last looked, and, where it has grown meanwhile, show NULs of its own. So
    /// `sendfile` and `splice` fail, and the programs that try them first (`cat` of BusyBox and of the Rust
    /// coreutils, `io::copy`) read instead, and wait.
    pub fn read(
        &self,
        fh: u64,
        unique: u64,
        offset: u64,
        size: u32,
        mode: ReadMode,
        reply: T::Read,
    ) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => match self.snapshots.get(fh) {
                Some(text) => return Self::read_snapshot(&text, offset, size, mode, reply),
                None => return reply.error(errno),
            },
        };
        if mode.for_page_cache && !handle.output.is_fixed() {
            return reply.error(Errno::EINVAL);
        }
        self.at_once(|| self.read_when_near(handle, unique, offset, size, mode, reply));
    }

    /// Reads at a place that is known, or is soon found.
    pub(super) fn read_at(
        &self,
        handle: Arc<Handle>,
        unique: u64,
        offset: u64,
        size: u32,
        mode: ReadMode,
        reply: T::Read,
    ) {
        let waiter = Waiter {
            handle,
            unique,
            offset,
            size,
            nonblock: mode.nonblock,
            deadline: None,
            reply,
        };
        let seen = reached(&waiter.handle);
        let waits = !mode.nonblock && !waiter.handle.has_asked_end();
        if waits && self.is_held_back(&waiter.handle, offset) {
            return self.park(waiter, None);
        }
        if let Some(waiter) = self.answer(waiter) {
            self.at_end(waiter, seen);
        }
    }

    /// Goes on with a read that has found the end. `seen`: how far the log had come before it looked.
    fn at_end(&self, waiter: Waiter<T>, seen: Reached) {
        waiter.handle.has_read(waiter.offset, 0);
        if waiter.handle.has_asked_end() {
            waiter.reply.data(&[]);
        } else if waiter.nonblock {
            waiter.reply.error(Errno::EAGAIN);
        } else {
            self.park(waiter, Some(seen));
        }
    }

    /// Finds what a read gets that waits for the disk, and only then takes it from where a signal finds it.
    pub(super) fn answer_later(
        &self,
        handle: &Handle,
        offset: u64,
        size: usize,
        taken: impl FnOnce() -> Option<Waiter<T>>,
    ) {
        let seen = reached(handle);
        let at_end = BUFFERS.with_borrow_mut(|buffers| {
            let found = find(handle, offset, size, buffers);
            let waiter = taken()?;
            match found {
                Ok(Found::Bytes) => {
                    handle.has_read(offset, buffers.out.len());
                    waiter.reply.data(&buffers.out);
                }
                Ok(Found::End) => return Some(waiter),
                Err(errno) => waiter.reply.error(errno),
            }
            None
        });
        if let Some(waiter) = at_end {
            self.at_end(waiter, seen);
        }
    }

    /// Answers a read unless it would wait; then gives it back.
    pub(super) fn answer(&self, waiter: Waiter<T>) -> Option<Waiter<T>> {
        BUFFERS.with_borrow_mut(|buffers| {
            match find(&waiter.handle, waiter.offset, waiter.size as usize, buffers) {
                Ok(Found::End) => Some(waiter),
                Ok(Found::Bytes) => {
                    waiter.handle.has_read(waiter.offset, buffers.out.len());
                    waiter.reply.data(&buffers.out);
                    None
                }
                Err(Errno::WOULD_WAIT) => {
                    self.read_later(waiter);
                    None
                }
                Err(errno) => {
                    waiter.reply.error(errno);
                    None
                }
            }
        })
    }
}

/// Fills the buffer with what a handle shows at `offset`.
pub(super) fn find(
    handle: &Handle,
    offset: u64,
    size: usize,
    buffers: &mut Buffers,
) -> Result<Found, Errno> {
    let Buffers { lines, out } = buffers;
    let log = &handle.namespace.log;
    out.clear();
    if let Output::View(open) = &handle.output {
        // From now on what has to be there is known to the byte.
        open.base(log)?;
    }
    let at_end = !reached(handle).meets(need(handle, offset));
    match &handle.output {
        _ if at_end => return Ok(Found::End),
        Output::Nothing => return Err(Errno::EBADF),
        Output::Receipts(receipts) => {
            let committed = log.state().count;
            lock(receipts).read(committed, size, out, |n| Ok(log.entry(n)?))?;
        }
        Output::View(open) => {
            // Without a beginning, and yet not to wait: the namespace was removed.
            if let Some(base) = open.base(log)? {
                // A copy: whoever else reads it does not wait while this waits for the disk.
                let (mut position, at) = (*lock(&open.position), base.saturating_add(offset));
                let scratch = &mut lines.scratch;
                view::read(open.view, log, &mut position, at, size, scratch, out)?;
                *lock(&open.position) = position;
            }
        }
        Output::Lines(open) => {
            let offsets = &handle.namespace.offsets;
            offsets.read(log, &open.position, offset, size, lines, out)?;
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
pub(super) fn count_text(count: u64) -> String {
    format!("{count}\n")
}
