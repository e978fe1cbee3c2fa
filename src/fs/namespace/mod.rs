//! What the tree knows of a namespace.
//!
//! - `mounted`: a log that is mounted; `namespaces`: all of them.
//! - `turns`: the writes that wait for their turn.
//! - `watched`: which inotify watchers are told of its growth.
//! - `numbers`: numbers for namespaces whose log is not open.

mod mounted;
mod namespaces;
mod numbers;
mod turns;
mod watched;

pub(crate) use mounted::MountedLog;
pub(crate) use namespaces::Namespaces;
pub(crate) use numbers::UnopenedNumbers;
pub(crate) use turns::{Lasts, NotMine, Waiting};
pub use watched::Grown;
pub(crate) use watched::WatchedName;
