//! A directory of logs.
//!
//! `storage` is the directory, with its `directory_lock` and the `logs` that are open; `create` makes a log, `open_all` opens
//! those that are there (`in_order`, so that ids do not depend on the threads), `others` are the logs that other processes
//! make, remove and replace, and `repair` is the way out of what opening refuses.

mod create;
mod directory_lock;
mod in_order;
mod logs;
mod open_all;
mod others;
mod repair;
#[allow(clippy::module_inception)] // the directory itself
mod storage;

pub use directory_lock::{LOCK_FILE, lock_holder};
pub use repair::{Repair, repair};
pub use storage::Storage;
