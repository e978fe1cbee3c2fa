//! How a log is opened, whatever has happened to it.
//!
//! `open` brings it about: `find` opens the files and finds the format, where `detect` tells it when no index does, by the
//! `evidence`; `decide` says what is kept, by a `walk` along the log where it must; `report` is what it says of that, and
//! `save` keeps what is cut.

mod decide;
mod detect;
mod evidence;
mod find;
mod open;
mod report;
mod save;
mod walk;

pub(crate) use decide::Survey;
pub(crate) use find::Files;
pub(crate) use open::{Opened, open};
pub use report::{Cut, Recovery};
pub(crate) use save::{cut_path, save};
pub(crate) use walk::Claims;
