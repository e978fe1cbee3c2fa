//! One log: its only writer, its readers, and the threads and locks between them.
//!
//! - `log`: the log itself, with a drawing of its counts; `writer`: what an append writes, and where it is written;
//! - `append`: one append and its options; `append_stream`: a record of any size; `append_copies`: what another log holds;
//!   `transaction`: many records that become visible at once; `stamp`: the time that each record gets;
//! - `commit`: what is written becomes part of the log; `undo`: the way back when a write fails; `close`: the end;
//! - `durability`: syncing; `group`: callers that share a sync; `sync_thread`: syncs at an interval; `unsynced`: since when
//!   records wait for one;
//! - `signal`: what is committed, and who is woken by more; `read`: records by number, index and time; `stream`: record after
//!   record, waiting at the end; `follow`: what another process appends; `verify`: a look at every byte.

mod append;
mod append_copies;
mod append_stream;
mod close;
mod commit;
mod durability;
mod follow;
mod group;
#[allow(clippy::module_inception)] // the log itself
mod log;
mod read;
mod signal;
#[cfg(test)]
mod signal_tests;
mod stamp;
mod stream;
mod sync_thread;
mod transaction;
mod undo;
mod unsynced;
mod verify;
mod writer;

pub use append::{AppendOptions, Payloads};
pub use log::Log;
pub use signal::{Signal, Subscription, WaitOutcome};
pub use stream::{Record, Stream};
pub(crate) use sync_thread::SyncThreads;
pub use transaction::Transaction;
pub(crate) use undo::is_no_space;
pub use verify::{Damage, Details, MAX_LISTED_DAMAGES, Report};
