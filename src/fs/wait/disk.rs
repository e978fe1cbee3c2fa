//! Answers that wait for the disk, without a thread for each.
//!
//! A write under `--sync always`, a write with O_DSYNC, an fsync: each is put in line here with its answer, and a
//! thread syncs. Whoever comes while a sync runs is served by the next one, together with all others who came
//! meanwhile; the threads that serve the mount never wait for the disk. Namespaces are synced beside each other: one
//! whose sync takes long holds up itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::pool::Pool;
use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::{Reply, Transport};

/// So many namespaces are synced at the same time. More would not be faster, but those that take long are to leave threads
/// for the others.
const MOST_SYNCS: usize = 64;

/// An answer that waits for the disk.
pub(crate) enum Pending<T: Transport> {
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
        match self {
            Pending::Write { bytes, reply } => reply.answer(result.map(|()| bytes)),
            Pending::Done(reply) => reply.answer(result),
            Pending::Nobody => {}
        }
    }
}

/// Those who wait, by the namespace that they wait for. A namespace is in it as long as a thread is on its way there,
/// or syncs it.
pub(crate) struct DiskQueue<T: Transport> {
    waiting: Mutex<HashMap<u32, Vec<Pending<T>>>>,
    threads: Arc<Pool>,
}

impl<T: Transport> Default for DiskQueue<T> {
    fn default() -> Self {
        DiskQueue {
            waiting: Mutex::default(),
            threads: Pool::new("durable", MOST_SYNCS),
        }
    }
}

impl<T: Transport> DiskQueue<T> {
    /// Puts an answer in line. What it is to wait for has been written before.
    pub(crate) fn push(&self, fs: &Fs<T>, namespace: &Arc<MountedLog>, pending: Pending<T>) {
        match lock(&self.waiting).entry(namespace.id()) {
            Entry::Occupied(mut waiting) => return waiting.get_mut().push(pending),
            Entry::Vacant(nobody) => nobody.insert(vec![pending]),
        };
        self.send_in(fs, namespace);
    }

    fn send_in(&self, fs: &Fs<T>, namespace: &Arc<MountedLog>) {
        let Some(fs) = fs.myself.upgrade() else {
            return;
        };
        let (about, namespace) = (Some(namespace.id()), Arc::clone(namespace));
        self.threads
            .run(about, Box::new(move || fs.durable.serve(&fs, &namespace)));
    }

    /// The threads end once nobody waits.
    pub(crate) fn close(&self) {
        self.threads.close();
    }

    /// Syncs a namespace once, and answers those who waited for it when that began. Who has come meanwhile is served
    /// behind the other namespaces that wait for a thread.
    fn serve(&self, fs: &Fs<T>, namespace: &Arc<MountedLog>) {
        let id = namespace.id();
        let served = lock(&self.waiting).get_mut(&id).map(std::mem::take);
        let result = namespace.log.sync().map_err(Errno::from);
        for pending in served.into_iter().flatten() {
            if result.is_err() && !matches!(pending, Pending::Done(_)) {
                namespace.refuse_write();
            }
            pending.answer(result);
        }
        let mut waiting = lock(&self.waiting);
        let is_done = waiting.get(&id).is_none_or(Vec::is_empty);
        if is_done {
            waiting.remove(&id);
        }
        drop(waiting);
        if !is_done {
            self.send_in(fs, namespace);
        }
        // With `--sync always` it is the sync that commits. The writers have their answer: now the readers.
        fs.notify_readers(namespace);
    }
}
