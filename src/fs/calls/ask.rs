//! Calls that may take a disk: answered at once, or by a thread that is there to wait for it.

use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::is_killed;
use crate::fs::locks::lock;
use crate::fs::transport::{Reply, Transport};
use crate::fs::tree::Node;
use crate::fs::wait::{Asked, Question};
use immuta::without_waiting;

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
    pub(crate) fn at_once<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.places.are_limited() {
            true => without_waiting(f),
            false => f(),
        }
    }

    /// A signal has come to whoever waits for a disk under this number. A read ends with `EINTR`; a question does when its
    /// asker was killed: no program expects that of `stat`. Returns whether it was one of the two.
    pub(crate) fn interrupt_later(&self, unique: u64) -> bool {
        let read = lock(&self.later.reads).remove(&unique);
        if let Some(read) = read {
            read.reply.answer(Err(Errno::EINTR));
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

    /// Has something done that needs no turn and may wait, for the disk or for `/proc`, by a thread of a pool. `about`: the
    /// id of the namespace; `None`: the mount. If whoever calls may wait, it is done at once.
    pub fn apart(&self, about: Option<u32>, job: impl FnOnce(&Fs<T>) + Send + 'static) {
        match self.may_not_wait() {
            Some(fs) => self.helpers.run(about, Box::new(move || job(&fs))),
            None => job(self),
        }
    }

    /// For a thread of a pool, if the thread that calls may serve the mount.
    pub(crate) fn may_not_wait(&self) -> Option<Arc<Fs<T>>> {
        self.places
            .are_limited()
            .then(|| self.myself.upgrade())
            .flatten()
    }
}
