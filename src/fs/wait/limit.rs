//! Reads that have waited as long as a read may: one thread answers them with `EINTR`. It is there only when there is
//! such a limit, and sleeps while nobody waits.
//!
//! A read is answered within an eighth of the limit after it: so one look serves many, and the thread runs at most
//! nine times in the time of one limit.

use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::transport::Transport;

/// The limit, and what its thread waits for.
pub(crate) struct WaitLimit {
    limit: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// A read has been parked since the last look.
    came: bool,
}

impl WaitLimit {
    pub(crate) fn new(limit: Duration) -> WaitLimit {
        WaitLimit {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// When a read that comes now has waited long enough.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// A read with a deadline has been parked.
    pub(crate) fn came(&self) {
        let mut state = lock(&self.state);
        if !state.came {
            state.came = true;
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn serve<T: Transport>(&self, fs: &Weak<Fs<T>>) {
        let mut look_at: Option<Instant> = None;
        while self.wait_until(look_at) {
            let Some(fs) = fs.upgrade() else { return };
            let now = Instant::now();
            look_at = fs
                .end_overdue_reads(now)
                .map(|oldest| oldest.max(now + self.limit / 8));
        }
    }

    /// Waits until it is time for a look; without a time, until one limit after a read has been parked. Returns
    /// false when there is to be none any more.
    fn wait_until(&self, look_at: Option<Instant>) -> bool {
        let mut look_at = look_at;
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return false;
            }
            let now = Instant::now();
            state = match look_at {
                Some(at) if at <= now => break,
                Some(at) => {
                    let woken = self.changed.wait_timeout(state, at - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None if state.came => {
                    look_at = Some(now + self.limit);
                    state
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        // Before the look: who comes after it is seen by the next one.
        state.came = false;
        true
    }
}
