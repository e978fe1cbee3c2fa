//! Reads: what is there is given, and who is at the end waits, or is told.

use std::sync::Arc;

use crate::fs::errno::Errno;
use crate::fs::forms::Reached;
use crate::fs::fs::Fs;
use crate::fs::handles::{BUFFERS, Found, Handle, find, reached};
use crate::fs::locks::lock;
use crate::fs::transport::ReadReply;
use crate::fs::transport::{ReadMode, Transport};
use crate::fs::wait::Waiter;

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
    pub(crate) fn read_at(
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
        let waits = !mode.nonblock && !waiter.handle.ends_at_eof();
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
        if waiter.handle.ends_at_eof() {
            waiter.reply.data(&[]);
        } else if waiter.nonblock {
            waiter.reply.error(Errno::EAGAIN);
        } else {
            self.park(waiter, Some(seen));
        }
    }

    /// Finds what a read gets that waits for the disk, and only then takes it from where a signal finds it.
    pub(crate) fn answer_later(
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
    pub(crate) fn answer(&self, waiter: Waiter<T>) -> Option<Waiter<T>> {
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

    /// Has a read answered by a thread that may wait for the disk. A signal ends it at any time.
    pub(crate) fn read_later(&self, mut waiter: Waiter<T>) {
        let Some(fs) = self.myself.upgrade() else {
            return waiter.reply.error(Errno::EIO);
        };
        let (handle, unique) = (waiter.handle.clone(), waiter.unique);
        let (offset, size) = (waiter.offset, waiter.size as usize);
        let (about, overdue) = (Some(handle.namespace.id()), self.overdue.get());
        waiter.deadline = waiter.deadline.or(overdue.map(|o| o.deadline()));
        lock(&self.later.reads).insert(unique, waiter);
        if let Some(overdue) = overdue {
            overdue.came();
        }
        let read = Box::new(move || {
            let is_there = |fs: &Fs<T>| lock(&fs.later.reads).contains_key(&unique);
            if is_there(&fs) {
                let taken = || lock(&fs.later.reads).remove(&unique);
                fs.answer_later(&handle, offset, size, taken);
            }
        });
        self.later.threads.run(about, read);
    }

    /// A read of an open text. For the page cache it is refused: the kernel would end it at the size that the
    /// file had when somebody last looked, and programs that are refused read as any other.
    pub(crate) fn read_snapshot(
        text: &str,
        offset: u64,
        size: u32,
        mode: ReadMode,
        reply: T::Read,
    ) {
        if mode.for_page_cache {
            return reply.error(Errno::EINVAL);
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        reply.data(&rest[..rest.len().min(size as usize)]);
    }
}
