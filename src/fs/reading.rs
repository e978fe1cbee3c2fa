//! Reads: what is there is given, and who is at the end waits, or is told.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::errno::Errno;
use super::handle::{Handle, NOT_READ, OpenView, Output, lock};
use super::parked::Parking;
use super::{Fs, PollWaker, Poller, ReadReply, Transport, Waiter, json_lines, view};
use crate::log::{Log, RecordNo};

thread_local! {
    /// Buffers of the thread, not of the reader: ten thousand readers wait, a handful of threads read.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
struct Buffers {
    lines: json_lines::Buffers,
    out: Vec<u8>,
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Bytes, in the buffer; none is end of file.
    Bytes,
    /// The end of what is committed, of a file that goes on.
    End,
}

/// Whether a file can be read or written without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollState {
    /// A read would not wait.
    pub readable: bool,
    /// A write would not wait.
    pub writable: bool,
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
        self.read_when_near(handle, unique, offset, size, mode, reply);
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
            deadline: None,
            reply,
        };
        if let Some(waiter) = self.answer(waiter) {
            if waiter.handle.has_asked_end() {
                waiter.reply.data(&[]);
            } else if mode.nonblock {
                waiter.reply.error(Errno::EAGAIN);
            } else {
                self.park(waiter);
            }
        }
    }

    fn park(&self, mut waiter: Waiter<T>) {
        let overdue = self.overdue.get();
        // Of one that is parked again, that of the first time.
        waiter.deadline = waiter.deadline.or(overdue.map(|o| o.deadline()));
        loop {
            let (namespace, unique) = (waiter.handle.namespace.id(), waiter.unique);
            match self.parked.park(namespace, unique, waiter, |w| {
                would_not_wait(&w.handle, w.offset)
            }) {
                Parking::Parked => {
                    if let Some(overdue) = overdue {
                        overdue.came();
                    }
                    return;
                }
                Parking::Interrupted(w) => return w.reply.error(Errno::EINTR),
                Parking::Closed(w) => return w.reply.data(&[]),
                Parking::Ready(w) => match self.answer(w) {
                    None => return,
                    Some(w) => waiter = w,
                },
            }
        }
    }

    /// Answers a read unless it would wait; then gives it back.
    fn answer(&self, waiter: Waiter<T>) -> Option<Waiter<T>> {
        BUFFERS.with_borrow_mut(|buffers| {
            match find(&waiter.handle, waiter.offset, waiter.size as usize, buffers) {
                Ok(Found::End) => Some(waiter),
                Ok(Found::Bytes) => {
                    waiter
                        .handle
                        .set_read_end(waiter.offset + buffers.out.len() as u64);
                    waiter.reply.data(&buffers.out);
                    None
                }
                Err(errno) => {
                    waiter.reply.error(errno);
                    None
                }
            }
        })
    }

    /// Ends the wait of the read with this number, with `EINTR`: a signal has come to its caller.
    pub fn interrupt(&self, unique: u64) {
        match self.parked.interrupt(unique) {
            Some(waiter) => waiter.reply.error(Errno::EINTR),
            None => self.interrupt_far_read(unique),
        }
    }

    /// Answers whoever waited for what a namespace has now: records, or its end.
    pub(super) fn answer_waiters(&self, namespace: u32) {
        // Followers at the same place get the same bytes: they are rendered once.
        let mut last: Option<Rendered> = None;
        let mut again = Vec::new();
        let ready = self
            .parked
            .take_ready(namespace, |w| would_not_wait(&w.handle, w.offset));
        BUFFERS.with_borrow_mut(|buffers| {
            for waiter in ready {
                let same = last
                    .as_ref()
                    .is_some_and(|last| last.shows(&waiter.handle, waiter.offset, waiter.size));
                let found = if same {
                    Ok(Found::Bytes)
                } else {
                    find(&waiter.handle, waiter.offset, waiter.size as usize, buffers)
                };
                match found {
                    Ok(Found::Bytes) => {
                        let Waiter {
                            handle,
                            offset,
                            size,
                            reply,
                            ..
                        } = waiter;
                        handle.set_read_end(offset + buffers.out.len() as u64);
                        last = Some(Rendered {
                            handle,
                            offset,
                            size,
                        });
                        reply.data(&buffers.out);
                    }
                    // There are more lines, but not yet so many.
                    Ok(Found::End) => {
                        last = None;
                        again.push(waiter);
                    }
                    Err(errno) => {
                        last = None;
                        waiter.reply.error(errno);
                    }
                }
            }
        });
        for waiter in again {
            self.park(waiter);
        }
        let ready = |poller: &Poller<T>| {
            poller.handle.namespace.id() == namespace && is_readable(&poller.handle)
        };
        let woken: Vec<_> = lock(&self.pollers).extract_if(|_, p| ready(p)).collect();
        for (_, poller) in woken {
            poller.waker.wake();
        }
    }

    /// Whether a read or a write would wait; with a `waker`, tells it when a read no longer would.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn poll(&self, fh: u64, waker: Option<T::Poll>) -> Result<PollState, Errno> {
        let handle = match self.handle(fh) {
            Err(_) if self.snapshots.get(fh).is_some() => {
                return Ok(PollState {
                    readable: true,
                    writable: false,
                });
            }
            handle => handle?,
        };
        // First the waker, then the look: a commit in between finds the waker.
        if let Some(waker) = waker {
            lock(&self.pollers).insert(
                fh,
                Poller {
                    handle: handle.clone(),
                    waker,
                },
            );
        }
        let reads = !matches!(handle.output, Output::Nothing);
        Ok(PollState {
            // Once the mount is on its way out a read gets end of file.
            readable: is_readable(&handle) || (reads && self.closing.load(Ordering::SeqCst)),
            writable: handle.input.is_some(),
        })
    }
}

