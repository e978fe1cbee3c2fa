//! Questions and reads whose answer takes a disk: asked again, by threads that are there to wait for it.
//!
//! A thread that serves the mount answers what is in memory. What is not, it hands on with its reply: so a disk that
//! stands still keeps nobody from what is in memory, and no signal from whoever reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::errno::Errno;
use super::handle::lock;
use super::pool::Pool;
use super::tree::Node;
use super::{Fs, ReadReply, Transport, Waiter};
use crate::log::without_waiting;

/// So many answers that take a disk are waited for at the same time.
const MOST_READERS: usize = 256;

/// The reads that wait for a disk, by the transport's number of the request, and the threads that do it for them.
pub(super) struct Later<T: Transport> {
    reads: Mutex<HashMap<u64, Waiter<T>>>,
    pub(super) threads: Arc<Pool>,
}

impl<T: Transport> Default for Later<T> {
    fn default() -> Self {
        Later {
            reads: Mutex::default(),
            threads: Pool::new("read", MOST_READERS),
        }
    }
}

impl<T: Transport> Fs<T> {
    /// Has a question about a node answered: at once, if that takes no disk, else by a thread that may wait for one.
    pub fn ask<A>(
        &self,
        ino: u64,
        question: impl Fn(&Fs<T>) -> Result<A, Errno> + Send + 'static,
        answer: impl FnOnce(Result<A, Errno>) + Send + 'static,
    ) {
        match (self.at_once(|| question(self)), self.myself.upgrade()) {
            (Err(Errno::WOULD_WAIT), Some(fs)) => {
                let about = Node::from_ino(ino).ok().and_then(Node::namespace);
                let again = Box::new(move || answer(question(&fs)));
                self.later.threads.run(about, again);
            }
            (found, _) => answer(found),
        }
    }

    /// Does something that must not wait for a disk, if this thread serves the mount.
    pub(super) fn at_once<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.places.are_limited() {
            true => without_waiting(f),
            false => f(),
        }
    }

    /// Has a read answered by a thread that may wait for the disk. A signal ends it at any time.
    pub(super) fn read_later(&self, waiter: Waiter<T>) {
        let Some(fs) = self.myself.upgrade() else {
            return waiter.reply.error(Errno::EIO);
        };
        let (handle, unique) = (waiter.handle.clone(), waiter.unique);
        let (offset, size) = (waiter.offset, waiter.size as usize);
        let about = Some(handle.namespace.id());
        lock(&self.later.reads).insert(unique, waiter);
        let read = Box::new(move || {
            let is_there = |fs: &Fs<T>| lock(&fs.later.reads).contains_key(&unique);
            if is_there(&fs) {
                let taken = || lock(&fs.later.reads).remove(&unique);
                fs.answer_later(&handle, offset, size, taken);
            }
        });
        self.later.threads.run(about, read);
    }

    /// Ends a read that waits for a disk, with `EINTR`. Returns whether it was one.
    pub(super) fn interrupt_later(&self, unique: u64) -> bool {
        let read = lock(&self.later.reads).remove(&unique);
        let was_there = read.is_some();
        if let Some(read) = read {
            read.reply.error(Errno::EINTR);
        }
        was_there
    }
}
