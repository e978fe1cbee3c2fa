//! Group commit: many wait for the disk, one at a time goes there, for all of them.

use crate::locks::lock;
use crate::locks::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many records are on the disk, and whether somebody is bringing it further.
#[derive(Debug, Default)]
struct Synced {
    count: u64,
    running: bool,
}

/// Those who wait for records to be on the disk.
#[derive(Debug, Default)]
pub(crate) struct Group {
    synced: Mutex<Synced>,
    ended: Condvar,
}

impl Group {
    /// With so many records on the disk.
    pub(crate) fn new(count: u64) -> Self {
        Group {
            synced: Mutex::new(Synced {
                count,
                running: false,
            }),
            ended: Condvar::new(),
        }
    }

    /// How many records are known to be on the disk. Waits for nobody.
    pub(crate) fn synced(&self) -> u64 {
        lock(&self.synced).count
    }

    /// Returns when the first `target` records are on the disk, or with the error of `check`. One caller
    /// calls `sync`, which returns how many are there then, with no lock held; those who come meanwhile wait,
    /// and the first of them that is still not served does the next one, for all of them.
    pub(crate) fn through<E>(
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
            synced = self.wait(synced);
        }
        synced.running = true;
        drop(synced);
        let result = sync();
        let mut synced = lock(&self.synced);
        if let Ok(count) = result {
            synced.count = count;
        }
        synced.running = false;
        drop(synced);
        self.ended.notify_all();
        result.map(drop)
    }

    /// Calls `f` with the number of records on the disk, to be raised, while nobody else syncs or begins to, and with no lock
    /// held.
    pub(crate) fn alone<T>(&self, f: impl FnOnce(&mut u64) -> T) -> T {
        let mut synced = lock(&self.synced);
        while synced.running {
            synced = self.wait(synced);
        }
        synced.running = true;
        let mut count = synced.count;
        drop(synced);
        let result = f(&mut count);
        let mut synced = lock(&self.synced);
        synced.count = count;
        synced.running = false;
        drop(synced);
        self.ended.notify_all();
        result
    }

    fn wait<'a>(&self, synced: MutexGuard<'a, Synced>) -> MutexGuard<'a, Synced> {
        self.ended
            .wait(synced)
            .unwrap_or_else(PoisonError::into_inner)
    }
}
