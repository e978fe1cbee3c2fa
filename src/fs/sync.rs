//! What `parked`, and what it is made of, locks with. `tests/parked.rs` puts loom's in its place and explores every
//! order of its threads.

pub(super) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
