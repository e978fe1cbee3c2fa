//! Whose turn it is to append to a log: one at a time, and nobody holds a thread to wait for it.
//!
//! A mount is served by a handful of threads. A log takes one append at a time, and an append takes as long as the disk
//! says: microseconds, or for ever. So of each namespace one thread at a time is inside, and whoever comes meanwhile
//! leaves what it has brought, with its answer, in the namespace's line:
//!
//! - what is small takes its turn on the thread that brings it ([`Fs::turn`]), if nobody is inside, and then does what
//!   was left there meanwhile;
//! - what may take long, or finds somebody inside, is put in line ([`Fs::put_behind`]); if nobody is inside, a thread
//!   of a [pool](super::pool) goes there;
//! - of the threads that serve the mount so many may be inside of some namespace that others are always left
//!   ([`Fs::serve_with`]). Beyond that, all appends are done by the pool.
//!
//! So those who wait for a disk cost memory, as much as they have written and the [budget](super::budget) allows, and the
//! disk that stands still holds up those who wait for it, and nobody else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::handle::lock;
use super::{Fs, Namespace, Transport};

/// A thread that serves the mount does so many jobs of others behind its own, and leaves the rest to the pool.
const MOST_FOR_OTHERS: usize = 64;

/// The line of one namespace.
#[derive(Default)]
pub(super) struct Turns(Mutex<Line>);

#[derive(Default)]
struct Line {
    /// Somebody is inside, or on the way there, and looks into the line before it is done.
    taken: bool,
    waiting: VecDeque<Waiting>,
    /// How many of those that wait, or are done just now, take long.
    long: usize,
}

/// What is to be done in its turn.
struct Waiting {
    takes: Takes,
    job: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// As long as a small write to a disk that works.
    Moments,
    /// A sync of the disk, or a copy of gigabytes: never on a thread that serves the mount.
    Long,
}

/// How many jobs wait for their turn in all namespaces, or have it. Who wants to bound what they hold in memory counts
/// it here.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    jobs: Mutex<usize>,
    idle: Condvar,
}

impl Backlog {
    fn add(self: &Arc<Self>) -> Counted {
        *lock(&self.jobs) += 1;
        Counted(Arc::clone(self))
    }

    /// Returns when nothing is left to be done.
    pub(super) fn wait_until_idle(&self) {
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
pub(super) struct Places {
    free: AtomicUsize,
    limited: AtomicBool,
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
    fn limit(&self, places: usize) {
        self.free.store(places, Ordering::Relaxed);
        self.limited.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// A place, to be held while its thread may wait for a disk. `None`: as many others as may do so.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        let less = |free: usize| free.checked_sub(1);
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Place(self))
    }
}

/// See [`Places::take`].
pub(super) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// A turn: whoever has it is alone. Dropped, it is handed on.
pub(super) struct Turn<'a, T: Transport> {
    fs: &'a Fs<T>,
    namespace: &'a Arc<Namespace>,
    /// That of a thread that serves the mount; a thread of the pool needs none.
    place: Option<Place<'a>>,
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

impl Namespace {
    /// Whether something that takes long is being stored, or waits for that.
    pub(super) fn stores_long(&self) -> bool {
        lock(&self.turns.0).long > 0
    }
}

impl<T: Transport> Fs<T> {
    /// The mount is served by so many threads. All but two of them may wait for a disk in a write; none, from now on,
    /// in a read or a look.
    pub fn serve_with(&self, threads: usize) {
        self.places.limit(threads.saturating_sub(2));
    }

    /// How long the next append to a namespace takes: the first one after opening waits for the disk.
    pub(super) fn next_append_takes(&self, namespace: &Namespace) -> Takes {
        match self.places.are_limited() && namespace.log.next_append_syncs() {
            true => Takes::Long,
            false => Takes::Moments,
        }
    }

    /// A turn for something small, on this thread. `None`: it is to be [put behind](Fs::put_behind) others.
    pub(super) fn turn<'a>(&'a self, namespace: &'a Arc<Namespace>) -> Option<Turn<'a, T>> {
        if self.next_append_takes(namespace) == Takes::Long {
            return None;
        }
        let mut line = lock(&namespace.turns.0);
        if line.taken {
            return None;
        }
        let place = Some(self.places.take()?);
        line.taken = true;
        drop(line);
        Some(Turn {
            fs: self,
            namespace,
            place,
        })
    }

    /// Does something small, on this thread or behind what is there.
    pub(super) fn in_turn(
        &self,
        namespace: &Arc<Namespace>,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        match self.turn(namespace) {
            Some(_turn) => job(self),
            None => self.put_behind(namespace, Takes::Moments, job),
        }
    }

    /// Has something done behind what was put there before, by whoever is inside or by a thread of the pool.
    pub(super) fn put_behind(
        &self,
        namespace: &Arc<Namespace>,
        takes: Takes,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        let takes = match self.next_append_takes(namespace) {
            Takes::Long => Takes::Long,
            Takes::Moments => takes,
        };
        let counted = self.backlog.add();
        let Some(fs) = self.myself.upgrade() else {
            return job(self); // Nobody else is there any more.
        };
        let job = Box::new(move || {
            let _counted = counted;
            job(&fs);
        });
        let mut line = lock(&namespace.turns.0);
        line.waiting.push_back(Waiting { takes, job });
        line.long += usize::from(takes == Takes::Long);
        let is_idle = !std::mem::replace(&mut line.taken, true);
        drop(line);
        if is_idle {
            self.send_in(namespace);
        }
    }

    /// Has a thread of the pool do what waits. Whoever calls has set [`Line::taken`].
    fn send_in(&self, namespace: &Arc<Namespace>) {
        let (fs, namespace) = (self.myself.upgrade(), Arc::clone(namespace));
        let Some(fs) = fs else {
            lock(&namespace.turns.0).taken = false;
            return;
        };
        let about = Some(namespace.id());
        let job = Box::new(move || {
            drop(Turn {
                fs: &fs,
                namespace: &namespace,
                place: None,
            });
        });
        self.storers.run(about, job);
    }

    /// Has something done that needs no turn and may wait, for the disk or for `/proc`, by a thread of a pool. `about`: the
    /// id of the namespace; `None`: the mount. If whoever calls may wait, it is done at once.
    pub fn apart(&self, about: Option<u32>, job: impl FnOnce(&Fs<T>) + Send + 'static) {
        match self.may_not_wait() {
            Some(fs) => self.helpers.run(about, Box::new(move || job(&fs))),
            None => job(self),
        }
    }

    /// For a thread of a pool, if the thread that calls may serve the mount.
    pub(super) fn may_not_wait(&self) -> Option<Arc<Fs<T>>> {
        self.places
            .are_limited()
            .then(|| self.myself.upgrade())
            .flatten()
    }
}
