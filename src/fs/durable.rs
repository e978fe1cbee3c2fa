//! Answers that wait for the disk, without a thread for each.
//!
//! A write under `--sync always`, a write with O_DSYNC, an fsync: each is put in line here with its answer,
//! and one thread syncs. Whoever comes while a sync runs is served by the next one, together with all others
//! who came meanwhile; the threads that serve the mount never wait for the disk.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::errno::Errno;
use super::handle::lock;
use super::{DoneReply, Fs, Namespace, Transport, WriteReply};

/// An answer that waits for the disk.
pub(super) enum Pending<T: Transport> {
    Write {
        bytes: u32,
        reply: T::Write,
    },
    Done(T::Done),
    /// A record that nobody waits for; with `--sync always` it is seen only when it is on the disk.
    Nobody,
}

impl<T: Transport> Pending<T> {
    fn answer(self, result: Result<(), Errno>) {
        match (self, result) {
            (Pending::Write { bytes, reply }, Ok(())) => reply.written(bytes),
            (Pending::Write { reply, .. }, Err(errno)) => reply.error(errno),
            (Pending::Done(reply), Ok(())) => reply.done(),
            (Pending::Done(reply), Err(errno)) => reply.error(errno),
            (Pending::Nobody, _) => {}
        }
    }
}

/// Those who wait, by the namespace that they wait for.
pub(super) struct Line<T: Transport> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T: Transport> {
    closed: bool,
    waiting: HashMap<u32, (Arc<Namespace>, Vec<Pending<T>>)>,
}

impl<T: Transport> Default for Line<T> {
    fn default() -> Self {
        let state = State {
            closed: false,
            waiting: HashMap::new(),
        };
        Line {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T: Transport> Line<T> {
    /// Puts an answer in line. What it is to wait for has been written before.
    pub(super) fn push(&self, namespace: &Arc<Namespace>, pending: Pending<T>) {
        let mut state = lock(&self.state);
        let (_, waiting) = state
            .waiting
            .entry(namespace.id())
            .or_insert_with(|| (namespace.clone(), Vec::new()));
        waiting.push(pending);
        drop(state);
        self.changed.notify_one();
    }

    /// Lets the thread end once nobody waits.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    /// Serves until [`Line::close`].
    pub(super) fn serve(&self, fs: &Weak<Fs<T>>) {
        loop {
            let mut state = lock(&self.state);
            while state.waiting.is_empty() {
                if state.closed {
                    return;
                }
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            for (namespace, pending) in waiting.into_values() {
                let result = namespace.log.sync().map_err(Errno::from);
                for pending in pending {
                    if result.is_err() && matches!(pending, Pending::Write { .. }) {
                        namespace.refuse_write();
                    }
                    pending.answer(result);
                }
                // With `--sync always` it is the sync that commits. The writers have their answer: now the
                // readers.
                if let Some(fs) = fs.upgrade() {
                    fs.grew(&namespace);
                }
            }
        }
    }
}
