//! The mount point, and what else a mount needs of the system.
//!
//! - `point`: what is at the mount point, what has to be cleared away there, unmounting.
//! - `direct`: mount(2).
//! - `passed`: a mount that another program has made, passed as an open `/dev/fuse`.
//! - `kernel_options`: mount options for the kernel.
//! - `request_timeout`: how long the kernel waits for an answer.
//! - `nudge`: raises inotify events, through another process: `nudge_process`.
//! - `error`: why nothing could be mounted.

mod direct;
mod error;
mod kernel_options;
mod nudge;
mod nudge_process;
pub mod passed;
mod point;
mod request_timeout;

pub(super) use direct::mount_directly;
pub use error::MountError;
pub(super) use error::cannot;
pub use kernel_options::KernelOptions;
pub use nudge::{NudgeQueue, Nudger};
pub use nudge_process::run_if_asked;
pub(super) use point::{FUSERMOUNT_IS_MISSING, fusermount};
pub use point::{MountPoint, prepare};
pub use request_timeout::RequestTimeout;
