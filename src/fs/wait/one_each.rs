//! Work of which one thing at a time is done for each key: a sync for a namespace, a look at a process.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Mutex;

use crate::fs::locks::lock;

/// What waits behind what is being done for a key. A key is in it as long as somebody does something for it, or is on the
/// way there.
pub(crate) struct OneEach<K, J>(Mutex<HashMap<K, VecDeque<J>>>);

impl<K, J> Default for OneEach<K, J> {
    fn default() -> Self {
        OneEach(Mutex::default())
    }
}

impl<K: Eq + Hash, J> OneEach<K, J> {
    /// Puts a job behind those of the same key. Returns whether nobody does these: then the caller has somebody do them.
    pub(crate) fn push(&self, key: K, job: J) -> bool {
        match lock(&self.0).entry(key) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push_back(job);
                false
            }
            Entry::Vacant(nobody) => {
                nobody.insert(VecDeque::from([job]));
                true
            }
        }
    }

    /// Takes the next job.
    pub(crate) fn take(&self, key: &K) -> Option<J> {
        lock(&self.0).get_mut(key)?.pop_front()
    }

    /// Takes all jobs that wait now.
    pub(crate) fn take_all(&self, key: &K) -> VecDeque<J> {
        let mut waiting = lock(&self.0);
        waiting.get_mut(key).map(std::mem::take).unwrap_or_default()
    }

    /// What was taken is done. If another job waits, `next` looks at it, and the caller has somebody do it.
    pub(crate) fn done<R>(&self, key: &K, next: impl FnOnce(&J) -> R) -> Option<R> {
        let mut waiting = lock(&self.0);
        let first = waiting.get(key)?.front().map(next);
        if first.is_none() {
            waiting.remove(key);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_at_a_time_is_done_for_a_process_and_for_others_meanwhile() {
        let processes = OneEach::default();
        let next = |process| processes.done(&process, |job: &&str| *job);
        assert!(processes.push(10, "first"));
        assert_eq!(processes.take(&10), Some("first"));
        for job in ["second", "third"] {
            assert!(!processes.push(10, job));
        }
        assert!(processes.push(11, "other"));
        assert_eq!(processes.take(&11), Some("other"));
        assert_eq!(next(11), None);
        assert_eq!(next(10), Some("second"));
        assert_eq!(processes.take(&10), Some("second"));
        assert!(!processes.push(10, "fourth"));
        assert_eq!(next(10), Some("third"));
        assert_eq!(processes.take_all(&10), ["third", "fourth"]);
        assert_eq!(next(10), None);
        assert!(lock(&processes.0).is_empty());
    }
}
