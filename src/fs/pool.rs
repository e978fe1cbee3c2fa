//! Threads for what may take long: they begin when there is something to do, and end when there has been nothing for a
//! while.
//!
//! A mount is served by a handful of threads, and none of them is to wait for a disk. A job that has to wait for one is put
//! into a pool, with its answer. First come, first served; a pool has a largest number of threads, and further jobs wait
//! for one of them. The jobs of one namespace get a few threads at most: where its disk stands still, its jobs wait for
//! each other, and those of other namespaces find a thread.
//!
//! A pool is no [inbox](super::inbox): its threads come and go, its jobs share them by namespace and not in the order of
//! their times, and after the end it still does what it is given. `tests/loom` explores its threads, too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::locks::{Condvar, Mutex, MutexGuard, PoisonError, lock, thread};

/// A thread without work ends after this long: what comes often does not begin one each time.
const IDLE: Duration = Duration::from_secs(10);

/// The most jobs of one namespace, or of one user, that are done at the same time.
const MOST_OF_ONE: usize = 8;

/// Jobs that are about the same are few at a time. It is the namespace; `None`: the mount, or the directory of the logs.
/// In the pool of the looks it is the user.
pub(crate) type About = Option<u32>;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A number of threads, and what they are to do.
pub(crate) struct Pool {
    name: &'static str,
    most: usize,
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(About, Job)>,
    /// How many jobs are queued or running, by what they are about.
    begun: HashMap<About, Begun>,
    threads: usize,
    /// How many of them wait for a job. Each looks for one before it ends.
    waiting: usize,
    closed: bool,
}

/// Jobs of one namespace.
#[derive(Default)]
struct Begun {
    /// How many are done now, or are done next.
    count: usize,
    /// Those beyond [`MOST_OF_ONE`].
    behind: VecDeque<Job>,
}

impl State {
    /// Takes a job in. Returns whether a thread may do it now.
    fn add(&mut self, about: About, job: Job) -> bool {
        let begun = self.begun.entry(about).or_default();
        if begun.count == MOST_OF_ONE {
            begun.behind.push_back(job);
            return false;
        }
        begun.count += 1;
        self.jobs.push_back((about, job));
        true
    }

    /// A job has ended: the next one of the same namespace may be done.
    fn ended(&mut self, about: About) {
        let Some(begun) = self.begun.get_mut(&about) else {
            return;
        };
        if let Some(next) = begun.behind.pop_front() {
            return self.jobs.push_back((about, next));
        }
        begun.count -= 1;
        if begun.count == 0 {
            self.begun.remove(&about);
        }
    }
}

impl Pool {
    /// A pool of at most `most` threads of this name.
    pub(crate) fn new(name: &'static str, most: usize) -> Arc<Pool> {
        Arc::new(Pool {
            name,
            most,
            state: Mutex::default(),
            came: Condvar::new(),
        })
    }

    /// Has something done by a thread. The caller does it when there can be none.
    pub(crate) fn run(self: &Arc<Self>, about: About, job: Job) {
        let mut state = lock(&self.state);
        if !state.add(about, job) {
            return; // The next thread that has done a job of the same namespace moves it to the queue.
        }
        if state.waiting >= state.jobs.len() {
            drop(state);
            return self.came.notify_one();
        }
        self.begin(state);
    }

    /// Begins one more thread for what is to be done, if there may be one.
    fn begin(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.threads >= self.most {
            return; // The next thread that is ready takes it.
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(self);
        let started = thread::Builder::new()
            .name(self.name.into())
            .spawn(move || Place(pool).serve());
        if started.is_err() {
            self.without_a_thread();
        }
    }

    /// No thread could be started. If there is another one, it does the work; if not, the caller has to.
    fn without_a_thread(&self) {
        lock(&self.state).threads -= 1;
        loop {
            let mut state = lock(&self.state);
            if state.threads > 0 {
                return;
            }
            let Some((about, job)) = state.jobs.pop_front() else {
                return;
            };
            drop(state);
            let _ended = Ended { pool: self, about };
            job();
        }
    }

    /// The threads end as soon as nothing is left to be done.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.came.notify_all();
    }
}

/// Dropped when a job has ended, also by a panic.
struct Ended<'a> {
    pool: &'a Pool,
    about: About,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        lock(&self.pool.state).ended(self.about);
    }
}

/// A thread of a pool: counted as long as this is there.
struct Place(Arc<Pool>);

impl Place {
    fn serve(&self) {
        while let Some((about, job)) = self.next() {
            let pool = &self.0;
            let _ended = Ended { pool, about };
            job();
        }
    }

    /// The next job; `None`: the thread is to end.
    fn next(&self) -> Option<(About, Job)> {
        let mut state = lock(&self.0.state);
        let mut waited = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if waited || state.closed {
                return None;
            }
            state.waiting += 1;
            let (after, time) = self
                .0
                .came
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.waiting -= 1;
            waited = time.timed_out();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.threads -= 1;
        // What came after its last look, or while it panicked.
        if !state.jobs.is_empty() {
            self.0.begin(state);
        }
    }
}
