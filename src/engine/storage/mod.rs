//! A directory of logs.
//!
//! `storage` is the directory, with its `directory_lock` and the open `logs`; `create` makes the files of a new log, `open_all`
//! opens the logs that are there (`in_order`, so that ids do not depend on the threads), `others` finds logs that other
//! processes create, remove and replace, and `repair` mends a log that opening refuses.

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