/// The read that the buffer was filled for.
struct Rendered {
    handle: Arc<Handle>,
    offset: u64,
    size: u32,
}

impl Rendered {
    /// Whether another read gets the same bytes. If so, its handle is told where to read on, too.
    fn shows(&self, handle: &Handle, offset: u64, size: u32) -> bool {
        if self.size != size {
            return false;
        }
        match (&self.handle.output, &handle.output) {
            (Output::View(ours), Output::View(theirs)) => {
                let log = &handle.namespace.log;
                let place =
                    |view: &OpenView, offset| Some((view.view, view.base(log).ok()?? + offset));
                let same =
                    place(ours, self.offset).is_some_and(|p| Some(p) == place(theirs, offset));
                if same && !Arc::ptr_eq(&self.handle.namespace, &handle.namespace) {
                    return false;
                }
                if same {
                    let position = *lock(&ours.position);
                    *lock(&theirs.position) = position;
                }
                same
            }
            (Output::Lines(ours), Output::Lines(theirs)) => {
                let same =
                    self.offset == offset && Arc::ptr_eq(&self.handle.namespace, &handle.namespace);
                if same {
                    let position = *lock(&ours.position);
                    *lock(&theirs.position) = position;
                }
                same
            }
            (Output::Record { n, .. }, Output::Record { n: m, .. }) => {
                (n, self.offset) == (m, offset)
            }
            _ => false,
        }
    }
}

/// Whether somebody who polls an open file should read it. What an append file gives back never has to be
/// waited for, and yet there may be nothing.
fn is_readable(handle: &Handle) -> bool {
    match &handle.output {
        Output::Nothing => false,
        Output::Receipts(receipts) => {
            let state = handle.namespace.log.state();
            lock(receipts).is_ready(state.count) || state.closed
        }
        _ => would_not_wait(handle, handle.read_end()),
    }
}

/// Whether a read at `offset` would be answered at once. Cheap: it is asked under a lock.
fn would_not_wait(handle: &Handle, offset: u64) -> bool {
    let log = &handle.namespace.log;
    let state = log.state();
    let at_end = match &handle.output {
        Output::View(view) if view.waits => match view.base(log) {
            Ok(Some(base)) => base.saturating_add(offset) >= view.view.end(log, &state),
            Ok(None) => true,
            Err(_) => false, // The read will say what is wrong.
        },
        Output::Lines(lines) if lines.waits => {
            let (offsets, position) = (&handle.namespace.offsets, *lock(&lines.position));
            offsets.is_end(&position, offset, state.count)
        }
        Output::Record { n, .. } => *n >= state.count,
        Output::View(_)
        | Output::Lines(_)
        | Output::Count(_)
        | Output::Receipts(_)
        | Output::Nothing => false,
    };
    !at_end || state.closed
}

/// Fills the buffer with what a handle shows at `offset`.
fn find(handle: &Handle, offset: u64, size: usize, buffers: &mut Buffers) -> Result<Found, Errno> {
    let Buffers { lines, out } = buffers;
    let log = &handle.namespace.log;
    out.clear();
    let at_end = !would_not_wait(handle, offset);
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
                let (mut position, at) = (lock(&open.position), base.saturating_add(offset));
                let scratch = &mut lines.scratch;
                view::read(open.view, log, &mut position, at, size, scratch, out)?;
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
