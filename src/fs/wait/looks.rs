//! Looks at the descriptors of a process that closes a file: one at a time for each process, and a few for each user.
//!
//! A look reads a file of `/proc` for each descriptor, so the process decides how long it takes: it may have thousands, and
//! the kernel waits for a lock of an `epoll` instance to show it. A process that closes by many threads, or a user with many
//! processes, is not to have all threads that look: else the closes of all others would wait. Nothing else is done on these
//! threads, so that no look waits for a disk.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::pool::Pool;
use crate::fs::fs::Fs;
use crate::fs::handles::Opener;
use crate::fs::locks::lock;
use crate::fs::transport::{Caller, Transport};

/// So many processes are looked at at the same time; the pool does a few at most for one user.
const MOST_LOOKS: usize = 64;

/// The looks that are under way, and the threads that do them.
pub(crate) struct Looks<T: Transport> {
    pub(crate) processes: OneEach<Look<T>>,
    pub(crate) threads: Arc<Pool>,
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
pub(crate) type Then<T> = Box<dyn FnOnce(&Fs<T>, Option<bool>) + Send>;

/// A look to be done.
pub(crate) struct Look<T: Transport> {
    pub(crate) caller: Caller,
    pub(crate) opener: Arc<Opener>,
    pub(crate) then: Then<T>,
}

/// The processes for which something is done, each with what waits behind it.
pub(crate) struct OneEach<J>(Mutex<HashMap<u64, VecDeque<J>>>);

impl<J> Default for OneEach<J> {
    fn default() -> Self {
        OneEach(Mutex::default())
    }
}

impl<J> OneEach<J> {
    /// Gives back what is to be done now. Else it waits.
    pub(crate) fn begin(&self, process: u64, job: J) -> Option<J> {
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
pub(crate) struct UnderWay<'a, T: Transport> {
    pub(crate) fs: &'a Fs<T>,
    pub(crate) process: u64,
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
