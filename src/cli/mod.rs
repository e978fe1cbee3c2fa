//! What both programs share of command lines and messages: the command line of `immuta-fs` (of which `immuta` writes
//! completions and manual pages), the options of mounts in it (`mount_options`), how mount(8) calls (`mount_helper`),
//! what is wrong with a command line (`usage`), and texts as single lines (`message`).

mod immuta_fs;
mod message;
mod mount_helper;
mod mount_options;
mod usage;

pub use immuta_fs::{Cli, UsageError, default_logs_dir};
pub use message::{message, one_line};
pub use mount_helper::{MountCall, is_called_by_mount};
pub use usage::usage_error;
