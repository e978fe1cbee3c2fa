//! The transport to the kernel: `fuser` has the calls and their answers, `mount` the mount point and what else a mount
//! needs of the system.

mod fuser;
mod mount;

pub use self::fuser::{
    How, Kernel, LateRepliesAreNoErrors, MAX_WRITE_BYTES, Session, Users, interrupt, mount_at,
    serve_passed,
};
pub use self::mount::{
    KernelOptions, MountError, MountPoint, Nudger, Pending, RequestTimeout, passed, prepare,
    run_if_asked,
};
