//! One log: its only writer, its readers, and the threads and locks between them.
//!
//! `log` is the writer, `append_stream` takes records of any size, `append_copies` what another log holds, `transaction`
//! holds many appends back until they are visible at once; `stamp` is the time that each record gets. `commit` makes
//! what is written part of the log, and `undo` is the way back when a write fails. `durability` brings it to the disk, for a
//! `group` of writers at once, and `sync_thread` does so at an interval; `unsynced` knows since when; `close` is the end.
//! `signal` holds what is committed and wakes those that wait for more. `read` gives and finds records, `stream` follows
//! them, `follow` picks up what another process appends, and `verify` looks at every byte.

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
pub(crate) use sync_thread::Syncer;
pub use transaction::Transaction;
pub(crate) use undo::is_no_space;
pub use verify::{Damage, Details, MAX_LISTED_DAMAGES, Report};
