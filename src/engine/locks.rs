//! The locks that the engine's waiting is made of, in one place: `tests/loom` puts loom's in their place and goes through
//! every order of the threads.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks. A panic of one holder says nothing about the data here: every change is made by a single assignment.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
