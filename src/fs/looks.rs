//! Looks at the descriptors of a process that closes a file: one at a time for each process, and a few for each user.
//!
//! A look reads a file of `/proc` for each descriptor, so the process decides how long it takes: it may have thousands, and
//! the kernel waits for a lock of an `epoll` instance to show it. A process that closes by many threads, or a user with many
//! processes, is not to have all threads that look: else the closes of all others would wait. Nothing else is done on these
//! threads, so that no look waits for a disk.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::handle::lock;
use super::opener::Opener;
use super::pool::Pool;
use super::{Caller, Fs, Transport};

/// So many processes are looked at at the same time; the pool does a few at most for one user.
const MOST_LOOKS: usize = 64;

/// The looks that are under way, and the threads that do them.
pub(super) struct Looks<T: Transport> {
    processes: OneEach<Look<T>>,
    pub(super) threads: Arc<Pool>,
}

impl<T: Transport> Default for Looks<T> {
    fn default() -> Self {
        Looks {
            processes: OneEach::default(),
            threads: Pool::new("look", MOST_LOOKS),
        }
    }
}

/// What is done with what a look has found: whether the process has another descriptor of the file to write to, see
/// [`Opener::holds_another`].
type Then<T> = Box<dyn FnOnce(&Fs<T>, Option<bool>) + Send>;

/// A look to be done.
struct Look<T: Transport> {
    caller: Caller,
    opener: Arc<Opener>,
    then: Then<T>,
}

/// The processes for which something is done, each with what waits behind it.
struct OneEach<J>(Mutex<HashMap<u64, VecDeque<J>>>);

impl<J> Default for OneEach<J> {
    fn default() -> Self {
        OneEach(Mutex::default())
    }
}

impl<J> OneEach<J> {
    /// Gives back what is to be done now. Else it waits.
    fn begin(&self, process: u64, job: J) -> Option<J> {
        match lock(&self.0).entry(process) {
            Entry::Occupied(mut begun) => {
                begun.get_mut().push_back(job);
                None
            }
            Entry::Vacant(nothing) => {
                nothing.insert(VecDeque::new());
                Some(job)
            }
        }
    }

    /// What was begun is done. Returns what is to be done now.
    fn end(&self, process: u64) -> Option<J> {
        let processes = &mut *lock(&self.0);
        let next = processes.get_mut(&process)?.pop_front();
        if next.is_none() {
            processes.remove(&process);
        }
        next
    }
}

/// A process that is looked at. Dropped: the next look at it may begin.
struct UnderWay<'a, T: Transport> {
    fs: &'a Fs<T>,
    process: u64,
}

impl<T: Transport> Drop for UnderWay<'_, T> {
    fn drop(&mut self) {
        if let Some(next) = self.fs.looks.processes.end(self.process) {
            let process = self.process;
            self.fs
                .on_a_looking_thread(next.caller, move |fs| fs.look_now(process, next));
        }
    }
}

impl<T: Transport> Fs<T> {
    /// Finds out whether the process that opened a file has another descriptor of it, when one of its threads closes one;
    /// of another process, which has inherited it: that it goes on. `then` is not to wait.
    pub(super) fn look_at_descriptors(
        &self,
        caller: Caller,
        opener: Arc<Opener>,
        then: impl FnOnce(&Fs<T>, Option<bool>) + Send + 'static,
    ) {
        self.on_a_looking_thread(caller, move |fs| {
            if !opener.is(caller.thread) {
                return then(fs, Some(true));
            }
            let process = opener.process();
            let then = Box::new(then);
            let look = Look {
                caller,
                opener,
                then,
            };
            if let Some(look) = fs.looks.processes.begin(process, look) {
                fs.look_now(process, look);
            }
        });
    }

    fn look_now(&self, process: u64, look: Look<T>) {
        let under_way = UnderWay { fs: self, process };
        let found = look.opener.holds_another(look.caller.thread);
        drop(under_way);
        (look.then)(self, found);
    }

    /// If whoever calls may wait, it is done at once.
    fn on_a_looking_thread(&self, caller: Caller, job: impl FnOnce(&Fs<T>) + Send + 'static) {
        match self.may_not_wait() {
            Some(fs) => {
                let whose = Some(caller.uid);
                self.looks.threads.run(whose, Box::new(move || job(&fs)));
            }
            None => job(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_at_a_time_is_done_for_a_process_and_for_others_meanwhile() {
        let processes = OneEach::default();
        assert_eq!(processes.begin(10, "first"), Some("first"));
        for job in ["second", "third"] {
            assert_eq!(processes.begin(10, job), None);
        }
        assert_eq!(processes.begin(11, "other"), Some("other"));
        assert_eq!(processes.end(11), None);
        assert_eq!(processes.end(10), Some("second"));
        assert_eq!(processes.begin(10, "fourth"), None);
        for job in ["third", "fourth"] {
            assert_eq!(processes.end(10), Some(job));
        }
        assert_eq!(processes.end(10), None);
        assert!(lock(&processes.0).is_empty());
    }
}
