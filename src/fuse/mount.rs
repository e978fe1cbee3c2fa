//! The mount point: what is there, what has to be cleared away, mounting and unmounting.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fuser::{Config, MountOption, Session, SessionACL};
use immuta::programs::device::{DEV_FUSE, way_out};
use immuta::programs::mounts::{FS_TYPE, mounts};
use immuta::programs::options::KernelOptions;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{FuseFs, passed};

const FS_SUBTYPE: &str = "immuta-fs";
const FUSERMOUNT: &str = "fusermount3";
const FUSERMOUNT_IS_MISSING: &str = "fusermount3 is missing (install the package fuse3)";

/// Why nothing could be mounted: what, why, the way out.
#[derive(Debug)]
pub(crate) struct MountError(pub(super) String);

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
    /// This program has mounted it, and unmounts it.
    is_ours: bool,
}

impl MountPoint {
    /// The mount point's absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its device number, as `/proc/self/mountinfo` has it.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// Whether this program has mounted it.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Whether it is still mounted: `umount -l` takes the name away and leaves open files behind.
    pub(crate) fn is_mounted(&self) -> bool {
        mounts()
            .iter()
            .any(|m| m.device == self.device && m.mountpoint == self.path)
    }

    /// Whether it is there and answers no more. Not only by its device number: the kernel gives that to the next mount.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_mounted() && statvfs(&self.path) == Err(Errno::ENOTCONN)
    }

    /// Takes it out of the tree of names, if this program has put it there. Files that are still open go on until the
    /// program ends.
    ///
    /// # Errors
    /// When it stays, with the way out.
    pub(crate) fn unmount(&self) -> Result<(), MountError> {
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
    detach(path).map_err(|e| {
        let way_out = format!("as root: umount -l '{}'", path.display());
        cannot(path, format!("a dead mount is in the way: {e} ({way_out})"))
    })
}

fn detach(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        // Users unmount through the set-uid helper.
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
            Err(io::Error::other(match said.is_empty() {
                true => format!("fusermount3 ended with {}", output.status),
                false => said,
            }))
        }
        Err(e) => Err(e.into()),
    }
}

/// The program that mounts and unmounts for users: in PATH, or where distributions put it.
fn fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/bin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(FUSERMOUNT))
        .find(|program| access(program, AccessFlags::X_OK).is_ok())
}

/// How to mount.
pub(crate) struct How<'a> {
    /// Who may use the mount at all.
    pub(crate) users: SessionACL,
    pub(crate) kernel: &'a KernelOptions,
    /// How many threads serve.
    pub(crate) n_threads: usize,
}

impl How<'_> {
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.n_threads = Some(self.n_threads);
        config.acl = self.users;
        config
    }
}

/// Mounts at a path that [`prepare`] has returned.
///
/// # Errors
/// When the kernel or fusermount3 refuses, with the way out.
pub(crate) fn mount_at(
    path: &Path,
    source: &Path,
    fs: FuseFs,
    how: &How<'_>,
) -> Result<(Session<FuseFs>, MountPoint), MountError> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(DEV_FUSE)
        .map_err(|e| {
            cannot(
                path,
                format!("cannot open '{DEV_FUSE}': {e} ({})", way_out(&e)),
            )
        })?;
    let mut config = how.config();
    let session = if mount_directly(path, source, &device, how)? {
        Session::from_fd(fs, OwnedFd::from(device), how.users, config)
    } else {
        // fusermount3 opens a device of its own.
        drop(device);
        if fusermount().is_none() {
            return Err(cannot(path, FUSERMOUNT_IS_MISSING));
        }
        config.mount_options = vec![
            MountOption::FSName(fs_name(source)),
            MountOption::Subtype(FS_SUBTYPE.into()),
            MountOption::DefaultPermissions,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoAtime,
        ];
        if how.kernel.noexec {
            config.mount_options.push(MountOption::NoExec);
        }
        let contexts = how.kernel.contexts.iter().cloned();
        config
            .mount_options
            .extend(contexts.map(MountOption::CUSTOM));
        Session::new(fs, path, &config)
    };
    let session = session.map_err(|e| match e.to_string().trim() {
        // What fuser makes of fusermount3's refusal.
        _ if e.kind() == io::ErrorKind::PermissionDenied && how.users != SessionACL::Owner => {
            cannot(
                path,
                "letting others in is for root alone (put 'user_allow_other' into /etc/fuse.conf)",
            )
        }
        "" => cannot(path, "fusermount3 has failed, and said nothing"),
        why => cannot(path, why),
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
            is_ours: true,
        },
    ))
}

/// Serves a mount that somebody else has made with `device`, and will unmount. Returns where it is, if that can be seen
/// from here.
///
/// # Errors
/// When nothing is mounted with it.
pub(crate) fn serve_passed(
    device: OwnedFd,
    fs: FuseFs,
    how: &How<'_>,
) -> Result<(Session<FuseFs>, Option<MountPoint>), MountError> {
    let number = device.as_raw_fd();
    // Who is let in was settled when it was mounted, and the kernel sees to it.
    let acl = SessionACL::All;
    let mut config = how.config();
    config.acl = acl;
    let session = Session::from_fd(fs, device, acl, config).map_err(|e| {
        let why = match Errno::from_raw(e.raw_os_error().unwrap_or(0)) {
            Errno::EPERM | Errno::ENODEV => {
                "nothing is mounted with it (mount(2) with the option fd=N comes first)".to_owned()
            }
            _ => e.to_string(),
        };
        MountError(format!("cannot serve '/dev/fd/{number}': {why}"))
    })?;
    let seen = passed::device_number(number)
        .and_then(|device| mounts().into_iter().rfind(|m| m.device == device));
    let mountpoint = seen.map(|m| MountPoint {
        path: m.mountpoint,
        device: m.device,
        is_ours: false,
    });
    Ok((session, mountpoint))
}

/// Mounts with mount(2), which names the type of the mount as fstab does. `false`: that is for root only, and
/// fusermount3 has to do it.
fn mount_directly(
    path: &Path,
    source: &Path,
    device: &File,
    how: &How<'_>,
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
    if how.users != SessionACL::Owner {
        data.push_str(",allow_other");
    }
    for context in &how.kernel.contexts {
        data.push(',');
        data.push_str(context);
    }
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_NOEXEC, how.kernel.noexec);
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
