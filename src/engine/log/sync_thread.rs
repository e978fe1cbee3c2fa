//! The threads that sync, at the chosen interval, the logs that have been written to. While there are none,
//! they sleep. There are several threads, so that a log with a slow disk does not hold up the other logs.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::log::Log;
use crate::locks::{Condvar, Mutex, lock, wait, wait_timeout};

/// How many logs are synced at the same time.
const THREADS: usize = 4;

#[derive(Debug, Default)]
struct Queue {
    /// Logs to be synced, each with the time when it is due; the earliest first.
    due: VecDeque<(Instant, Arc<Log>)>,
    /// Whether a thread sleeps until the first log is due. The other threads then sleep until they are notified.
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
    /// Adds a log whose first unsynced record was written at `since`. The caller sees to it that a log is in the queue once
    /// only.
    pub(crate) fn add(&self, log: Arc<Log>, since: Instant) {
        let due = since + self.interval;
        let mut queue = lock(&self.queue);
        if !queue.stop {
            let behind = queue.due.iter().rposition(|(other, _)| *other <= due);
            queue.due.insert(behind.map_or(0, |at| at + 1), (due, log));
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Waits for a log that is due: the interval is over since its first unsynced record. `None`: the threads are to end.
    fn next(&self) -> Option<Arc<Log>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stop {
                return None;
            }
            let now = Instant::now();
            let first = queue.due.front().map(|(due, _)| *due);
            queue = match first {
                Some(due) if due <= now => {
                    let log = queue.due.pop_front().map(|(_, log)| log);
                    if !queue.due.is_empty() {
                        // This thread goes to sync: another one has to wait for the next log.
                        self.changed.notify_one();
                    }
                    return log;
                }
                Some(due) if !queue.timing => {
                    queue.timing = true;
                    let mut queue = wait_timeout(&self.changed, queue, due - now);
                    queue.timing = false;
                    queue
                }
                _ => wait(&self.changed, queue),
            };
        }
    }
}

/// The threads and their queue. Dropping it ends the threads; logs that are still in the queue are synced when they are
/// closed.
#[derive(Debug)]
pub(crate) struct SyncThreads {
    queue: Arc<SyncQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl SyncThreads {
    pub(crate) fn start(interval: Duration) -> io::Result<Self> {
        let queue = Arc::new(SyncQueue {
            interval,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut all = SyncThreads {
            queue: Arc::clone(&queue),
            threads: Vec::with_capacity(THREADS),
        };
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            let serve = move || {
                while let Some(log) = queue.next() {
                    log.sync_queued();
                }
            };
            let name = "immuta-sync".into();
            all.threads
                .push(thread::Builder::new().name(name).spawn(serve)?);
        }
        Ok(all)
    }

    pub(crate) fn queue(&self) -> Arc<SyncQueue> {
        Arc::clone(&self.queue)
    }
}

impl Drop for SyncThreads {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue.queue);
        queue.stop = true;
        let due = std::mem::take(&mut queue.due);
        drop(queue);
        drop(due);
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
