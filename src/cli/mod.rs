//! Command lines and messages, for both programs.
//!
//! - `immuta_fs`: the command line of `immuta-fs`. `immuta` makes completions and manual pages of it.
//! - `mount_options`: the options behind `-o`.
//! - `mount_helper`: the command line that mount(8) calls `immuta-fs` with.
//! - `usage`: what is wrong with a command line.
//! - `message`: messages as single lines.

mod immuta_fs;
mod message;
mod mount_helper;
mod mount_options;
mod usage;

pub use immuta_fs::{Cli, UsageError, default_logs_dir};
pub use message::{message, one_line};
pub use mount_helper::{MountCall, is_called_by_mount};
pub use usage::usage_error;
