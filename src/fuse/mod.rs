//! Connects the file system to the kernel.
//!
//! - `fuser`: the session with the kernel, its calls and their answers. The crate fuser is named here alone.
//! - `mount`: the mount point, and what else a mount needs of the system: mount(2), fusermount3, inotify events.

mod fuser;
mod mount;

pub use self::fuser::{
    Kernel, LateReplyFilter, MAX_WRITE_BYTES, MountParameters, Session, Users, interrupt, mount_at,
    serve_passed,
};
pub use self::mount::{
    KernelOptions, MountError, MountPoint, NudgeQueue, Nudger, RequestTimeout, passed, prepare,
    run_if_asked,
};
