//! Decides who may append to a log next. One thread appends at a time; jobs of other threads are queued, and no thread waits.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::fs::locks::lock;

/// The turns of one namespace.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// A thread has the turn, or is about to take it, and looks into the queue before it gives it back.
    taken: bool,
    waiting: VecDeque<Waiting>,
    /// Number of long jobs that are queued or under way.
    long: usize,
}

/// A queued job.
pub(crate) struct Waiting {
    pub(crate) lasts: Lasts,
    pub(crate) job: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

/// How long a job lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// As long as a small write to a disk that works.
    Moments,
    /// A sync of the disk, or a copy of gigabytes: never on a thread that serves the mount.
    Long,
}

/// The thread that has the turn must not do the next job: it has to hand the turn to another thread.
#[derive(Debug)]
pub(crate) struct NotMine;

impl Turns {
    /// Takes the turn, together with a place. `None`: another thread has the turn, or there is no place.
    pub(crate) fn enter<P>(&self, place: impl FnOnce() -> Option<P>) -> Option<P> {
        let mut state = lock(&self.0);
        if state.taken {
            return None;
        }
        let place = place()?;
        state.taken = true;
        Some(place)
    }

    /// Queues a job. Returns whether no thread has the turn: then the caller has to have one take it.
    pub(crate) fn push(&self, waiting: Waiting) -> bool {
        let mut state = lock(&self.0);
        state.long += usize::from(waiting.lasts == Lasts::Long);
        state.waiting.push_back(waiting);
        !std::mem::replace(&mut state.taken, true)
    }

    /// Returns the next job to the thread that has the turn, if the thread `may_do` a job that lasts so long. `None`: the queue
    /// is empty, and the turn has been given back.
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

    /// Notes that a job is done.
    pub(crate) fn done(&self, lasts: Lasts) {
        if lasts == Lasts::Long {
            lock(&self.0).long -= 1;
        }
    }

    /// Whether a long job is queued or under way.
    pub(super) fn has_long(&self) -> bool {
        lock(&self.0).long > 0
    }
}
