//! Reads that have waited as long as a read may: one thread answers them with `EINTR`. It is there only when there is
//! such a limit, and sleeps while nobody waits.
//!
//! Deadlines are checked every limit/8: a read is answered at most that late, and the thread wakes at most nine times per
//! limit.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fs::inbox::Inbox;
use crate::fs::locks::lock;

/// The limit, and the looks at the reads that wait.
pub(crate) struct WaitLimit {
    limit: Duration,
    state: Mutex<State>,
    looks: Arc<Inbox<()>>,
}

#[derive(Default)]
struct State {
    /// A look is to come, or is under way.
    scheduled: bool,
    /// A read has been parked since the last look began.
    came: bool,
}

impl WaitLimit {
    /// Begins the thread. `end_reads` answers the reads whose deadline is over at a time, and returns the next deadline.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(
        limit: Duration,
        end_reads: impl Fn(Instant) -> Option<Instant> + Send + 'static,
    ) -> io::Result<Arc<WaitLimit>> {
        let wait_limit = Arc::new(WaitLimit {
            limit,
            state: Mutex::default(),
            looks: Arc::default(),
        });
        let looking = Arc::clone(&wait_limit);
        let look = move |()| looking.look(&end_reads);
        wait_limit.looks.serve("overdue", look)?;
        Ok(wait_limit)
    }

    /// When a read that comes now has waited long enough.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// A read with a deadline has been parked.
    pub(crate) fn came(&self) {
        let mut state = lock(&self.state);
        state.came = true;
        if !state.scheduled {
            state.scheduled = true;
            self.look_at(Instant::now() + self.limit);
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.looks.close();
    }

    fn look(&self, end_reads: impl Fn(Instant) -> Option<Instant>) {
        // Before the look: a read that comes after it is seen by the next one.
        lock(&self.state).came = false;
        let now = Instant::now();
        let oldest = end_reads(now).map(|oldest| oldest.max(now + self.limit / 8));
        let mut state = lock(&self.state);
        let newest = state.came.then(|| Instant::now() + self.limit);
        match oldest.or(newest) {
            Some(at) => self.look_at(at),
            None => state.scheduled = false,
        }
    }

    fn look_at(&self, at: Instant) {
        // After the end there are no looks.
        let _ = self.looks.push_at(at, ());
    }
}
