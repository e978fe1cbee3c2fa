//! What waits and wakes: small sources of the library, with loom's locks in place of the standard library's, in every
//! order in which their threads can run.

#![allow(clippy::unwrap_used)]

mod group_commit;
mod parked;
mod signal;

use immuta::fs; // The sources name it.

/// The sources with loom's locks. What they share is one module here, as it is there: each finds `sync` beside itself.
#[allow(dead_code, unreachable_pub)] // The library uses all of them.
#[path = "../../src"]
mod explored {
    mod locks {
        pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock};
        pub(crate) use std::sync::PoisonError;
    }
    use locks as sync;

    #[path = "fs/wait/crowd.rs"]
    mod crowd;
    #[path = "log/group.rs"]
    pub(crate) mod group;
    #[path = "fs/wait/parked.rs"]
    pub(crate) mod parked;
    #[path = "fs/wait/ranked.rs"]
    mod ranked;
    #[path = "log/signal.rs"]
    pub(crate) mod signal;
    #[path = "fs/wait/targets.rs"]
    mod targets;
}

/// A source as it is, which the library does not show.
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // The same file as above, with other locks.
#[path = "../../src"]
mod plain {
    mod sync {
        pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    }

    #[path = "log/signal.rs"]
    pub(crate) mod signal;
}
