//! How a log is opened, whatever has happened to it.
//!
//! `open` is three calls: `find` opens the files and finds out the format, which `detect` reads from the bytes where no index
//! says it, and gives the `evidence`; `decide` says how much is kept, by a `walk` along the log where it must; `mend` brings
//! the files there, and alone writes. `report` is what was kept and cut, `save` keeps what is cut, and `records` reads single
//! records.

mod decide;
mod detect;
mod evidence;
mod find;
mod mend;
mod open;
mod records;
mod report;
mod save;
mod walk;

pub(crate) use decide::{Stale, decide};
pub(crate) use evidence::Purpose;
pub(crate) use find::find;
pub(crate) use mend::{Opened, write_entries};
pub(crate) use open::open;
pub use report::{Cut, Recovery};
pub(crate) use save::{cut_path, save};
pub(crate) use walk::{Trust, walk};
