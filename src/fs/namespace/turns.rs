//! What is queued to append to a log, one thread after the other.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::fs::locks::lock;

/// The turns of one namespace.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// A thread is inside, or on the way there, and looks into the queue before it leaves.
    taken: bool,
    waiting: VecDeque<Waiting>,
    /// How many of those that wait, or are being done, take long.
    long: usize,
}

/// What is to be done in its turn.
pub(crate) struct Waiting {
    pub(crate) lasts: Lasts,
    pub(crate) job: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

/// How long something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// As long as a small write to a disk that works.
    Moments,
    /// A sync of the disk, or a copy of gigabytes: never on a thread that serves the mount.
    Long,
}

/// The thread that is inside must not do what comes next: another one has to.
#[derive(Debug)]
pub(crate) struct NotMine;

impl Turns {
    /// Goes inside, if nobody is there, with a place. `None`: somebody is, or there is no place.
    pub(crate) fn enter<P>(&self, place: impl FnOnce() -> Option<P>) -> Option<P> {
        let mut state = lock(&self.0);
        if state.taken {
            return None;
        }
        let place = place()?;
        state.taken = true;
        Some(place)
    }

    /// Queues a job. Returns whether nobody is inside: then the caller has somebody go there.
    pub(crate) fn push(&self, waiting: Waiting) -> bool {
        let mut state = lock(&self.0);
        state.long += usize::from(waiting.lasts == Lasts::Long);
        state.waiting.push_back(waiting);
        !std::mem::replace(&mut state.taken, true)
    }

    /// For the thread that is inside: the next job, if it `may_do` one that takes so long. `None`: there was none, and nobody
    /// is inside any more.
    pub(crate) fn next_or_leave(
        &self,
        may_do: impl FnOnce(Lasts) -> bool,
    ) -> Result<Option<Waiting>, NotMine> {
        let mut state = lock(&self.0);
        match state.waiting.front() {
            Some(next) if !may_do(next.lasts) => Err(NotMine),
            Some(_) => Ok(state.waiting.pop_front()),
            None => {
                state.taken = false;
                Ok(None)
            }
        }
    }

    /// A job that takes so long is done.
    pub(crate) fn done(&self, lasts: Lasts) {
        if lasts == Lasts::Long {
            lock(&self.0).long -= 1;
        }
    }

    /// Whether something that takes long is being stored, or waits for that.
    pub(super) fn has_long(&self) -> bool {
        lock(&self.0).long > 0
    }
}
