//! The two files of a log, without a thread and without a lock that waits for one.
//!
//! `segment` is the two files, `header` the front of the log file, `index` the file beside it, `overlay` an index that may
//! not be written to; `log_end` is the end that a writer writes at, `state` what readers see of it; `read` and `search`
//! give and find the records up to there, and `run` is what one read brings.

mod header;
mod index;
mod log_end;
mod overlay;
mod read;
mod run;
mod search;
#[allow(clippy::module_inception)] // the two files themselves
mod segment;
mod state;

pub(crate) use header::read_header;
pub(crate) use index::{Index, new_index_header, read_slot, slot_offset};
pub(crate) use log_end::LogEnd;
pub use log_end::{Appended, to_ns};
pub(crate) use overlay::Overlay;
pub use run::{Entry, MAX_RUN_BYTES, Records, Run, Scratch};
pub(crate) use segment::Segment;
pub use state::State;
