//! The kernel's device for FUSE, and the one advice for who cannot open it: of the daemon, of `immuta doctor`, and, letter by
//! letter, of mount-scripts/mount.sh.

use std::io;

/// The device that a daemon opens to mount.
pub const DEV_FUSE: &str = "/dev/fuse";

/// What to do when it is not there.
pub const IS_MISSING: &str =
    "as root: modprobe fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN";

/// What to do when it is there, and this user may not open it.
pub const IS_CLOSED: &str = "as root: chmod 666 /dev/fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN";

/// What to do when it does not open, with this error.
pub fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => IS_MISSING,
        _ => IS_CLOSED,
    }
}
