//! Calls that may take a disk: answered at once, or by a thread that is there to wait for it.

use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::transport::Transport;
use crate::fs::tree::Node;
use immuta::without_waiting;

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

impl<T: Transport> Fs<T> {
    /// Has a question answered: at once, if that takes no disk, else by a thread that may wait for one. If the asking
    /// thread is killed before, the answer is `EINTR`, and `undo` gets what was found too late.
    pub fn ask<A: 'static>(
        &self,
        asked: Asked,
        question: impl Fn(&Fs<T>) -> Result<A, Errno> + Send + 'static,
        undo: impl FnOnce(&Fs<T>, A) + Send + 'static,
        answer: impl FnOnce(Result<A, Errno>) + Send + 'static,
    ) {
        let fs = match (self.at_once(|| question(self)), self.myself.upgrade()) {
            (Err(errno), Some(fs)) if errno == Errno::WOULD_WAIT => fs,
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
        self.waiting
            .later
            .add_question(unique, asked.thread, refuse);
        let again = Box::new(move || {
            let later = &fs.waiting.later;
            if !later.has_question(unique) {
                return;
            }
            let found = question(&fs);
            let waits = later.take_question(unique);
            match (lock(&answer).take(), found) {
                (Some(answer), found) if waits => answer(found),
                (_, Ok(found)) => undo(&fs, found),
                (_, Err(_)) => {}
            }
        });
        let about = Node::from_ino(asked.ino).ok().and_then(Node::namespace);
        self.waiting.later.run(about, again);
    }

    /// Does something that must not wait for a disk, if this thread serves the mount.
    pub(super) fn at_once<R>(&self, f: impl FnOnce() -> R) -> R {
        if self.may_not_wait() {
            without_waiting(f)
        } else {
            f()
        }
    }

    /// Has something done that needs no turn and may wait, for the disk or for `/proc`, by a thread of a pool. `about`: the
    /// id of the namespace; `None`: the mount. If the calling thread may wait, it does the job at once.
    pub fn apart(&self, about: Option<u32>, job: impl FnOnce(&Fs<T>) + Send + 'static) {
        let fs = self.may_not_wait().then(|| self.myself.upgrade());
        match fs.flatten() {
            Some(fs) => self.waiting.helpers.run(about, Box::new(move || job(&fs))),
            None => job(self),
        }
    }

    /// Whether the thread that calls may serve the mount.
    pub(super) fn may_not_wait(&self) -> bool {
        self.waiting.store.places.are_limited()
    }
}
