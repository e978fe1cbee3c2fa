//! The mount point, and what else a mount needs of the system: what is there, and unmounting (`point`), mount(2) (`direct`),
//! a mount that was passed (`passed`), options for the kernel (`kernel_options`), its limit of time (`request_timeout`),
//! inotify events (`nudge`, and `nudge_process`, which raises them), and why nothing could be mounted (`error`).

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
pub use nudge::{Nudger, Pending};
pub use nudge_process::run_if_asked;
pub(super) use point::{FUSERMOUNT_IS_MISSING, fusermount};
pub use point::{MountPoint, prepare};
pub use request_timeout::RequestTimeout;
