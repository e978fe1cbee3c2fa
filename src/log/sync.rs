//! The locks that the engine's waiting is made of, in one place: `tests/signal.rs` puts loom's in their place
//! and goes through every order of the threads.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
