//! The namespaces of a mount: their logs, and what else a mount knows of each.
//!
//! - `mounted`: a log that is mounted; `namespaces`: all of them.
//! - `need`: how far a log has come, and how far it has to come before a waiter gets something.
//! - `turns`: the writes that are queued until it is their turn to append.
//! - `watched`: which inotify watchers are told of growth.
//! - `numbers`: numbers for namespaces whose log is not open.

mod mounted;
mod namespaces;
mod need;
mod numbers;
mod turns;
mod watched;

pub(crate) use mounted::MountedLog;
pub(crate) use namespaces::Namespaces;
pub use need::{Need, Reached};
pub(crate) use numbers::UnopenedNumbers;
pub(crate) use turns::{Lasts, NotMine, Waiting};
pub use watched::Grown;
pub(crate) use watched::WatchedName;
