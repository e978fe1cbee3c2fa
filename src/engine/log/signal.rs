//! How readers learn that there are more records: they wait on state, not on events.
//!
//! One lock covers the committed state and the list of waiters. A waiter looks and begins to wait under that lock, so a
//! commit between its look and its wait is not lost.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::locks::{Condvar, Mutex, lock, wait, wait_timeout};
use crate::segment::State;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// There are more records than the caller has seen.
    Ready,
    /// There are no more records, and there will be none.
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
    /// The wakers of tasks that wait, by the number that each was given.
    wakers: BTreeMap<u64, Waker>,
    next_waker: u64,
}

/// The committed state of one log, and the threads, tasks and observers that wait for it to change.
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

    /// Blocks until there are more than `until_count_above` records, or the log is closed, or the time is over (`None`:
    /// never).
    ///
    /// Records come before the close: [`WaitOutcome::Closed`] says that there are no more than `until_count_above`.
    pub fn wait(&self, until_count_above: u64, timeout: Option<Duration>) -> WaitOutcome {
        // A time that an `Instant` cannot hold is no deadline.
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
                None => wait(&self.changed, shared),
                Some(left) => wait_timeout(&self.changed, shared, left),
            };
            shared.waiting -= 1;
        }
    }

    /// As [`Signal::wait`], for async code: looks, and if there are no more than `count` records, has `waker` woken by the next
    /// change. `waker_number` is the caller's, `None` at first; the caller hands it to [`Signal::leave`] at its end.
    pub(crate) fn poll_above(
        &self,
        count: u64,
        waker_number: &mut Option<u64>,
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
        let number = *waker_number.get_or_insert_with(|| {
            shared.next_waker += 1;
            shared.next_waker
        });
        let replaced = shared.wakers.insert(number, waker.clone());
        drop(guard);
        drop(replaced); // Not under the lock: its drop may run any code.
        Poll::Pending
    }

    /// Forgets the waker of that number.
    pub(crate) fn leave(&self, waker_number: u64) {
        let gone = lock(&self.shared).wakers.remove(&waker_number);
        drop(gone);
    }

    /// Has `observer` called after every commit and after the close, until the subscription is dropped.
    ///
    /// It is called on the writer's thread with no lock of the engine held, so it may call the engine; it
    /// should be quick, because the writer waits for it. Calls may overlap, and one call may stand for several commits: look at
    /// [`Signal::state`], do not count. Look once after subscribing: there is no call for earlier commits. A call
    /// that has begun may end after the drop.
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

    /// Changes the state and wakes the threads in [`Signal::wait`] and the tasks. The caller notifies the observers, when it
    /// holds no lock.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut shared = lock(&self.shared);
        change(&mut shared.state);
        let threads_wait = shared.waiting > 0;
        let wakers = std::mem::take(&mut shared.wakers);
        drop(shared);
        wakers.into_values().for_each(Waker::wake);
        if threads_wait {
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
        let removed: Vec<Observer>; // Dropped after the lock: an observer's drop may run any code.
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
