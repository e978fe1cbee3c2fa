//! Which namespace a request waits in, so that an interrupt, which carries only the request's number, finds it.
//!
//! Another session thread can read an interrupt from the kernel before its target has been parked. So an
//! interrupt without a target is remembered until the target comes.

use std::collections::{HashMap, VecDeque};

use super::locks::{Mutex, MutexGuard, PoisonError};

/// Requests are spread over this many locks by their number, so that namespaces do not wait for each other.
const SHARDS: usize = 8;
/// How many interrupts without a target each shard remembers. Almost all of them are for requests that were
/// answered while the interrupt was on its way, which never come; a live one is at most as old as one request
/// between being read and being parked, one for each session thread.
const REMEMBERED_INTERRUPTS: usize = 1024;

/// The requests that wait, by the kernel's number, and the interrupts that came before their target.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    namespace_of: HashMap<u64, u32>,
    early: VecDeque<u64>,
}

impl Shard {
    fn remember(&mut self, unique: u64) {
        if self.early.len() == REMEMBERED_INTERRUPTS {
            self.early.pop_front();
        }
        self.early.push_back(unique);
    }
}

impl Targets {
    fn shard(&self, unique: u64) -> MutexGuard<'_, Shard> {
        // The kernel counts by twos, so the lowest bit says nothing.
        let shard = &self.shards[(unique / 2) as usize % SHARDS];
        // No code that can panic runs under this lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request is about to wait. Returns false if it was interrupted before: it must not wait.
    pub(crate) fn add(&self, unique: u64, namespace: u32) -> bool {
        let mut shard = self.shard(unique);
        if let Some(at) = shard.early.iter().position(|&early| early == unique) {
            shard.early.remove(at);
            return false;
        }
        shard.namespace_of.insert(unique, namespace);
        true
    }

    /// The request does not wait any more.
    pub(crate) fn remove(&self, unique: u64) {
        self.shard(unique).namespace_of.remove(&unique);
    }

    /// Where an interrupted request waits. `None`: nowhere yet, and the interrupt is remembered.
    pub(crate) fn find_or_remember(&self, unique: u64) -> Option<u32> {
        let mut shard = self.shard(unique);
        let found = shard.namespace_of.get(&unique).copied();
        if found.is_none() {
            shard.remember(unique);
        }
        found
    }

    /// The request was about to be answered when its interrupt came: should it wait again, it is turned back.
    pub(crate) fn remember(&self, unique: u64) {
        self.shard(unique).remember(unique);
    }
}
