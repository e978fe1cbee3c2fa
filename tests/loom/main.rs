//! What waits and wakes: small sources of the library, with loom's locks in place of the standard library's, in every
//! order in which their threads can run.

#![allow(clippy::unwrap_used)]

mod explore;
mod group_commit;
mod inbox;
mod parked;
mod signal;

use immuta_fs::fs; // The sources name it, and the two modules below.
mod segment {
    pub(crate) use immuta::State;
}
mod locks {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use loom::thread;
    pub(crate) use std::sync::PoisonError;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_timeout<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        timeout: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        let woken = condvar.wait_timeout(guard, timeout);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The sources with loom's locks.
#[allow(dead_code, unreachable_pub)] // The library uses all of them.
#[path = "../../src"]
mod explored {
    use crate::locks;

    #[path = "fs/wait/crowd.rs"]
    mod crowd;
    #[path = "engine/log/group.rs"]
    pub(crate) mod group;
    #[path = "fs/inbox.rs"]
    pub(crate) mod inbox;
    #[path = "fs/wait/parked.rs"]
    pub(crate) mod parked;
    #[path = "fs/pool.rs"]
    pub(crate) mod pool;
    #[path = "fs/wait/ranked.rs"]
    mod ranked;
    #[path = "engine/log/signal.rs"]
    pub(crate) mod signal;
    #[path = "fs/wait/targets.rs"]
    mod targets;
}
