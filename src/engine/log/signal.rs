//! How readers learn that there is more: they wait on state, not on events.
//!
//! What is committed, and whether the log is closed, lie under one lock. A waiter looks and waits under that
//! lock, so a commit between its look and its wait is not lost.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::locks::{Condvar, Mutex, PoisonError, lock};
use crate::segment::State;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// There are more records than the caller has seen.
    Ready,
    /// There are not, and there will be none.
    Closed,
    /// The time is over.
    TimedOut,
}

type Observer = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Observers {
    next_id: u64,
    /// Shared, so that a commit takes the list out of the lock without copying it.
    list: Arc<[(u64, Observer)]>,
}

#[derive(Default)]
struct Shared {
    state: State,
    waiting: usize,
    /// Of those who wait without a thread, by the number that each was given.
    wakers: BTreeMap<u64, Waker>,
    next_waker: u64,
}

/// The committed state of one log, and who waits for it to change.
#[derive(Default)]
pub struct Signal {
    shared: Mutex<Shared>,
    changed: Condvar,
    observers: Arc<Mutex<Observers>>,
}

impl Signal {
    pub(crate) fn new(state: State) -> Self {
        Signal {
            shared: Mutex::new(Shared {
                state,
                ..Shared::default()
            }),
            ..Signal::default()
        }
    }

    /// What is committed now. Does not block on disk or on a writer.
    pub fn state(&self) -> State {
        lock(&self.shared).state
    }

    /// Blocks until there are more than `count` records, or there will be none, or the time is over (`None`:
    /// never).
    ///
    /// Records come before the close: [`WaitOutcome::Closed`] says that there are no more than `count`.
    pub fn wait(&self, until_count_above: u64, timeout: Option<Duration>) -> WaitOutcome {
        // A time too far away to be named is no deadline.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut shared = lock(&self.shared);
        loop {
            if shared.state.count > until_count_above {
                return WaitOutcome::Ready;
            }
            if shared.state.closed {
                return WaitOutcome::Closed;
            }
            let left =
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    Some(Duration::ZERO) => return WaitOutcome::TimedOut,
                    left => left,
                };
            shared.waiting += 1;
            shared = match left {
                None => self
                    .changed
                    .wait(shared)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed
                        .wait_timeout(shared, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            shared.waiting -= 1;
        }
    }

    /// As [`Signal::wait`], for async code: looks, and if there is nothing yet, has `waker` woken by the next
    /// change. `place` is the caller's own, `None` at first; it is to be given back to [`Signal::leave`].
    pub(crate) fn poll_above(
        &self,
        count: u64,
        place: &mut Option<u64>,
        waker: &Waker,
    ) -> Poll<WaitOutcome> {
        let mut guard = lock(&self.shared);
        let shared = &mut *guard;
        if shared.state.count > count {
            return Poll::Ready(WaitOutcome::Ready);
        }
        if shared.state.closed {
            return Poll::Ready(WaitOutcome::Closed);
        }
        let place = *place.get_or_insert_with(|| {
            shared.next_waker += 1;
            shared.next_waker
        });
        let replaced = shared.wakers.insert(place, waker.clone());
        drop(guard);
        drop(replaced); // not under the lock: it may be anything
        Poll::Pending
    }

    /// Nobody waits at `place` any more.
    pub(crate) fn leave(&self, place: u64) {
        let gone = lock(&self.shared).wakers.remove(&place);
        drop(gone);
    }

    /// Has `observer` called after every commit and after the close, until the subscription is dropped.
    ///
    /// It is called on the writer's thread with no lock of the engine held, so it may call the engine; it
    /// should be quick, for the writer waits for it. Calls may overlap and coalesce: look at
    /// [`Signal::state`], do not count. Look once after subscribing; what was committed before is not called
    /// for. A call that has begun may end after the drop.
    #[must_use = "dropping the subscription ends it"]
    pub fn subscribe(&self, observer: Arc<dyn Fn() + Send + Sync>) -> Subscription {
        let mut observers = lock(&self.observers);
        let id = observers.next_id;
        observers.next_id += 1;
        observers.list = observers
            .list
            .iter()
            .cloned()
            .chain([(id, observer)])
            .collect();
        Subscription {
            id,
            observers: Arc::clone(&self.observers),
        }
    }

    /// Calls the observers. No lock is held while they run.
    pub(crate) fn notify_observers(&self) {
        let list = {
            let observers = lock(&self.observers);
            if observers.list.is_empty() {
                return;
            }
            Arc::clone(&observers.list)
        };
        for (_, observer) in list.iter() {
            observer();
        }
    }

    /// Changes the state and wakes those who wait in [`Signal::wait`]. Observers are the caller's to notify,
    /// once it holds no lock.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut shared = lock(&self.shared);
        change(&mut shared.state);
        let anybody = shared.waiting > 0;
        let wakers = std::mem::take(&mut shared.wakers);
        drop(shared);
        wakers.into_values().for_each(Waker::wake);
        if anybody {
            self.changed.notify_all();
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

/// Keeps an observer subscribed; dropping it ends that.
pub struct Subscription {
    id: u64,
    observers: Arc<Mutex<Observers>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let removed: Vec<Observer>; // dropped after the lock: an observer may own anything
        {
            let mut observers = lock(&self.observers);
            let (kept, gone): (Vec<_>, Vec<_>) = observers
                .list
                .iter()
                .cloned()
                .partition(|(id, _)| *id != self.id);
            observers.list = kept.into();
            removed = gone.into_iter().map(|(_, observer)| observer).collect();
        }
        drop(removed);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
