//! Locks. `wait::parked`, and what it is made of, names them through its wing: the tests put loom's in their place and
//! explore every order of its threads.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Locks state that stays whole when a thread panics while it holds the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
