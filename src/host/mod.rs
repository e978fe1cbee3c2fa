//! What the system knows.
//!
//! - `mount_table`: the mounts that this process sees.
//! - `log_watch`: changes in a directory of logs, by inotify.
//! - `device`: the kernel's device for FUSE.
//! - `descriptors`: the open files of this process.

mod descriptors;
mod device;
mod log_watch;
mod mount_table;

pub use descriptors::close_all_but;
pub use device::{DEV_FUSE, IS_CLOSED, IS_MISSING, way_out};
pub use log_watch::{Changes, Watch};
pub use mount_table::{FS_TYPE, MountInfo, mountpoint_of, mounts, mounts_in};
