//! Answers that wait for the disk, without a thread for each.
//!
//! A write under `--sync always`, a write with O_DSYNC, an fsync: each is queued here with its answer, and a thread syncs.
//! Requests that arrive during a sync share the next one; the threads that serve the mount never wait for the disk.
//! Namespaces are synced beside each other: one whose sync takes long holds up itself.

use std::sync::Arc;

use super::one_each::OneEach;
use crate::fs::errno::Errno;
use crate::fs::namespace::MountedLog;
use crate::fs::pool::Pool;

/// The most namespaces that are synced at the same time. More would not be faster; slow ones must leave threads for others.
const MOST_SYNCS: usize = 64;

/// Takes what became of the sync.
type Answer = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// Is told of a namespace that was synced.
type Notify = Box<dyn Fn(&Arc<MountedLog>) + Send + Sync>;

/// The answers that wait, by the namespace that they wait for.
pub(crate) struct DiskQueue {
    waiting: OneEach<u32, Answer>,
    threads: Arc<Pool>,
    notify: Notify,
}

impl DiskQueue {
    /// `notify` is called after each sync, when its answers are given: with `--sync always` it is the sync that commits, so
    /// readers have something new.
    pub(crate) fn new(notify: impl Fn(&Arc<MountedLog>) + Send + Sync + 'static) -> Arc<DiskQueue> {
        Arc::new(DiskQueue {
            waiting: OneEach::default(),
            threads: Pool::new("durable", MOST_SYNCS),
            notify: Box::new(notify),
        })
    }

    /// Queues an answer. What it is to wait for has been written before.
    pub(crate) fn push(
        self: &Arc<Self>,
        namespace: &Arc<MountedLog>,
        answer: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        if self.waiting.push(namespace.id(), Box::new(answer)) {
            self.send_in(namespace);
        }
    }

    fn send_in(self: &Arc<Self>, namespace: &Arc<MountedLog>) {
        let (queue, namespace) = (Arc::clone(self), Arc::clone(namespace));
        let about = Some(namespace.id());
        self.threads
            .run(about, Box::new(move || queue.serve(&namespace)));
    }

    /// Syncs a namespace once, and gives the answers that waited when the sync began. Answers that were queued during the
    /// sync are served after the other namespaces that wait for a thread.
    fn serve(self: &Arc<Self>, namespace: &Arc<MountedLog>) {
        let id = namespace.id();
        let served = self.waiting.take_all(&id);
        let result = namespace.log.sync().map_err(Errno::from);
        for answer in served {
            answer(result.clone());
        }
        if self.waiting.done(&id, |_| ()).is_some() {
            self.send_in(namespace);
        }
        (self.notify)(namespace);
    }

    /// The threads end once nobody waits.
    pub(crate) fn close(&self) {
        self.threads.close();
    }
}
