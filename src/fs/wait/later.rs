//! Questions and reads whose answer takes a disk: asked again, by threads that are there to wait for it.
//!
//! A thread that serves the mount answers what is in memory. What is not, it hands on with its reply: so a disk that
//! stands still keeps nobody from what is in memory, and no signal from whoever reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::pool::Pool;
use super::waiter::Waiter;
use crate::fs::errno::Errno;
use crate::fs::locks::lock;
use crate::fs::transport::Transport;

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
pub(crate) struct Question {
    pub(crate) thread: u32,
    pub(crate) refuse: Box<dyn FnOnce(Errno) + Send>,
}

/// The reads and questions that wait for a disk, by the transport's number of the request, and the threads that wait for
/// it. Whoever takes one out answers it.
pub(crate) struct Later<T: Transport> {
    pub(crate) reads: Mutex<HashMap<u64, Waiter<T>>>,
    pub(crate) questions: Mutex<HashMap<u64, Question>>,
    pub(crate) threads: Arc<Pool>,
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
    pub(crate) fn take_reads(&self, mut leaves: impl FnMut(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        let mut reads = lock(&self.reads);
        let left = reads.extract_if(|_, read| leaves(read));
        left.map(|(_, read)| read).collect()
    }
}
