//! Changes of rights, on one thread: each is written to the disk, and answered when nobody believes the old
//! rights any more. The threads that serve the mount wait for neither, whoever changes rights and how often.
//!
//! This thread waits for the disk and the time, and for nothing that a call to the mount may hold: so it ends
//! each wait, in whatever order processes take the kernel's locks.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::transport::{Reply, Transport};
use crate::fs::tree::{Attr, Node, SetAttr};

/// Those who wait for their changes.
pub(crate) struct RightsQueue<T: Transport> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T: Transport> {
    closed: bool,
    asked: VecDeque<RightsRequest<T>>,
    made: Vec<DelayedReply<T>>,
}

/// A change to be made.
pub(crate) struct RightsRequest<T: Transport> {
    pub(crate) node: Node,
    pub(crate) change: SetAttr,
    pub(crate) reply: T::Attr,
}

/// One that is made, to be answered at a time.
struct DelayedReply<T: Transport> {
    at: Instant,
    attr: Attr,
    reply: T::Attr,
}

impl<T: Transport> Default for RightsQueue<T> {
    fn default() -> Self {
        let state = State {
            closed: false,
            asked: VecDeque::new(),
            made: Vec::new(),
        };
        RightsQueue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T: Transport> RightsQueue<T> {
    /// Has a change made and answered. Gives it back when that is over.
    pub(crate) fn push(&self, asked: RightsRequest<T>) -> Result<(), RightsRequest<T>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(asked);
        }
        state.asked.push_back(asked);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// What was asked for is still made; nobody waits for a time any more.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    /// Serves until [`RightsQueue::close`].
    pub(crate) fn serve(&self, fs: &Weak<Fs<T>>) {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            let closed = state.closed;
            let over: Vec<_> = state
                .made
                .extract_if(.., |made| closed || made.at <= now)
                .collect();
            let asked = state.asked.pop_front();
            if asked.is_some() || !over.is_empty() {
                drop(state);
                for made in over {
                    made.reply.answer(Ok(made.attr));
                }
                let made = asked.and_then(|asked| make(fs, asked));
                state = lock(&self.state);
                state.made.extend(made);
            } else if closed {
                return;
            } else if let Some(at) = state.made.iter().map(|made| made.at).min() {
                let waited = self.changed.wait_timeout(state, at - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Makes a change, and answers it unless there is a time to wait for.
fn make<T: Transport>(fs: &Weak<Fs<T>>, asked: RightsRequest<T>) -> Option<DelayedReply<T>> {
    let RightsRequest {
        node,
        change,
        reply,
    } = asked;
    let fs = fs.upgrade().ok_or(Errno::ESTALE);
    match fs.and_then(|fs| fs.change_rights(node, &change)) {
        Ok((attr, Some(at))) => return Some(DelayedReply { at, attr, reply }),
        Ok((attr, None)) => reply.answer(Ok(attr)),
        Err(errno) => reply.answer(Err(errno)),
    }
    None
}
