//! The engine's only threads: they sync, at the chosen interval, the logs that have been written to. With none
//! they sleep. There are some, so that a log whose disk is slow does not hold up the others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::log::Log;
use crate::locks::lock;

/// So many logs are synced at the same time.
const THREADS: usize = 4;

#[derive(Debug, Default)]
struct Queue {
    /// Each with the time when it is to be synced; the earliest first.
    dirty: VecDeque<(Instant, Arc<Log>)>,
    /// A thread waits for the time of the first one; the others wait for that thread.
    timing: bool,
    stop: bool,
}

/// The logs that wait to be synced.
#[derive(Debug)]
pub(crate) struct SyncQueue {
    interval: Duration,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl SyncQueue {
    /// Puts a log in line, whose first unsynced record has been waiting since then. The caller sees to it that a log
    /// is in line once.
    pub(crate) fn add(&self, log: Arc<Log>, since: Instant) {
        let due = since + self.interval;
        let mut queue = lock(&self.queue);
        if !queue.stop {
            let behind = queue.dirty.iter().rposition(|(other, _)| *other <= due);
            queue
                .dirty
                .insert(behind.map_or(0, |at| at + 1), (due, log));
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Waits for a log whose time has come, the interval after its first unsynced record. `None`: the end.
    fn next(&self) -> Option<Arc<Log>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stop {
                return None;
            }
            let now = Instant::now();
            let first = queue.dirty.front().map(|(due, _)| *due);
            queue = match first {
                Some(due) if due <= now => {
                    let log = queue.dirty.pop_front().map(|(_, log)| log);
                    if !queue.dirty.is_empty() {
                        // Somebody has to look after the next one.
                        self.changed.notify_one();
                    }
                    return log;
                }
                Some(due) if !queue.timing => {
                    queue.timing = true;
                    let woken = self.changed.wait_timeout(queue, due - now);
                    let mut queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                    queue.timing = false;
                    queue
                }
                _ => {
                    let woken = self.changed.wait(queue);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// The threads and their queue. Dropping it ends the threads; what is still dirty is for the logs' own close to
/// sync.
#[derive(Debug)]
pub(crate) struct Syncer {
    queue: Arc<SyncQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(interval: Duration) -> io::Result<Self> {
        let queue = Arc::new(SyncQueue {
            interval,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut syncer = Syncer {
            queue: Arc::clone(&queue),
            threads: Vec::with_capacity(THREADS),
        };
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            let serve = move || {
                while let Some(log) = queue.next() {
                    log.sync_from_queue();
                }
            };
            let name = "immuta-sync".into();
            syncer
                .threads
                .push(thread::Builder::new().name(name).spawn(serve)?);
        }
        Ok(syncer)
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
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
