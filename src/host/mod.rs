//! What the system tells: the mounts that this process sees (`mount_table`), changes in a directory of logs
//! (`log_watch`), the kernel's device for FUSE (`device`), the open files of this process (`descriptors`).

mod descriptors;
mod device;
mod log_watch;
mod mount_table;

pub use descriptors::close_all_but;
pub use device::{DEV_FUSE, IS_CLOSED, IS_MISSING, way_out};
pub use log_watch::{Changes, Watch};
pub use mount_table::{FS_TYPE, MountInfo, mountpoint_of, mounts, mounts_in};
