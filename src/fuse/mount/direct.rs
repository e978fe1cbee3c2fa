//! mount(2).

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::error::{MountError, cannot};
use super::kernel_options::KernelOptions;
use crate::host::FS_TYPE;

/// Mounts with mount(2), so that the type of the mount is the one that fstab names. Returns `false` where only root may
/// do that: then fusermount3 has to mount.
pub(in crate::fuse) fn mount_directly(
    path: &Path,
    source: &Path,
    device: &File,
    lets_others_in: bool,
    options: &KernelOptions,
) -> Result<bool, MountError> {
    let root_mode = fs::metadata(path)
        .map_err(|e| cannot(path, e))?
        .permissions()
        .mode();
    let mut data = format!(
        "fd={},rootmode={root_mode:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        nix::unistd::getuid(),
        nix::unistd::getgid(),
    );
    // The kernel has no mount for its owner and root alone: it lets all users in, and the session refuses the others.
    if lets_others_in {
        data.push_str(",allow_other");
    }
    for context in &options.contexts {
        data.push(',');
        data.push_str(context);
    }
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_NOEXEC, options.noexec);
    match mount(
        Some(source),
        path,
        Some(FS_TYPE),
        flags,
        Some(data.as_str()),
    ) {
        Ok(()) => Ok(true),
        Err(Errno::EPERM) => Ok(false),
        Err(Errno::ENODEV) => Err(cannot(path, "the kernel has no FUSE (modprobe fuse)")),
        Err(e) => Err(cannot(path, e)),
    }
}
