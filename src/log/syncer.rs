//! The engine's only thread: it syncs, at the chosen interval, the logs that have been written to. With none
//! it sleeps.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Log;
use super::signal::lock;

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Log>>,
    stop: bool,
}

/// The logs that wait to be synced.
#[derive(Debug, Default)]
pub(crate) struct SyncQueue {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl SyncQueue {
    /// Puts a log in line. The caller sees to it that a log is in line once.
    pub(crate) fn add(&self, log: Arc<Log>) {
        let mut queue = lock(&self.queue);
        if !queue.stop {
            queue.dirty.push(log);
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Waits for dirt, then for the interval, so that a log is synced that long after its first unsynced
    /// record. `None`: the end.
    fn next(&self, interval: Duration) -> Option<Vec<Arc<Log>>> {
        let mut queue = lock(&self.queue);
        while queue.dirty.is_empty() && !queue.stop {
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let (mut queue, _) = self
            .changed
            .wait_timeout_while(queue, interval, |queue| !queue.stop)
            .unwrap_or_else(PoisonError::into_inner);
        (!queue.stop).then(|| std::mem::take(&mut queue.dirty))
    }
}

/// The thread and its queue. Dropping it ends the thread; what is still dirty is for the logs' own close to
/// sync.
#[derive(Debug)]
pub(crate) struct Syncer {
    queue: Arc<SyncQueue>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(interval: Duration) -> io::Result<Self> {
        let queue = Arc::new(SyncQueue::default());
        let thread = thread::Builder::new().name("immuta-sync".into()).spawn({
            let queue = Arc::clone(&queue);
            move || {
                while let Some(logs) = queue.next(interval) {
                    for log in logs {
                        log.sync_from_queue();
                    }
                }
            }
        })?;
        Ok(Syncer {
            queue,
            thread: Some(thread),
        })
    }

    pub(crate) fn queue(&self) -> Arc<SyncQueue> {
        Arc::clone(&self.queue)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue.queue);
        queue.stop = true;
        let dirty = std::mem::take(&mut queue.dirty);
        drop(queue);
        drop(dirty);
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
