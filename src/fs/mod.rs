//! The file system: names, open files, text, and reads that wait. It knows nothing of the transport that
//! brings it calls; [`Transport`] is all that it asks of one.
//!
//! From below:
//!
//! - `errno`, `locks`, `settings`, `budget` (of the memory for what waits), `inbox` and `pool` (the threads), and
//!   `transport` are used everywhere.
//! - [`tree`]: which files there are.
//! - `forms`: text, frames and JSON.
//! - `rights`: who may use a namespace.
//! - `namespace`: a log that is mounted.
//! - `handles`: open files.
//! - [`wait`]: what waits, without a thread.
//! - `about`: what is told of the mount.
//! - `fs`: all of it together, as data.
//! - `calls`: what a transport calls.

mod about;
mod budget;
mod calls;
pub mod errno;
mod forms;
#[allow(clippy::module_inception)] // the file system itself
mod fs;
mod handles;
mod inbox;
#[cfg(test)]
mod inbox_tests;
mod locks;
pub mod namespace;
mod pool;
mod rights;
mod settings;
mod transport;
pub mod tree;
pub mod wait;

pub use about::{NamespaceStatus, Status, StatusOptions, UnopenedNamespace};
pub use calls::{Access, Asked, DirEntry, DiskSpace, Opened, PollState, XattrReply};
// For the program `immuta`.
#[doc(hidden)]
pub use forms::JsonLines;
pub use forms::{frames, lines, parse_time, view};
pub use fs::Fs;
pub use namespace::Grown;
pub use settings::Settings;
pub use transport::{Caller, Nudge, PollWaker, ReadMode, ReadRequest, Reply, Transport, WriteMode};
pub use tree::{Attr, NodeType, SetAttr};
pub use wait::parked;
