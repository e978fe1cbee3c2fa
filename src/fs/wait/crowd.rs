//! The readers and pollers that wait for one namespace, and the gate that paces them when they are many.
//!
//! An append answers the first few readers itself, which is the fastest. The rest are answered in *rounds*, by
//! one thread for the whole mount, in slices with pauses between them: thousands of readers that are answered at
//! once would all read again at once, and stand in front of the writer in the kernel's queue.
//!
//! A round shows its readers the log up to the *gate*: the state of the log when the round began. While there is
//! a gate, a read that would wait at the gate waits, even if there is more: so a reader takes part in one round
//! and comes back for the next.
//!
//! A reader that is behind the gate has something to read all the time. A thousand of these, each answered at once,
//! would stand in front of the writer as well. While rounds go on, they are answered a few with each slice, in the
//! order in which they came; when nothing is appended any more, at once.
//!
//! No wake-up is lost, since "a reader waits, and there is something for it" implies "the namespace is queued for
//! a round that has not begun, or a round is under way". Each side looks at the state of the log under the lock
//! of the crowd, never before: an append commits first and then takes the lock. Either the append takes the lock
//! before the round does, and the round sees its commit; or after, and the append sees the gate and asks for
//! another round.

use std::sync::Arc;

use super::locks::{Mutex, MutexGuard, PoisonError};
use super::ranked::Ranked;
use super::targets::Targets;
use crate::fs::namespace::{Need, Reached};

/// How many readers are answered by whom.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many readers the thread of the append answers itself.
    pub inline: usize,
    /// A round that answers fewer readers ends the gate.
    pub crowd: usize,
    /// How many readers are answered before the next pause.
    pub slice: usize,
}

impl Pace {
    /// How many readers behind the gate are answered with a slice: what they get is long.
    fn slice_behind(self) -> usize {
        (self.slice / 4).max(1)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            inline: 4,
            crowd: 4,
            slice: 32,
        }
    }
}

/// The waiters of one namespace.
#[derive(Debug)]
pub(crate) struct Crowd<W, P> {
    namespace: u32,
    targets: Arc<Targets>,
    pace: Pace,
    inner: Mutex<Inner<W, P>>,
}

