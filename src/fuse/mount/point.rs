//! The mount point: what is there, what has to be cleared away, unmounting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::error::{MountError, cannot};
use crate::host::{FS_TYPE, mounts};

const FUSERMOUNT: &str = "fusermount3";
pub(in crate::fuse) const FUSERMOUNT_IS_MISSING: &str =
    "fusermount3 is missing (install the package fuse3)";

/// A mount that this program serves.
#[derive(Clone, Debug)]
pub struct MountPoint {
    path: PathBuf,
    device: String,
    /// This program has mounted it, and unmounts it.
    is_ours: bool,
}

impl MountPoint {
    /// A mount that is in the kernel's list with this device number.
    pub(in crate::fuse) fn new(path: PathBuf, device: String, is_ours: bool) -> Self {
        MountPoint {
            path,
            device,
            is_ours,
        }
    }

    /// The mount point's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its device number, as `/proc/self/mountinfo` has it.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// Whether this program has mounted it.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Whether it is still mounted: `umount -l` takes the name away and leaves open files behind.
    pub fn is_mounted(&self) -> bool {
        mounts()
            .iter()
            .any(|m| m.device == self.device && m.mountpoint == self.path)
    }

    /// Whether it is there and answers no more. The device number alone does not tell: the kernel gives it to the next
    /// mount.
    pub fn is_dead(&self) -> bool {
        self.is_mounted() && statvfs(&self.path) == Err(Errno::ENOTCONN)
    }

    /// Unmounts it, if this program has mounted it. Files that are still open work until the program ends.
    ///
    /// # Errors
    /// When it stays mounted, with the way out.
    pub fn unmount(&self) -> Result<(), MountError> {
        if !self.is_ours || !self.is_mounted() {
            return Ok(());
        }
        detach(&self.path).map_err(|e| {
            let path = self.path.display();
            MountError(format!(
                "cannot unmount '{path}': {e} (as root: umount -l '{path}')"
            ))
        })
    }
}

/// Makes sure that `mountpoint` is an empty directory, and returns its absolute path. If an immuta-fs that was killed has
/// left a dead mount there, that is unmounted.
///
/// # Errors
/// When nothing can be mounted there, with the way out.
pub fn prepare(mountpoint: &Path, logs_dir: &Path) -> Result<PathBuf, MountError> {
    let absolute = std::path::absolute(mountpoint).map_err(|e| cannot(mountpoint, e))?;
    // statvfs(2): the kernel answers stat(2) from its cache for a while after the daemon has gone.
    if statvfs(&absolute) == Err(Errno::ENOTCONN) {
        take_over(&absolute)?;
    }
    let path = match fs::canonicalize(&absolute) {
        Ok(path) => path,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let way_out = format!("it does not exist (mkdir -p '{}')", mountpoint.display());
            return Err(cannot(mountpoint, way_out));
        }
        Err(e) => return Err(cannot(mountpoint, e)),
    };
    let on_top = mounts().into_iter().rfind(|m| m.mountpoint == path);
    if on_top.is_some_and(|m| m.fs_type == FS_TYPE) {
        let way_out = "logs are mounted there already (use them, or unmount them first)";
        return Err(cannot(mountpoint, way_out));
    }
    if existing_part(logs_dir).is_some_and(|logs| logs.starts_with(&path)) {
        let why = format!(
            "it would hide the logs in '{}' (give another directory)",
            logs_dir.display()
        );
        return Err(cannot(mountpoint, why));
    }
    let mut names = match fs::read_dir(&path) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(cannot(
                mountpoint,
                "not a directory (give an empty directory)",
            ));
        }
        Err(e) => return Err(cannot(mountpoint, e)),
    };
    if names.next().is_some() {
        return Err(cannot(mountpoint, "not empty (give an empty directory)"));
    }
    Ok(path)
}

/// The real path of a directory, or of its nearest parent that exists: missing directories will be made in that one.
fn existing_part(directory: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(directory).ok()?;
    absolute
        .ancestors()
        .find_map(|path| fs::canonicalize(path).ok())
}

/// Unmounts a dead mount of immuta-fs. Dead mounts of other programs are left to their users.
fn take_over(path: &Path) -> Result<(), MountError> {
    let dead = mounts().into_iter().rfind(|m| m.mountpoint == path);
    if dead.is_none_or(|m| m.fs_type != FS_TYPE) {
        let way_out = format!(
            "a file system whose program has died is mounted there (umount '{}')",
            path.display()
        );
        return Err(cannot(path, way_out));
    }
    log::warn!(
        "'{}' was left mounted by a daemon that has died: unmounting it",
        path.display()
    );
    detach(path).map_err(|e| {
        let way_out = format!("as root: umount -l '{}'", path.display());
        cannot(path, format!("a dead mount is in the way: {e} ({way_out})"))
    })
}

fn detach(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        // Not root: fusermount3, which is set-uid root, unmounts for users.
        Err(Errno::EPERM) => {
            let fusermount = fusermount().ok_or_else(|| io::Error::other(FUSERMOUNT_IS_MISSING))?;
            let output = Command::new(fusermount)
                .args(["-u", "-z", "--"])
                .arg(path)
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(io::Error::other(if said.is_empty() {
                format!("fusermount3 ended with {}", output.status)
            } else {
                said
            }))
        }
        Err(e) => Err(e.into()),
    }
}

/// The path of fusermount3, which mounts and unmounts for users: in PATH, or where distributions put it.
pub(in crate::fuse) fn fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/bin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(FUSERMOUNT))
        .find(|program| access(program, AccessFlags::X_OK).is_ok())
}
