//! Reads that wait, without a thread: each is put here and leaves by exactly one of four doors.
//!
//! | door | who opens it | the waiter gets |
//! | --- | --- | --- |
//! | record | [`Parked::take_ready`], after a commit | its bytes |
//! | interrupt | [`Parked::interrupt`], a signal to the reader; [`Parked::take_any`], a limit of the wait | `EINTR` |
//! | close | [`Parked::take_ready`], after the namespace was removed | end of file |
//! | unmount | [`Parked::close`] | end of file |
//!
//! Two races decide the shape. A commit between a reader's look and its parking must not be lost: so the look
//! is repeated under the lock that the committer takes after its commit. An interrupt can be read from the
//! kernel before its target has been parked, by another thread: so it is remembered until the target comes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::sync::{Mutex, MutexGuard, PoisonError};

/// How many interrupts without a parked target are remembered. Almost all of them are for requests that were
/// answered while the interrupt was on its way, which never come; a live one is at most as old as one request
/// between being read and being parked, one for each session thread.
const REMEMBERED_INTERRUPTS: usize = 4096;

/// The waiters of one mount, by namespace and by the kernel's number of the request.
#[derive(Debug)]
pub struct Parked<W> {
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    closed: bool,
    /// Waiters in the order of their requests, so that the first to wait is the first to be answered.
    by_namespace: HashMap<u32, BTreeMap<u64, W>>,
    /// The namespace of each waiting request.
    namespace_of: HashMap<u64, u32>,
    /// Interrupts that were here before their target.
    early_interrupts: VecDeque<u64>,
}

/// What became of a waiter that wanted to be parked.
#[derive(Debug, PartialEq, Eq)]
pub enum Parking<W> {
    /// It waits.
    Parked,
    /// There is something for it after all: look again.
    Ready(W),
    /// A signal came before it was parked.
    Interrupted(W),
    /// The mount is on its way out.
    Closed(W),
}

impl<W> Default for Parked<W> {
    fn default() -> Self {
        let inner = Inner {
            closed: false,
            by_namespace: HashMap::new(),
            namespace_of: HashMap::new(),
            early_interrupts: VecDeque::new(),
        };
        Parked {
            inner: Mutex::new(inner),
        }
    }
}

impl<W> Parked<W> {
    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        // No code that can panic runs under this lock but the caller's `ready`; the maps are whole all the
        // same.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parks a waiter of `namespace` under the kernel's number of its request, unless `ready` says that there
    /// is something for it. `ready` is asked under the lock: it must be quick and must not come back here.
    pub fn park(
        &self,
        namespace: u32,
        unique: u64,
        waiter: W,
        ready: impl FnOnce(&W) -> bool,
    ) -> Parking<W> {
        let mut inner = self.lock();
        if let Some(at) = inner.early_interrupts.iter().position(|&u| u == unique) {
            inner.early_interrupts.remove(at);
            return Parking::Interrupted(waiter);
        }
        if inner.closed {
            return Parking::Closed(waiter);
        }
        if ready(&waiter) {
            return Parking::Ready(waiter);
        }
        inner.namespace_of.insert(unique, namespace);
        inner
            .by_namespace
            .entry(namespace)
            .or_default()
            .insert(unique, waiter);
        Parking::Parked
    }

    /// Takes out the waiters of a namespace for which `ready` holds, first come first. To be called after
    /// each change of what they wait for.
    pub fn take_ready(&self, namespace: u32, mut ready: impl FnMut(&W) -> bool) -> Vec<W> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(waiters) = inner.by_namespace.get_mut(&namespace) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for (unique, waiter) in waiters.extract_if(.., |_, w| ready(w)) {
            inner.namespace_of.remove(&unique);
            taken.push(waiter);
        }
        if waiters.is_empty() {
            inner.by_namespace.remove(&namespace);
        }
        taken
    }

    /// Takes out the waiter of an interrupted request. `None`: it does not wait here (yet); should it come,
    /// it is turned back.
    pub fn interrupt(&self, unique: u64) -> Option<W> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(namespace) = inner.namespace_of.remove(&unique) else {
            if inner.early_interrupts.len() == REMEMBERED_INTERRUPTS {
                inner.early_interrupts.pop_front();
            }
            inner.early_interrupts.push_back(unique);
            return None;
        };
        let waiters = inner.by_namespace.get_mut(&namespace)?;
        let waiter = waiters.remove(&unique);
        if waiters.is_empty() {
            inner.by_namespace.remove(&namespace);
        }
        waiter
    }

    /// Takes out the waiters of all namespaces for which `leaves` holds. It is asked under the lock.
    pub fn take_any(&self, mut leaves: impl FnMut(&W) -> bool) -> Vec<W> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let mut taken = Vec::new();
        inner.by_namespace.retain(|_, waiters| {
            for (unique, waiter) in waiters.extract_if(.., |_, w| leaves(w)) {
                inner.namespace_of.remove(&unique);
                taken.push(waiter);
            }
            !waiters.is_empty()
        });
        taken
    }

    /// Takes out everybody and lets nobody wait any more.
    pub fn close(&self) -> Vec<W> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.namespace_of.clear();
        std::mem::take(&mut inner.by_namespace)
            .into_values()
            .flat_map(BTreeMap::into_values)
            .collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().namespace_of.len()
    }

    /// How many wait for a namespace.
    pub fn waiting_for(&self, namespace: u32) -> usize {
        self.lock()
            .by_namespace
            .get(&namespace)
            .map_or(0, BTreeMap::len)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
