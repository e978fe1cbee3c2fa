//! The kernel's device for FUSE, and what to do when it cannot be opened. The daemon, `immuta doctor` and
//! mount-scripts/mount.sh say the same, letter by letter.

use std::io;

/// The device that a program opens to mount.
pub const DEV_FUSE: &str = "/dev/fuse";

/// What to do when the device does not exist.
pub const IS_MISSING: &str =
    "as root: modprobe fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN";

/// What to do when the device exists and this user may not open it.
pub const IS_CLOSED: &str = "as root: chmod 666 /dev/fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN";

/// What to do when opening the device fails with `error`.
pub fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => IS_MISSING,
        _ => IS_CLOSED,
    }
}
