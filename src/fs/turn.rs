//! Whose turn it is to append to a log: while a large record is copied into it, nobody holds a thread to wait.
//!
//! A log takes one append at a time. A small one takes microseconds, and whoever comes meanwhile waits for the
//! engine's lock on the thread that serves the mount. A record of gigabytes takes seconds: were it waited for
//! like that, a handful of writers would hold all those threads, and the whole mount. So
//!
//! - what is small takes a turn first ([`Namespace::turn`]), as many at a time as there are;
//! - what is large lets those end and then is [alone](Namespace::alone), on a thread of its namespace;
//! - what gets no turn, since something large is there or waits to be, is put behind it, with its answer
//!   ([`Fs::put_behind`]). Writers that wait cost memory, at most what one write can bring, and no thread.

use std::collections::{HashMap, VecDeque};
use std::sync::{
    Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::thread;

use super::handle::lock;
use super::{Fs, Namespace, Transport};

/// Of one namespace: shared by what is small, held alone by what is large.
#[derive(Debug, Default)]
pub(super) struct Turns(RwLock<()>);

impl Namespace {
    /// A turn for a small append, to be held while it appends. `None`: something large is being stored, or
    /// waits to be.
    pub(super) fn turn(&self) -> Option<RwLockReadGuard<'_, ()>> {
        match self.turns.0.try_read() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits until everybody who has a turn has ended it. Nobody gets one before this is dropped.
    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        let turns = self.turns.0.write();
        turns.unwrap_or_else(PoisonError::into_inner)
    }
}

type Job<T> = Box<dyn FnOnce(&Fs<T>) + Send>;

/// What is to be done later, by the namespace that it waits for. A namespace is in it as long as a thread
/// serves it.
pub(super) struct Behind<T: Transport> {
    jobs: Mutex<HashMap<u32, VecDeque<Job<T>>>>,
    idle: Condvar,
}

impl<T: Transport> Default for Behind<T> {
    fn default() -> Self {
        Behind {
            jobs: Mutex::default(),
            idle: Condvar::new(),
        }
    }
}

impl<T: Transport> Behind<T> {
    /// The next job of a namespace; without one its thread ends.
    fn next(&self, namespace: u32) -> Option<Job<T>> {
        let mut jobs = lock(&self.jobs);
        let next = jobs.get_mut(&namespace).and_then(VecDeque::pop_front);
        if next.is_none() {
            jobs.remove(&namespace);
            self.idle.notify_all();
        }
        next
    }

    /// Returns when nothing is left to be done.
    pub(super) fn wait_until_idle(&self) {
        let mut jobs = lock(&self.jobs);
        while !jobs.is_empty() {
            jobs = self.idle.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T: Transport> Fs<T> {
    /// Does something small now, or behind something large.
    pub(super) fn in_turn(&self, namespace: &Namespace, job: impl FnOnce(&Fs<T>) + Send + 'static) {
        match namespace.turn() {
            Some(_turn) => job(self),
            None => self.put_behind(namespace, job),
        }
    }

    /// Has something done on the thread of a namespace, behind what was put there before. The thread begins
    /// and ends with its work.
    pub(super) fn put_behind(
        &self,
        namespace: &Namespace,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        let id = namespace.id();
        let mut jobs = lock(&self.behind.jobs);
        if let Some(waiting) = jobs.get_mut(&id) {
            return waiting.push_back(Box::new(job));
        }
        jobs.insert(id, VecDeque::from([Box::new(job) as Job<T>]));
        drop(jobs);
        let serve = move |fs: &Fs<T>| {
            while let Some(job) = fs.behind.next(id) {
                job(fs);
            }
        };
        let started = self.myself.upgrade().map(|fs: Arc<Fs<T>>| {
            thread::Builder::new()
                .name("store".into())
                .spawn(move || serve(&fs))
        });
        // Without a thread it is done here: slower for all others, and no less right.
        if !matches!(started, Some(Ok(_))) {
            serve(self);
        }
    }
}
