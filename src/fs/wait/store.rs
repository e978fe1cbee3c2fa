//! Decides who may append next. While an append waits for the disk, or a large record is copied into a log, other writers
//! are queued; no thread waits.
//!
//! A mount is served by a handful of threads. A log takes one append at a time, and an append takes as long as the disk
//! says: microseconds, or for ever. So one thread at a time is inside of each namespace. A write that finds it there is left
//! in the namespace's queue, with its bytes and its answer:
//!
//! - a small append is done by the thread that brings it ([`StoreQueue::turn`]), if nobody is inside; that thread then does
//!   what was queued meanwhile;
//! - an append that may take long, or finds somebody inside, is queued ([`StoreQueue::queue`]); if nobody is inside, a
//!   thread of a pool goes there;
//! - only some of the threads that serve the mount may be inside of a namespace at the same time ([`Places::limit`]), so
//!   that others are left. Beyond that, all appends are done by the pool.
//!
//! So a write that waits for a disk costs the memory of its bytes, as the [budget](crate::fs::budget) allows, and no thread.
//! A disk that stands still holds up only the writes to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::fs::locks::lock;
use crate::fs::namespace::{Lasts, MountedLog, NotMine, Waiting};
use crate::fs::pool::{Job, Pool};

/// The most namespaces whose disk is waited for at the same time.
const MOST_STORERS: usize = 64;
/// The most jobs of others that a thread which serves the mount does behind its own. It leaves the rest to the pool.
const MOST_FOR_OTHERS: usize = 64;

/// The appends of all namespaces.
pub(crate) struct StoreQueue {
    pub(crate) places: Places,
    backlog: Arc<Backlog>,
    threads: Arc<Pool>,
}

impl StoreQueue {
    pub(crate) fn new() -> Arc<StoreQueue> {
        Arc::new(StoreQueue {
            places: Places::default(),
            backlog: Arc::default(),
            threads: Pool::new("store", MOST_STORERS),
        })
    }

    /// How long the next append to a namespace lasts: the first one after opening waits for the disk.
    fn next_append_lasts(&self, namespace: &MountedLog) -> Lasts {
        if self.places.are_limited() && namespace.log.next_append_syncs() {
            Lasts::Long
        } else {
            Lasts::Moments
        }
    }

    /// A turn for something small, on the calling thread. `None`: it is to be [queued](StoreQueue::queue).
    pub(crate) fn turn<'a>(
        self: &'a Arc<Self>,
        namespace: &'a Arc<MountedLog>,
    ) -> Option<Turn<'a>> {
        if self.next_append_lasts(namespace) == Lasts::Long {
            return None;
        }
        let place = namespace.turns.enter(|| self.places.take())?;
        Some(Turn {
            queue: self,
            namespace,
            place: Some(place),
        })
    }

    /// Has something done behind what was queued before, by the thread that is inside or by one of the pool.
    pub(crate) fn queue(self: &Arc<Self>, namespace: &Arc<MountedLog>, lasts: Lasts, job: Job) {
        let lasts = match self.next_append_lasts(namespace) {
            Lasts::Long => Lasts::Long,
            Lasts::Moments => lasts,
        };
        let counted = self.backlog.add();
        let job = Box::new(move || {
            let _counted = counted;
            job();
        });
        if namespace.turns.push(Waiting { lasts, job }) {
            self.send_in(namespace);
        }
    }

    /// Has a thread of the pool do what is queued. The caller has made the namespace's turns taken.
    fn send_in(self: &Arc<Self>, namespace: &Arc<MountedLog>) {
        let (queue, namespace) = (Arc::clone(self), Arc::clone(namespace));
        let about = Some(namespace.id());
        let job = move || {
            drop(Turn {
                queue: &queue,
                namespace: &namespace,
                place: None,
            });
        };
        self.threads.run(about, Box::new(job));
    }

    /// Returns when nothing is queued, and nothing that was queued is being done.
    pub(crate) fn wait_until_idle(&self) {
        self.backlog.wait_until_idle();
    }

    /// The threads end once nothing is queued.
    pub(crate) fn close(&self) {
        self.threads.close();
    }
}

/// A turn: the thread that has it is alone in the namespace. Dropped, it is handed on.
pub(crate) struct Turn<'a> {
    queue: &'a Arc<StoreQueue>,
    namespace: &'a Arc<MountedLog>,
    /// That of a thread that serves the mount; a thread of the pool needs none.
    place: Option<Place<'a>>,
}

impl Turn<'_> {
    /// Does what is queued, as far as this thread may. Returns whether that was all, and nobody is inside any more.
    fn do_what_waits(&self) -> bool {
        let turns = &self.namespace.turns;
        let serves_the_mount = self.place.is_some();
        for done in 0.. {
            let may_do =
                |lasts| !serves_the_mount || lasts == Lasts::Moments && done < MOST_FOR_OTHERS;
            match turns.next_or_leave(may_do) {
                Ok(Some(Waiting { lasts, job })) => {
                    job();
                    turns.done(lasts);
                }
                Ok(None) => return true,
                Err(NotMine) => return false,
            }
        }
        false
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // What panics once may do so again: then another thread goes on.
        if std::thread::panicking() || !self.do_what_waits() {
            self.queue.send_in(self.namespace);
        }
    }
}

/// Counts the jobs that are queued in all namespaces, or are being done.
#[derive(Debug, Default)]
struct Backlog {
    jobs: Mutex<usize>,
    idle: Condvar,
}

impl Backlog {
    fn add(self: &Arc<Self>) -> Counted {
        *lock(&self.jobs) += 1;
        Counted(Arc::clone(self))
    }

    fn wait_until_idle(&self) {
        let mut jobs = lock(&self.jobs);
        while *jobs > 0 {
            jobs = self.idle.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A job that is counted, until it is done or given up.
struct Counted(Arc<Backlog>);

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
    free: AtomicUsize,
    limited: AtomicBool,
}

impl Default for Places {
    /// Each calling thread may wait, until [`Places::limit`] says how many may.
    fn default() -> Places {
        Places {
            free: AtomicUsize::new(usize::MAX / 2),
            limited: AtomicBool::new(false),
        }
    }
}

impl Places {
    /// From now on this number of threads may wait at the same time.
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
