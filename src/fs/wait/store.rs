//! Whose turn it is to append to a log: one at a time, and nobody holds a thread to wait for it.
//!
//! A mount is served by a handful of threads. A log takes one append at a time, and an append takes as long as the disk
//! says: microseconds, or for ever. So of each namespace one thread at a time is inside, and whoever comes meanwhile
//! leaves what it has brought, with its answer, in the namespace's line:
//!
//! - what is small takes its turn on the thread that brings it ([`Fs::turn`]), if nobody is inside, and then does what
//!   was left there meanwhile;
//! - what may take long, or finds somebody inside, is put in line ([`Fs::queue_store`]); if nobody is inside, a thread
//!   of a [pool](super::pool) goes there;
//! - of the threads that serve the mount so many may be inside of some namespace that others are always left
//!   ([`Fs::serve_with`]). Beyond that, all appends are done by the pool.
//!
//! So those who wait for a disk cost memory, as much as they have written and the [budget](super::budget) allows, and the
//! disk that stands still holds up those who wait for it, and nobody else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::namespace::{MountedLog, Takes, Waiting};
use crate::fs::transport::Transport;

/// A thread that serves the mount does so many jobs of others behind its own, and leaves the rest to the pool.
const MOST_FOR_OTHERS: usize = 64;

/// How many jobs wait for their turn in all namespaces, or have it. Who wants to bound what they hold in memory counts
/// it here.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) jobs: Mutex<usize>,
    pub(crate) idle: Condvar,
}

impl Backlog {
    pub(crate) fn add(self: &Arc<Self>) -> Counted {
        *lock(&self.jobs) += 1;
        Counted(Arc::clone(self))
    }

    /// Returns when nothing is left to be done.
    pub(crate) fn wait_until_idle(&self) {
        let mut jobs = lock(&self.jobs);
        while *jobs > 0 {
            jobs = self.idle.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A job that is counted, until it is done or given up.
pub(crate) struct Counted(Arc<Backlog>);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut jobs = lock(&self.0.jobs);
        *jobs -= 1;
        if *jobs == 0 {
            self.0.idle.notify_all();
        }
    }
}

/// How many of the threads that serve the mount may wait for a disk.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) free: AtomicUsize,
    pub(crate) limited: AtomicBool,
}

impl Default for Places {
    /// Whoever calls may wait, until it is said how many there are.
    fn default() -> Places {
        Places {
            free: AtomicUsize::new(usize::MAX / 2),
            limited: AtomicBool::new(false),
        }
    }
}

impl Places {
    pub(crate) fn limit(&self, places: usize) {
        self.free.store(places, Ordering::Relaxed);
        self.limited.store(true, Ordering::Relaxed);
    }

    pub(crate) fn are_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// A place, to be held while its thread may wait for a disk. `None`: as many others as may do so.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let less = |free: usize| free.checked_sub(1);
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Place(self))
    }
}

/// See [`Places::take`].
pub(crate) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// A turn: whoever has it is alone. Dropped, it is handed on.
pub(crate) struct Turn<'a, T: Transport> {
    pub(crate) fs: &'a Fs<T>,
    pub(crate) namespace: &'a Arc<MountedLog>,
    /// That of a thread that serves the mount; a thread of the pool needs none.
    pub(crate) place: Option<Place<'a>>,
}

impl<T: Transport> Turn<'_, T> {
    /// Does what waits, as far as this thread may. Returns whether that was all, and nobody is inside any more.
    fn do_what_waits(&self) -> bool {
        let serves_the_mount = self.place.is_some();
        for done in 0.. {
            let mut line = lock(&self.namespace.turns.0);
            let Some(next) = line.waiting.front() else {
                line.taken = false;
                return true;
            };
            if serves_the_mount && (next.takes == Takes::Long || done == MOST_FOR_OTHERS) {
                return false;
            }
            let next = line.waiting.pop_front();
            drop(line);
            let Some(Waiting { takes, job }) = next else {
                continue;
            };
            job();
            if takes == Takes::Long {
                lock(&self.namespace.turns.0).long -= 1;
            }
        }
        false
    }
}

impl<T: Transport> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        // What panics once may do so again: then another thread goes on.
        if std::thread::panicking() || !self.do_what_waits() {
            self.fs.send_in(self.namespace);
        }
    }
}
