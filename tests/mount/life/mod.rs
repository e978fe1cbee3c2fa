//! How a mount begins, what disturbs it, and how it ends.

mod cli;
mod daemon;
mod disk;
mod endings;
mod limits;
mod mount_options;
mod passed;
mod readonly;
mod service;
mod stalled_disk;
