//! A queue that can be closed, and the thread that serves it.
//!
//! Each message that is pushed before the end is served once; a later one is given back. A message may have a time
//! before which it is not served. At the end, nobody waits for a time any more: what is left is served at once, and the
//! thread ends. `tests/loom` explores every order of the threads.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::locks::{Condvar, Mutex, MutexGuard, PoisonError, thread};

/// Messages of any number of threads for one thread.
pub(crate) struct Inbox<M> {
    state: Mutex<State<M>>,
    changed: Condvar,
}

struct State<M> {
    closed: bool,
    /// In the order in which they came.
    soon: VecDeque<M>,
    /// By the time before which they are not served; at the same time, in the order in which they came.
    timed: BTreeMap<(Instant, u64), M>,
    /// Numbers the messages with a time.
    last: u64,
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        Inbox {
            state: Mutex::new(State {
                closed: false,
                soon: VecDeque::new(),
                timed: BTreeMap::new(),
                last: 0,
            }),
            changed: Condvar::new(),
        }
    }
}

impl<M: Send + 'static> Inbox<M> {
    /// Begins the thread, which serves until the end.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn serve(
        self: &Arc<Self>,
        thread_name: &str,
        mut serve: impl FnMut(M) + Send + 'static,
    ) -> io::Result<()> {
        let inbox = Arc::clone(self);
        let serve_all = move || {
            while let Some(message) = inbox.next() {
                serve(message);
            }
        };
        let thread = thread::Builder::new().name(thread_name.into());
        thread.spawn(serve_all).map(drop)
    }
}

impl<M> Inbox<M> {
    /// Has a message served as soon as possible. After the end it is given back.
    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        let mut state = self.lock();
        if state.closed {
            return Err(message);
        }
        state.soon.push_back(message);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Has a message served at a time, before those without one that still wait then. After the end it is given back.
    pub(crate) fn push_at(&self, at: Instant, message: M) -> Result<(), M> {
        let mut state = self.lock();
        if state.closed {
            return Err(message);
        }
        state.last += 1;
        let place = (at, state.last);
        state.timed.insert(place, message);
        let is_first = state.timed.first_key_value().map(|(&first, _)| first) == Some(place);
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The end: lets the thread serve what is left, and end.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for the next message; `None`: there will be none.
    fn next(&self) -> Option<M> {
        let mut state = self.lock();
        loop {
            let (now, closed) = (Instant::now(), state.closed);
            if let Some(first) = state.timed.first_entry()
                && (closed || first.key().0 <= now)
            {
                return Some(first.remove());
            }
            if let Some(message) = state.soon.pop_front() {
                return Some(message);
            }
            if closed {
                return None;
            }
            let next_time = state.timed.first_key_value().map(|(&(at, _), _)| at);
            state = match next_time {
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
