//! Questions and reads whose answer takes a disk: asked again, by threads that are there to wait for it.
//!
//! A thread that serves the mount answers what is in memory. What is not, it hands on with its reply: so a disk that
//! stands still keeps nobody from what is in memory, and no signal from a program that reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::waiter::Waiter;
use crate::fs::errno::Errno;
use crate::fs::handles::is_killed;
use crate::fs::locks::lock;
use crate::fs::pool::{Job, Pool};
use crate::fs::transport::{Reply, Transport};

/// The most answers that take a disk, and are waited for at the same time.
const MOST_READERS: usize = 256;

/// A question that waits for a disk.
struct Question {
    thread: u32,
    refuse: Box<dyn FnOnce(Errno) + Send>,
}

/// The reads and questions that wait for a disk, by the transport's number of the request, and the threads that wait for
/// it. The thread that takes one out answers it.
pub(crate) struct Later<T: Transport> {
    reads: Mutex<HashMap<u64, Waiter<T>>>,
    questions: Mutex<HashMap<u64, Question>>,
    threads: Arc<Pool>,
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
    /// Has something done by a thread that may wait for a disk. `about`: the namespace whose disk that is.
    pub(crate) fn run(&self, about: Option<u32>, job: Job) {
        self.threads.run(about, job);
    }

    /// Notes a read, where a signal finds it.
    pub(crate) fn add_read(&self, read: Waiter<T>) {
        lock(&self.reads).insert(read.request.unique, read);
    }

    /// Whether a read still waits: no signal has ended it.
    pub(crate) fn has_read(&self, unique: u64) -> bool {
        lock(&self.reads).contains_key(&unique)
    }

    pub(crate) fn take_read(&self, unique: u64) -> Option<Waiter<T>> {
        lock(&self.reads).remove(&unique)
    }

    /// Takes out the reads for which `leaves` holds. It is asked under a lock.
    pub(crate) fn take_reads(&self, mut leaves: impl FnMut(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        let mut reads = lock(&self.reads);
        let left = reads.extract_if(|_, read| leaves(read));
        left.map(|(_, read)| read).collect()
    }

    /// Notes a question of a thread, which is refused with `refuse` if the thread is killed.
    pub(crate) fn add_question(
        &self,
        unique: u64,
        thread: u32,
        refuse: impl FnOnce(Errno) + Send + 'static,
    ) {
        let refuse = Box::new(refuse);
        lock(&self.questions).insert(unique, Question { thread, refuse });
    }

    /// Whether a question still waits for its answer.
    pub(crate) fn has_question(&self, unique: u64) -> bool {
        lock(&self.questions).contains_key(&unique)
    }

    /// Takes a question out. Returns whether it still waited for its answer.
    pub(crate) fn take_question(&self, unique: u64) -> bool {
        lock(&self.questions).remove(&unique).is_some()
    }

    /// A signal has come to the program that waits for a disk under this number. A read ends with `EINTR`; a question does
    /// when its asker was killed: no program expects that of `stat`. Returns whether it was one of the two.
    pub(crate) fn interrupt(&self, unique: u64) -> bool {
        let read = lock(&self.reads).remove(&unique);
        if let Some(read) = read {
            read.reply.answer(Err(Errno::EINTR));
            return true;
        }
        let asker = lock(&self.questions).get(&unique).map(|q| q.thread);
        if asker.is_some_and(is_killed) {
            let question = lock(&self.questions).remove(&unique);
            if let Some(question) = question {
                (question.refuse)(Errno::EINTR);
            }
        }
        asker.is_some()
    }

    /// The threads end once nothing is left to be done.
    pub(crate) fn close(&self) {
        self.threads.close();
    }
}