#[derive(Debug)]
struct Inner<W, P> {
    /// The mount is on its way out: nobody waits any more.
    ended: bool,
    readers: Ranked<W>,
    /// Readers that are behind the gate, as they came. Nobody is among them while the namespace is not queued.
    behind: Ranked<W>,
    pollers: Ranked<P>,
    /// How far the crowd has been shown the log; `None`: there is no crowd.
    gate: Option<Reached>,
    /// The thread that serves rounds has been told of this namespace and has not let it go.
    queued: bool,
    /// Something was committed that the next round is to show.
    wanted: bool,
    /// Something was committed since the last slice.
    appended: bool,
    /// A round has begun: how many readers it has answered.
    under_way: Option<usize>,
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

/// Whom to answer.
#[derive(Debug)]
pub struct Ready<W, P> {
    /// Readers that have something to read.
    pub readers: Vec<W>,
    /// Pollers to be woken.
    pub pollers: Vec<P>,
    /// After an append: the thread that serves rounds has to be told. In a round: it has to come again.
    pub goes_on: bool,
    /// In a round: something was committed since the last slice. The writer is to get the CPU before the next one.
    pub appended: bool,
    /// The namespace was removed, or the mount ends: these were all, and there will be no more.
    pub over: bool,
}

impl<W, P> Ready<W, P> {
    pub(crate) fn nobody() -> Self {
        Ready {
            readers: Vec::new(),
            pollers: Vec::new(),
            goes_on: false,
            appended: false,
            over: false,
        }
    }
}

impl<W, P> Crowd<W, P> {
    pub(crate) fn new(namespace: u32, targets: Arc<Targets>, pace: Pace) -> Self {
        Crowd {
            namespace,
            targets,
            pace,
            inner: Mutex::new(Inner {
                ended: false,
                readers: Ranked::default(),
                behind: Ranked::default(),
                pollers: Ranked::default(),
                gate: None,
                queued: false,
                wanted: false,
                appended: false,
                under_way: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<W, P>> {
        // No code that can panic runs under this lock but the caller's `look`; the maps are whole all the same.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, taken: Vec<(u64, W)>) -> Vec<W> {
        let leave = |(unique, waiter)| {
            self.targets.remove(unique);
            waiter
        };
        taken.into_iter().map(leave).collect()
    }

    /// Parks a reader unless there is something for it, and it need not wait for its turn. `look` says how far the log
    /// has come; it is called under the lock: it must be quick and must not come back here.
    pub(crate) fn park(
        &self,
        unique: u64,
        need: Need,
        waiter: W,
        look: impl FnOnce() -> Reached,
    ) -> Parking<W> {
        let mut inner = self.lock();
        if inner.ended {
            return Parking::Closed(waiter);
        }
        let now = look();
        let is_met = inner.gate.unwrap_or(now).meets(need);
        let is_behind = is_met && inner.paces_those_behind();
        if now.closed || is_met && !is_behind {
            return Parking::Ready(waiter);
        }
        if !self.targets.add(unique, self.namespace) {
            return Parking::Interrupted(waiter);
        }
        if is_behind {
            inner.behind.insert(unique, Need::News, waiter);
        } else {
            inner.readers.insert(unique, need, waiter);
        }
        Parking::Parked
    }

    /// Whether a reader with this need has to wait for the next round, or for its turn, even if there is something for
    /// it.
    pub(crate) fn holds_back(&self, need: Need) -> bool {
        let inner = self.lock();
        inner.paces_those_behind() || inner.gate.is_some_and(|gate| !gate.meets(need))
    }

    /// Has a poller woken once its need is met. One poller for each number.
    pub(crate) fn poll(&self, number: u64, need: Need, poller: P) {
        let before = self.lock().pollers.insert(number, need, poller);
        drop(before); // not under the lock: it may be anything
    }

    /// Nobody polls under this number any more.
    pub(crate) fn stop_polling(&self, number: u64) {
        let gone = self.lock().pollers.remove(number);
        drop(gone);
    }

    /// After a commit, or a removal of the namespace: takes out those whom its thread is to answer itself.
    pub(crate) fn news(&self, look: impl FnOnce() -> Reached) -> Ready<W, P> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let now = look();
        if now.closed {
            return self.everybody(inner);
        }
        inner.appended = true;
        let readers = if inner.gate.is_none() {
            let mut first = inner.readers.take_met(&now, self.pace.inline);
            // Whatever they need: the first request first.
            first.sort_unstable_by_key(|&(unique, _)| unique);
            self.leave(first)
        } else {
            Vec::new()
        };
        let pollers = unnumbered(inner.pollers.take_met(&now, self.pace.inline));
        // With a gate, also if nobody waits: a reader that comes now waits for the next round.
        let wanted =
            inner.gate.is_some() || inner.readers.any_met(&now) || inner.pollers.any_met(&now);
        inner.wanted |= wanted;
        let tell = wanted && !inner.queued;
        inner.queued |= tell;
        Ready {
            readers,
            pollers,
            goes_on: tell,
            appended: true,
            over: false,
        }
    }

    /// The next slice of a round, or the first one of a new round. To be called again after a pause as long as
    /// it goes on, also if there was nobody to answer.
    pub(crate) fn slice(&self, look: impl FnOnce() -> Reached) -> Ready<W, P> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let now = look();
        if now.closed || inner.ended {
            return self.everybody(inner);
        }
        let answered = match inner.under_way {
            Some(answered) => answered,
            None if inner.wanted => {
                inner.wanted = false;
                inner.gate = Some(now);
                0
            }
            None => return self.between_rounds(inner),
        };
        let shown = inner.gate.unwrap_or(now);
        let mut readers = inner.readers.take_met(&shown, self.pace.slice);
        readers.extend(inner.take_behind(self.pace));
        let pollers = unnumbered(inner.pollers.take_met(&now, self.pace.slice));
        let answered = answered + readers.len();
        if inner.readers.any_met(&shown) || inner.pollers.any_met(&now) {
            inner.under_way = Some(answered);
        } else {
            inner.under_way = None;
            if answered < self.pace.crowd && inner.behind.is_empty() {
                // No crowd: readers that came meanwhile see all there is, and the next append answers by itself.
                inner.gate = None;
                readers.extend(inner.readers.take_met(&now, self.pace.slice));
                inner.wanted = inner.readers.any_met(&now);
            }
        }
        Ready {
            readers: self.leave(readers),
            pollers,
            goes_on: true,
            appended: std::mem::take(&mut inner.appended),
            over: false,
        }
    }

    /// The next of those that are behind the gate, while there is no round. Without any, nobody serves rounds from here
    /// on.
    fn between_rounds(&self, inner: &mut Inner<W, P>) -> Ready<W, P> {
        inner.queued = !inner.behind.is_empty();
        Ready {
            readers: self.leave(inner.take_behind(self.pace)),
            goes_on: inner.queued,
            appended: std::mem::take(&mut inner.appended),
            ..Ready::nobody()
        }
    }

    fn everybody(&self, inner: &mut Inner<W, P>) -> Ready<W, P> {
        inner.gate = None;
        inner.under_way = None;
        inner.wanted = false;
        inner.queued = false;
        let mut readers = inner.readers.take_if(|_| true);
        readers.extend(inner.behind.take_if(|_| true));
        Ready {
            readers: self.leave(readers),
            pollers: unnumbered(inner.pollers.take_if(|_| true)),
            goes_on: false,
            appended: false,
            over: true,
        }
    }

    /// Takes out the reader of an interrupted request. `None`: it does not wait now; should it wait again, it is
    /// turned back.
    pub(crate) fn interrupt(&self, unique: u64) -> Option<W> {
        let mut inner = self.lock();
        let waiter = inner.readers.remove(unique);
        let waiter = waiter.or_else(|| inner.behind.remove(unique));
        // Under the lock: a reader that is parked again comes after this.
        match waiter {
            Some(_) => self.targets.remove(unique),
            None => self.targets.remember(unique),
        }
        waiter
    }

    /// Takes out the readers for whom `leaves` holds. It is asked under the lock.
    pub(crate) fn take_if(&self, mut leaves: impl FnMut(&W) -> bool) -> Vec<W> {
        let mut inner = self.lock();
        let mut taken = inner.readers.take_if(&mut leaves);
        taken.extend(inner.behind.take_if(leaves));
        drop(inner);
        self.leave(taken)
    }

    /// Takes out everybody and lets nobody wait any more.
    pub(crate) fn end(&self) -> Ready<W, P> {
        let mut guard = self.lock();
        guard.ended = true;
        self.everybody(&mut guard)
    }

    /// How many readers wait.
    pub(crate) fn len(&self) -> usize {
        let inner = self.lock();
        inner.readers.len() + inner.behind.len()
    }
}

impl<W, P> Inner<W, P> {
    /// Whether somebody serves rounds, and answers in them those that are behind the gate.
    fn paces_those_behind(&self) -> bool {
        self.queued && self.gate.is_some()
    }

    /// The next of those that are behind the gate.
    fn take_behind(&mut self, pace: Pace) -> Vec<(u64, W)> {
        // What they need has been there since they came.
        self.behind.take_met(&Reached::NOTHING, pace.slice_behind())
    }
}

fn unnumbered<P>(numbered: Vec<(u64, P)>) -> Vec<P> {
    numbered.into_iter().map(|(_, poller)| poller).collect()
}
