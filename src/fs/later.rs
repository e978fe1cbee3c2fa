//! Questions and reads whose answer takes a disk: asked again, by threads that are there to wait for it.
//!
//! A thread that serves the mount answers what is in memory. What is not, it hands on with its reply: so a disk that
//! stands still keeps nobody from what is in memory, and no signal from whoever reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::errno::Errno;
use super::handle::lock;
use super::opener::is_killed;
use super::pool::Pool;
use super::tree::Node;
use super::{Fs, ReadReply, Transport, Waiter};
use crate::log::without_waiting;

/// So many answers that take a disk are waited for at the same time.
const MOST_READERS: usize = 256;

/// A question about a node, as the transport brings it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The transport's number of the request.
    pub unique: u64,
    /// The thread that waits for the answer, as the mount's process would see it; 0: it cannot be seen.
    pub thread: u32,
    /// The node's inode number.
    pub ino: u64,
}

/// A question that waits for a disk.
struct Question {
    thread: u32,
    refuse: Box<dyn FnOnce(Errno) + Send>,
}

/// The reads and questions that wait for a disk, by the transport's number of the request, and the threads that wait for
/// it. Whoever takes one out answers it.
pub(super) struct Later<T: Transport> {
    reads: Mutex<HashMap<u64, Waiter<T>>>,
    questions: Mutex<HashMap<u64, Question>>,
    pub(super) threads: Arc<Pool>,
}

impl<T: Transport> Default for Later<T> {
    fn default() -> Self {
        Later {
            reads: Mutex::default(),
            questions: Mutex::default(),
            threads: Pool::new("read", MOST_READERS),
        }
    }
}

impl<T: Transport> Later<T> {
    /// Takes out the reads for which `leaves` holds. It is asked under a lock.
    pub(super) fn take_reads(&self, mut leaves: impl FnMut(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        let mut reads = lock(&self.reads);
        let left = reads.extract_if(|_, read| leaves(read));
        left.map(|(_, read)| read).collect()
    }
}

impl<T: Transport> Fs<T> {
    /// Has a question answered: at once, if that takes no disk, else by a thread that may wait for one. If the asker is
    /// killed before, he is answered with `EINTR`, and `undo` gets what has been found for nobody.
    pub fn ask<A: 'static>(
        &self,
        asked: Asked,
        question: impl Fn(&Fs<T>) -> Result<A, Errno> + Send + 'static,
        undo: impl FnOnce(&Fs<T>, A) + Send + 'static,
        answer: impl FnOnce(Result<A, Errno>) + Send + 'static,
    ) {
        let fs = match (self.at_once(|| question(self)), self.myself.upgrade()) {
            (Err(Errno::WOULD_WAIT), Some(fs)) => fs,
            (found, _) => return answer(found),
        };
        let unique = asked.unique;
        let answer = Arc::new(Mutex::new(Some(answer)));
        let refused = answer.clone();
        let refuse = move |errno| {
            if let Some(answer) = lock(&refused).take() {
                answer(Err(errno));
            }
        };
        let waits = Question {
            thread: asked.thread,
            refuse: Box::new(refuse),
        };
        lock(&self.later.questions).insert(unique, waits);
        let again = Box::new(move || {
            let waits = lock(&fs.later.questions).contains_key(&unique);
            if !waits {
                return;
            }
            let found = question(&fs);
            let waits = lock(&fs.later.questions).remove(&unique).is_some();
            match (lock(&answer).take(), found) {
                (Some(answer), found) if waits => answer(found),
                (_, Ok(found)) => undo(&fs, found),
                (_, Err(_)) => {}
            }
        });
        let about = Node::from_ino(asked.ino).ok().and_then(Node::namespace);
        self.later.threads.run(about, again);
    }

    /// Does something that must not wait for a disk, if this thread serves the mount.
    pub(super) fn at_once<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.places.are_limited() {
            true => without_waiting(f),
            false => f(),
        }
    }

    /// Has a read answered by a thread that may wait for the disk. A signal ends it at any time.
    pub(super) fn read_later(&self, mut waiter: Waiter<T>) {
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

    /// A signal has come to whoever waits for a disk under this number. A read ends with `EINTR`; a question does when its
    /// asker was killed: no program expects that of `stat`. Returns whether it was one of the two.
    pub(super) fn interrupt_later(&self, unique: u64) -> bool {
        let read = lock(&self.later.reads).remove(&unique);
        if let Some(read) = read {
            read.reply.error(Errno::EINTR);
            return true;
        }
        let asker = lock(&self.later.questions).get(&unique).map(|q| q.thread);
        if asker.is_some_and(is_killed) {
            let question = lock(&self.later.questions).remove(&unique);
            if let Some(question) = question {
                (question.refuse)(Errno::EINTR);
            }
        }
        asker.is_some()
    }
}
