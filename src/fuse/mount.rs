//! The mount point: what is there, what has to be cleared away, mounting and unmounting.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fuser::{Config, MountOption, Session, SessionACL};
use immuta::programs::mounts::{FS_TYPE, mounts};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

use super::FuseFs;

const FS_SUBTYPE: &str = "immuta-fs";
const DEV_FUSE: &str = "/dev/fuse";

/// Why nothing could be mounted: what, why, the way out.
#[derive(Debug)]
pub(crate) struct MountError(String);

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MountError {}

fn cannot(mountpoint: &Path, why: impl fmt::Display) -> MountError {
    MountError(format!("cannot mount on '{}': {why}", mountpoint.display()))
}

/// A mount of ours, to be unmounted or watched.
#[derive(Clone, Debug)]
pub(crate) struct MountPoint {
    path: PathBuf,
    device: String,
}

impl MountPoint {
    /// The mount point's absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still mounted: `umount -l` takes the name away and leaves open files behind.
    pub(crate) fn is_mounted(&self) -> bool {
        mounts()
            .iter()
            .any(|m| m.device == self.device && m.mountpoint == self.path)
    }

    /// Takes it out of the tree of names. Files that are still open go on until the program ends.
    pub(crate) fn unmount(&self) {
        if self.is_mounted()
            && let Err(e) = detach(&self.path)
        {
            log::error!(
                "cannot unmount '{}': {e} (fusermount3 -u -z '{0}')",
                self.path.display()
            );
        }
    }
}

/// Makes sure that something can be mounted at `mountpoint`: an empty directory. What a daemon of ours that
/// was killed has left there is cleared away. Returns its absolute path.
///
/// # Errors
/// When there is anything else, with the way out.
pub(crate) fn prepare(mountpoint: &Path, logs_dir: &Path) -> Result<PathBuf, MountError> {
    let absolute = std::path::absolute(mountpoint).map_err(|e| cannot(mountpoint, e))?;
    // Not stat(2): the kernel answers that from its cache for a while after the daemon has gone.
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

/// The real path of a directory, or of the nearest one above it that is there: what is missing will be made
/// there.
fn existing_part(directory: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(directory).ok()?;
    absolute
        .ancestors()
        .find_map(|path| fs::canonicalize(path).ok())
}

/// Clears away a mount whose daemon is gone. Only one of ours: another program's is not ours to take.
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
    detach(path).map_err(|e| cannot(path, format!("a dead mount is in the way: {e}")))
}

fn detach(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        // Users unmount through the set-uid helper.
        Err(Errno::EPERM) => {
            let output = Command::new("fusermount3")
                .args(["-u", "-z", "--"])
                .arg(path)
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ))
        }
        Err(e) => Err(e.into()),
    }
}

/// Mounts at a path that [`prepare`] has returned, with the number of threads that serve it, for these users.
///
/// # Errors
/// When the kernel or fusermount3 refuses, with the way out.
pub(crate) fn mount_at(
    path: &Path,
    source: &Path,
    fs: FuseFs,
    n_threads: usize,
    users: SessionACL,
) -> Result<(Session<FuseFs>, MountPoint), MountError> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(DEV_FUSE)
        .map_err(|e| {
            let way_out = match e.kind() {
                io::ErrorKind::NotFound => {
                    "modprobe fuse; in a container: run it with --device /dev/fuse"
                }
                _ => "ask for the right to use it",
            };
            cannot(path, format!("cannot open '{DEV_FUSE}': {e} ({way_out})"))
        })?;
    // For who reads the list of mounts, in whatever directory.
    let source = &std::path::absolute(source).unwrap_or_else(|_| source.to_owned());
    let mut config = Config::default();
    config.n_threads = Some(n_threads);
    config.acl = users;
    let session = if mount_directly(path, source, &device, users)? {
        Session::from_fd(fs, OwnedFd::from(device), users, config)
    } else {
        // fusermount3 opens a device of its own.
        drop(device);
        config.mount_options = vec![
            MountOption::FSName(fs_name(source)),
            MountOption::Subtype(FS_SUBTYPE.into()),
            MountOption::DefaultPermissions,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoAtime,
        ];
        Session::new(fs, path, &config)
    };
    let session = session.map_err(|e| {
        let why = match e.kind() {
            io::ErrorKind::NotFound => {
                "fusermount3 is missing (install the package fuse3)".to_owned()
            }
            // What fuser makes of fusermount3's refusal.
            io::ErrorKind::PermissionDenied if users != SessionACL::Owner => {
                "letting others in is for root alone (put 'user_allow_other' into /etc/fuse.conf)"
                    .to_owned()
            }
            _ => e.to_string().trim().to_owned(),
        };
        cannot(path, why)
    })?;
    let ours = mounts()
        .into_iter()
        .rfind(|m| m.mountpoint == path && m.fs_type == FS_TYPE);
    let device = ours
        .map(|m| m.device)
        .ok_or_else(|| cannot(path, "it is not in /proc/self/mountinfo"))?;
    Ok((
        session,
        MountPoint {
            path: path.to_owned(),
            device,
        },
    ))
}

/// Mounts with mount(2), which names the type of the mount as fstab does. `false`: that is for root only, and
/// fusermount3 has to do it.
fn mount_directly(
    path: &Path,
    source: &Path,
    device: &File,
    users: SessionACL,
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
    // The kernel knows no mount for its owner and root: it lets all in, and the session turns others back.
    if users != SessionACL::Owner {
        data.push_str(",allow_other");
    }
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
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

/// The source as an option of fusermount3, where a comma would begin another one.
fn fs_name(source: &Path) -> String {
    match source.to_str() {
        Some(name) if !name.contains([',', '\\']) => name.to_owned(),
        _ => FS_SUBTYPE.to_owned(),
    }
}
