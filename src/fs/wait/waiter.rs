//! Readers and pollers that wait.

use std::sync::Arc;
use std::time::Instant;

use crate::fs::handles::Handle;
use crate::fs::transport::{ReadRequest, Transport};

/// A program that polls an open file.
pub(crate) struct Poller<T: Transport> {
    /// Number of the open file.
    pub(crate) fh: u64,
    pub(crate) handle: Arc<Handle>,
    pub(crate) waker: T::Poll,
}

/// A read that waits.
pub(crate) struct Waiter<T: Transport> {
    pub(crate) handle: Arc<Handle>,
    pub(crate) request: ReadRequest,
    /// When it has waited as long as it may.
    pub(crate) deadline: Option<Instant>,
    pub(crate) reply: T::Read,
}
