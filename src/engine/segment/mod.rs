//! The two files of a log, without a thread and without a lock that waits for one.
//!
//! `index` is the file beside the log, `overlay` the same with what a writer has not yet written down; `tail` is the end that
//! a writer writes at, `state` what readers see of it, and `run` the records that one read brings.

mod index;
mod run;
mod state;
mod tail;

pub(crate) use index::{Index, Overlay, new_index_header, read_slot, slot_offset};
pub use run::{Entry, MAX_RUN_BYTES, Records, Run, Scratch};
pub use state::State;
pub(crate) use tail::Tail;
pub use tail::{Appended, to_ns};
