//! A mount that another program has made. The runtime of a container, say, opens `/dev/fuse`, mounts with that
//! descriptor, and passes it to this program, which then needs no rights. The mount point is given as `/dev/fd/N`, as
//! programs with libfuse take it.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::makedev;

use super::error::MountError;

/// The device number of `/dev/fuse`, under whatever name a container has it.
const FUSE_MAJOR: u64 = 10;
const FUSE_MINOR: u64 = 229;
/// Standard input, output and error (0 to 2) are never passed for this.
const FIRST_PASSED: RawFd = 3;

/// The number in `/dev/fd/N`; `None` for the path of a directory.
pub fn number(mountpoint: &Path) -> Option<RawFd> {
    let digits = mountpoint.to_str()?.strip_prefix("/dev/fd/")?;
    let number: RawFd = digits.parse().ok()?;
    // Only the plain spelling of a number counts: `/dev/fd/+5` is a path.
    (number.to_string() == digits).then_some(number)
}

/// Takes the descriptor that was passed. Call it once for each number, before this program opens anything.
///
/// # Errors
/// When it is not open, or not `/dev/fuse`.
pub fn take(number: RawFd) -> Result<OwnedFd, MountError> {
    let cannot = |why: String| MountError(format!("cannot serve '/dev/fd/{number}': {why}"));
    let way_out = "(who mounts opens '/dev/fuse', and passes that descriptor)";
    let opened = fs::metadata(format!("/proc/self/fd/{number}"))
        .map_err(|_| cannot(format!("no such descriptor is open {way_out}")))?;
    let is_fuse =
        opened.file_type().is_char_device() && opened.rdev() == makedev(FUSE_MAJOR, FUSE_MINOR);
    if number < FIRST_PASSED || !is_fuse {
        return Err(cannot(format!("it is not '/dev/fuse' {way_out}")));
    }
    // SAFETY: the descriptor is open, as was just seen. It was passed to this program, which has opened nothing yet, so
    // no other part of it owns this number; and the caller takes it once.
    let device = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&device, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|e| cannot(e.to_string()))?;
    Ok(device)
}

/// The device number of the mount that is served through a descriptor, as `/proc/self/mountinfo` has it. `None` on
/// kernels whose `/proc/self/fdinfo` does not tell.
pub(in crate::fuse) fn device_number(number: RawFd) -> Option<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let connection = info
        .lines()
        .find_map(|line| line.strip_prefix("fuse_connection:"))?;
    Some(format!("0:{}", connection.trim()))
}
