//! Reads that have waited as long as a read may: one thread answers them with `EINTR`. It is there only when there is
//! such a limit, and sleeps while nobody waits.
//!
//! A read is answered within an eighth of the limit after it: so one look serves many, and the thread runs at most
//! nine times in the time of one limit.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::errno::Errno;
use super::handle::lock;
use super::{Fs, ReadReply, Transport};

/// The limit, and what its thread waits for.
pub(super) struct Overdue {
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

impl Overdue {
    /// When a read that comes now has waited long enough.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// A read with a deadline has been parked.
    pub(super) fn came(&self) {
        let mut state = lock(&self.state);
        if !state.came {
            state.came = true;
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    fn serve<T: Transport>(&self, fs: &Weak<Fs<T>>) {
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

impl<T: Transport> Fs<T> {
    /// From now on, a read that has waited for `limit`, or little longer, is answered with `EINTR`; its caller calls
    /// again. The first call counts.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn limit_waits(self: &Arc<Self>, limit: Duration) -> io::Result<()> {
        let overdue = Arc::new(Overdue {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        if self.overdue.set(overdue.clone()).is_err() {
            return Ok(());
        }
        let weak = Arc::downgrade(self);
        thread::Builder::new()
            .name("overdue".into())
            .spawn(move || overdue.serve(&weak))?;
        Ok(())
    }

    /// Returns the deadline of the read, of those that go on waiting, whose turn is next.
    fn end_overdue_reads(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut is_over = |deadline: Option<Instant>| {
            let Some(deadline) = deadline else {
                return false;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
            deadline <= now
        };
        for waiter in self.parked.take_any(|waiter| is_over(waiter.deadline)) {
            waiter.reply.error(Errno::EINTR);
        }
        for waiter in self.later.take_reads(|waiter| is_over(waiter.deadline)) {
            waiter.reply.error(Errno::EINTR);
        }
        for read in self.far_reads.take_any(|read| is_over(read.deadline)) {
            read.reply.error(Errno::EINTR);
        }
        next
    }
}
