//! What waits, without a thread, and what answers it.
//!
//! - `parked`: readers and pollers that wait for a record, in a `crowd` for each namespace, `ranked` by what they need;
//!   `targets` finds them for an interrupt; `waiter`: what they are.
//! - `limit`: ends reads that have waited as long as they may.
//! - `far_reads`: reads that wait until it is known where they read.
//! - `later`: reads and questions that wait for the disk; `disk`: answers that wait for a sync.
//! - `store`: appends that wait for their turn.
//! - `looks`: looks at the descriptors of a process.
//! - `one_each`: work of which one thing at a time is done for each namespace, or process.

mod crowd;
mod disk;
mod far_reads;
mod later;
mod limit;
mod looks;
mod one_each;
pub mod parked;
mod ranked;
mod store;
mod targets;
mod waiter;

// What `parked`, and what it is made of, locks with. The tests put loom's in its place and explore every order of its
// threads.
use crate::fs::locks;

pub(crate) use disk::DiskQueue;
pub(crate) use far_reads::MeasureQueue;
pub(crate) use later::Later;
pub(crate) use limit::WaitLimit;
pub(crate) use looks::Looks;
pub(crate) use parked::{Parked, Parking, Ready};
pub(crate) use store::StoreQueue;
pub(crate) use waiter::{Poller, Waiter};
