//! The one thread that answers crowds: it serves the rounds of all namespaces, a slice at a time. While somebody
//! appends, the namespace rests after each slice as long as the slice took. So the writer, and the programs that were
//! woken, get the CPU and the kernel's queue in between, and the next round brings many records at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::Transport;

/// When the next slice of a namespace is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Nobody waits for one.
    Nothing,
    AtOnce,
    /// There is a writer.
    AfterARest,
}

/// The namespaces with a crowd, by when their next slice is due.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    last: u64,
    due: BTreeMap<(Instant, u64), Arc<MountedLog>>,
}

impl Waker {
    /// Serves a slice of a namespace after a rest.
    pub(crate) fn want(&self, namespace: Arc<MountedLog>, rest: Duration) {
        let mut state = lock(&self.state);
        state.last += 1;
        let place = (Instant::now() + rest, state.last);
        state.due.insert(place, namespace);
        let is_first = state.due.first_key_value().map(|(&first, _)| first) == Some(place);
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Lets the thread end, at once if it rests.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Arc<MountedLog>> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            state = match state.due.first_entry() {
                Some(first) if first.key().0 <= now => return Some(first.remove()),
                Some(first) => {
                    let rest = first.key().0 - now;
                    let woken = self.changed.wait_timeout(state, rest);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Serves until [`Waker::close`].
    pub(crate) fn serve<T: Transport>(&self, fs: &Weak<Fs<T>>) {
        while let Some(namespace) = self.next() {
            let Some(fs) = fs.upgrade() else { return };
            let start = Instant::now();
            match fs.answer_slice(&namespace) {
                Next::Nothing => {}
                Next::AtOnce => self.want(namespace, Duration::ZERO),
                Next::AfterARest => self.want(namespace, start.elapsed()),
            }
        }
    }
}
