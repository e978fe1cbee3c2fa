//! Reads: a read gets what is there; at the end of the log it waits, or is refused.

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::{BUFFERS, Found, Handle};
use crate::fs::namespace::Reached;
use crate::fs::transport::{ReadRequest, Reply, Transport};
use crate::fs::wait::Waiter;

impl<T: Transport> Fs<T> {
    /// Reads. Where the log ends: a handle that has asked for the end gets end of file, one in non-blocking mode gets
    /// `EAGAIN`, any other is parked under the number of the request, and answered when there is something.
    ///
    /// For the page cache nothing is read but a record that is written; all else is `EINVAL`: the kernel would end
    /// it where it ended when somebody last looked, and, where it has grown meanwhile, show NULs of its own. So
    /// `sendfile` and `splice` fail, and the programs that try them first (`cat` of BusyBox and of the Rust
    /// coreutils, `io::copy`) read instead, and wait.
    pub fn read(&self, fh: u64, request: ReadRequest, reply: T::Read) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => match self.open.snapshots.get(fh) {
                Some(text) => return reply.answer(read_snapshot(&text, request)),
                None => return reply.answer(Err(errno)),
            },
        };
        if request.mode.for_page_cache && !handle.output.is_fixed() {
            return reply.answer(Err(Errno::EINVAL));
        }
        let waiter = Waiter {
            handle,
            request,
            deadline: None,
            reply,
        };
        self.at_once(|| self.answer_or_wait(waiter));
    }

    /// Answers a read, or has it wait.
    pub(super) fn answer_or_wait(&self, waiter: Waiter<T>) {
        let (handle, request) = (&waiter.handle, waiter.request);
        let seen = handle.reached();
        let waits = !request.mode.nonblock && !handle.ends_at_eof();
        if waits && self.is_held_back(handle, request.offset) {
            return self.park(waiter, None);
        }
        if let Some((waiter, found)) = self.answer(waiter) {
            self.wait_for_more(waiter, found, seen);
        }
    }

    /// Goes on with a read that has `found` nothing yet. `seen`: how far the log had come before it looked.
    pub(super) fn wait_for_more(&self, waiter: Waiter<T>, found: Found, seen: Reached) {
        if found == Found::Far {
            return self.wait_until_measured(waiter);
        }
        waiter.handle.has_read(waiter.request.offset, 0);
        if waiter.handle.ends_at_eof() {
            waiter.reply.answer(Ok(&[]));
        } else if waiter.request.mode.nonblock {
            waiter.reply.answer(Err(Errno::EAGAIN));
        } else {
            self.park(waiter, Some(seen));
        }
    }

    /// Answers a read, unless there is nothing for it yet: then gives it back, with what was found.
    pub(super) fn answer(&self, waiter: Waiter<T>) -> Option<(Waiter<T>, Found)> {
        let ReadRequest { offset, size, .. } = waiter.request;
        BUFFERS.with_borrow_mut(|buffers| {
            match waiter.handle.show(offset, size as usize, buffers) {
                Ok(Found::Bytes) => {
                    waiter.handle.has_read(offset, buffers.out.len());
                    waiter.reply.answer(Ok(&buffers.out));
                }
                Ok(nothing) => return Some((waiter, nothing)),
                Err(errno) if errno == Errno::WOULD_WAIT => self.read_later(waiter),
                Err(errno) => waiter.reply.answer(Err(errno)),
            }
            None
        })
    }

    /// Has a read answered by a thread that may wait for the disk. A signal ends it at any time.
    pub(super) fn read_later(&self, mut waiter: Waiter<T>) {
        let Some(fs) = self.myself.upgrade() else {
            return waiter.reply.answer(Err(Errno::EIO));
        };
        let (handle, request) = (waiter.handle.clone(), waiter.request);
        let about = Some(handle.namespace.id());
        waiter.deadline = waiter.deadline.or(self.deadline());
        self.waiting.later.add_read(waiter);
        self.has_parked();
        let read = move || {
            let later = &fs.waiting.later;
            if later.has_read(request.unique) {
                fs.answer_later(&handle, request, || later.take_read(request.unique));
            }
        };
        self.waiting.later.run(about, Box::new(read));
    }

    /// Answers a read that waits for the disk. Until its bytes are there, a signal finds it among the reads that wait.
    fn answer_later(
        &self,
        handle: &Handle,
        request: ReadRequest,
        taken: impl FnOnce() -> Option<Waiter<T>>,
    ) {
        let ReadRequest { offset, size, .. } = request;
        let seen = handle.reached();
        let left = BUFFERS.with_borrow_mut(|buffers| {
            let found = handle.show(offset, size as usize, buffers);
            let waiter = taken()?;
            match found {
                Ok(Found::Bytes) => {
                    handle.has_read(offset, buffers.out.len());
                    waiter.reply.answer(Ok(&buffers.out));
                }
                Ok(nothing) => return Some((waiter, nothing)),
                Err(errno) => waiter.reply.answer(Err(errno)),
            }
            None
        });
        if let Some((waiter, found)) = left {
            self.wait_for_more(waiter, found, seen);
        }
    }
}

/// A read of an open text. For the page cache it is refused: the kernel would end it at the size that the
/// file had when somebody last looked, and programs that are refused read as any other.
fn read_snapshot(text: &str, request: ReadRequest) -> Result<&[u8], Errno> {
    if request.mode.for_page_cache {
        return Err(Errno::EINVAL);
    }
    let from = usize::try_from(request.offset).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    Ok(&rest[..rest.len().min(request.size as usize)])
}
