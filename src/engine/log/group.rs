//! Group commit: many callers wait for the disk, and one sync at a time serves all of them.

use crate::locks::{Condvar, Mutex, lock, wait};

/// How many records are on the disk, and whether a sync is running.
#[derive(Debug, Default)]
struct Synced {
    count: u64,
    running: bool,
}

/// The callers that wait for records to be on the disk.
#[derive(Debug, Default)]
pub(crate) struct Group {
    synced: Mutex<Synced>,
    ended: Condvar,
}

impl Group {
    /// A group with the first `count` records on the disk.
    pub(crate) fn new(count: u64) -> Self {
        Group {
            synced: Mutex::new(Synced {
                count,
                running: false,
            }),
            ended: Condvar::new(),
        }
    }

    /// How many records are known to be on the disk. Does not wait for a sync.
    pub(crate) fn synced(&self) -> u64 {
        lock(&self.synced).count
    }

    /// Returns when the first `target` records are on the disk, or with the error of `check`.
    ///
    /// One caller at a time runs `sync`, with no lock held; `sync` returns how many records are on the disk. Requests that
    /// arrive during a sync share the next one: the first caller that still waits for more runs it.
    pub(crate) fn wait_synced<E>(
        &self,
        target: u64,
        check: impl Fn() -> Result<(), E>,
        sync: impl FnOnce() -> Result<u64, E>,
    ) -> Result<(), E> {
        let mut synced = lock(&self.synced);
        loop {
            if synced.count >= target {
                return Ok(());
            }
            check()?;
            if !synced.running {
                break;
            }
            synced = wait(&self.ended, synced);
        }
        synced.running = true;
        drop(synced);
        let result = sync();
        let mut synced = lock(&self.synced);
        if let Ok(count) = result {
            debug_assert!(synced.count <= count, "fewer records on the disk");
            synced.count = count;
        }
        synced.running = false;
        drop(synced);
        self.ended.notify_all();
        result.map(drop)
    }

    /// Calls `f` while no sync runs and none begins, with no lock held. `f` gets the number of records on the disk, and may
    /// raise it.
    pub(crate) fn while_idle<T>(&self, f: impl FnOnce(&mut u64) -> T) -> T {
        let mut synced = lock(&self.synced);
        while synced.running {
            synced = wait(&self.ended, synced);
        }
        synced.running = true;
        let mut count = synced.count;
        drop(synced);
        let result = f(&mut count);
        let mut synced = lock(&self.synced);
        debug_assert!(synced.count <= count, "fewer records on the disk");
        synced.count = count;
        synced.running = false;
        drop(synced);
        self.ended.notify_all();
        result
    }
}
