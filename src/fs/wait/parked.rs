//! Reads that wait, without a thread: each is put here and leaves by exactly one of four doors.
//!
//! | door | opened by | the waiter gets |
//! | --- | --- | --- |
//! | record | [`Parked::news`] and [`Parked::slice`], after a commit | its bytes |
//! | interrupt | [`Parked::interrupt`], a signal to the reader; [`Parked::take_any`], a limit of the wait | `EINTR` |
//! | close | [`Parked::news`], after the namespace was removed | end of file |
//! | unmount | [`Parked::close`] | end of file |
//!
//! Each namespace has a crowd of its own, with its own lock: an append touches nobody but its own namespace's
//! waiters. Pollers wait in the same crowds.

use std::collections::HashMap;
use std::sync::Arc;

use super::crowd::Crowd;
use super::locks::{PoisonError, RwLock};
use super::targets::Targets;

pub use super::crowd::{Pace, Parking, Ready};
pub use crate::fs::namespace::{Need, Reached};

/// The waiters of one mount: readers `W`, pollers `P`.
#[derive(Debug)]
pub struct Parked<W, P = ()> {
    targets: Arc<Targets>,
    pace: Pace,
    crowds: RwLock<Crowds<W, P>>,
}

#[derive(Debug)]
struct Crowds<W, P> {
    closed: bool,
    by_namespace: HashMap<u32, Arc<Crowd<W, P>>>,
}

impl<W, P> Default for Parked<W, P> {
    fn default() -> Self {
        Parked::new(Pace::default())
    }
}

impl<W, P> Parked<W, P> {
    /// Nobody waits yet.
    pub fn new(pace: Pace) -> Self {
        Parked {
            targets: Arc::default(),
            pace,
            crowds: RwLock::new(Crowds {
                closed: false,
                by_namespace: HashMap::new(),
            }),
        }
    }

    /// The crowd of a namespace in which somebody has waited.
    fn crowd(&self, namespace: u32) -> Option<Arc<Crowd<W, P>>> {
        let crowds = self.crowds.read().unwrap_or_else(PoisonError::into_inner);
        crowds.by_namespace.get(&namespace).cloned()
    }

    /// The crowd of a namespace; `None` after the end.
    fn join(&self, namespace: u32) -> Option<Arc<Crowd<W, P>>> {
        if let Some(crowd) = self.crowd(namespace) {
            return Some(crowd);
        }
        let mut crowds = self.crowds.write().unwrap_or_else(PoisonError::into_inner);
        if crowds.closed {
            return None;
        }
        let new = || Arc::new(Crowd::new(namespace, self.targets.clone(), self.pace));
        Some(
            crowds
                .by_namespace
                .entry(namespace)
                .or_insert_with(new)
                .clone(),
        )
    }

    fn all(&self) -> Vec<Arc<Crowd<W, P>>> {
        let crowds = self.crowds.read().unwrap_or_else(PoisonError::into_inner);
        crowds.by_namespace.values().cloned().collect()
    }

    /// Parks a reader of `namespace` under the kernel's number of its request, unless there is something for it.
    /// `look` says how far the log has come. It is called under a lock: it must be quick and must not come back
    /// here.
    pub fn park(
        &self,
        namespace: u32,
        unique: u64,
        need: Need,
        waiter: W,
        look: impl FnOnce() -> Reached,
    ) -> Parking<W> {
        match self.join(namespace) {
            Some(crowd) => crowd.park(unique, need, waiter, look),
            None => Parking::Closed(waiter),
        }
    }

    /// Whether a reader with this need has to wait for the next round, even if there is something for it.
    pub fn holds_back(&self, namespace: u32, need: Need) -> bool {
        self.crowd(namespace)
            .is_some_and(|crowd| crowd.holds_back(need))
    }

    /// Has a poller woken once its need is met; one for each number. After the end it is given back. The caller
    /// looks after this: what was committed before wakes nobody.
    pub fn poll(&self, namespace: u32, number: u64, need: Need, poller: P) -> Option<P> {
        match self.join(namespace) {
            Some(crowd) => crowd.poll(number, need, poller),
            None => return Some(poller),
        }
        None
    }

    /// Nobody polls under this number any more.
    pub fn stop_polling(&self, namespace: u32, number: u64) {
        if let Some(crowd) = self.crowd(namespace) {
            crowd.stop_polling(number);
        }
    }

    /// Takes out those whom the thread that has just committed, or has removed the namespace, is to answer. To
    /// be called after each change of what they wait for. If it goes on, [`Parked::slice`] has to be called.
    pub fn news(&self, namespace: u32, look: impl FnOnce() -> Reached) -> Ready<W, P> {
        self.of_crowd(namespace, |crowd| crowd.news(look))
    }

    /// Takes out the next slice of those who are answered in rounds. To be called again, after a pause, as long
    /// as it goes on.
    pub fn slice(&self, namespace: u32, look: impl FnOnce() -> Reached) -> Ready<W, P> {
        self.of_crowd(namespace, |crowd| crowd.slice(look))
    }

    fn of_crowd(
        &self,
        namespace: u32,
        take: impl FnOnce(&Crowd<W, P>) -> Ready<W, P>,
    ) -> Ready<W, P> {
        let Some(crowd) = self.crowd(namespace) else {
            return Ready::nobody();
        };
        let ready = take(&crowd);
        if ready.over {
            // A reader that comes later sees why, and does not wait.
            let mut crowds = self.crowds.write().unwrap_or_else(PoisonError::into_inner);
            crowds.by_namespace.remove(&namespace);
        }
        ready
    }

    /// Takes out the reader of an interrupted request. `None`: it does not wait here (yet); should it come, it is
    /// turned back.
    pub fn interrupt(&self, unique: u64) -> Option<W> {
        let namespace = self.targets.find_or_remember(unique)?;
        match self.crowd(namespace) {
            Some(crowd) => crowd.interrupt(unique),
            None => {
                self.targets.remember(unique);
                None
            }
        }
    }

    /// Takes out the readers of a namespace for whom `leaves` holds. It is asked under a lock.
    pub fn take_if(&self, namespace: u32, leaves: impl FnMut(&W) -> bool) -> Vec<W> {
        self.crowd(namespace)
            .map_or_else(Vec::new, |crowd| crowd.take_if(leaves))
    }

    /// Takes out the readers of all namespaces for whom `leaves` holds. It is asked under a lock.
    pub fn take_any(&self, mut leaves: impl FnMut(&W) -> bool) -> Vec<W> {
        self.all()
            .iter()
            .flat_map(|crowd| crowd.take_if(&mut leaves))
            .collect()
    }

    /// Takes out everybody and lets nobody wait any more.
    pub fn close(&self) -> Ready<W, P> {
        let mut crowds = self.crowds.write().unwrap_or_else(PoisonError::into_inner);
        crowds.closed = true;
        let left = std::mem::take(&mut crowds.by_namespace);
        drop(crowds);
        let mut everybody = Ready::nobody();
        for crowd in left.into_values() {
            let left = crowd.end();
            everybody.readers.extend(left.readers);
            everybody.pollers.extend(left.pollers);
        }
        everybody
    }

    /// How many readers wait.
    pub fn len(&self) -> usize {
        self.all().iter().map(|crowd| crowd.len()).sum()
    }

    /// How many readers wait for a namespace.
    pub fn waiting_for(&self, namespace: u32) -> usize {
        self.crowd(namespace).map_or(0, |crowd| crowd.len())
    }

    /// Whether no reader waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
