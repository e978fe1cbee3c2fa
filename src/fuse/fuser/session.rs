//! A mount that this program answers: made here, or passed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use fuser::{Config, MountOption, SessionACL};
use nix::errno::Errno;

use super::calls::FuseFs;
use super::interrupt;
use super::reply::Kernel;
use crate::fs::Fs;
use crate::fuse::mount::{
    FUSERMOUNT_IS_MISSING, KernelOptions, MountError, MountPoint, cannot, fusermount,
    mount_directly, passed,
};
use crate::host::{DEV_FUSE, FS_TYPE, mounts, way_out};

const FS_SUBTYPE: &str = "immuta-fs";

/// The session with the kernel.
pub struct Session {
    session: fuser::Session<FuseFs>,
    fs: Arc<Fs<Kernel>>,
}

impl Session {
    /// Answers the kernel until the mount ends.
    ///
    /// # Errors
    /// When the session breaks off.
    pub fn run(self) -> io::Result<()> {
        let fs = self.fs;
        interrupt::watch(self.session.as_fd(), move |unique| fs.interrupt(unique));
        let result = self.session.run();
        interrupt::unwatch();
        result
    }
}

/// Who may use the mount at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// The user who mounts it.
    Owner,
    /// That user and root.
    RootAndOwner,
    /// All, as far as owner, group and mode of each file allow.
    All,
}

impl From<Users> for SessionACL {
    fn from(users: Users) -> SessionACL {
        match users {
            Users::Owner => SessionACL::Owner,
            Users::RootAndOwner => SessionACL::RootAndOwner,
            Users::All => SessionACL::All,
        }
    }
}

/// How to mount.
pub struct How<'a> {
    /// Who may use the mount at all.
    pub users: Users,
    /// Options of the mount for the kernel.
    pub kernel: &'a KernelOptions,
    /// How many threads serve.
    pub n_threads: usize,
}

impl How<'_> {
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.n_threads = Some(self.n_threads);
        config.acl = self.users.into();
        config
    }
}

/// Mounts at a path that [`prepare`](crate::fuse::prepare) has returned.
///
/// # Errors
/// When the kernel or fusermount3 refuses, with the way out.
pub fn mount_at(
    path: &Path,
    source: &Path,
    fs: Arc<Fs<Kernel>>,
    how: &How<'_>,
) -> Result<(Session, MountPoint), MountError> {
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
    let acl = how.users.into();
    let lets_others_in = how.users != Users::Owner;
    let session = if mount_directly(path, source, &device, lets_others_in, how.kernel)? {
        fuser::Session::from_fd(FuseFs(fs.clone()), OwnedFd::from(device), acl, config)
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
        fuser::Session::new(FuseFs(fs.clone()), path, &config)
    };
    let session = session.map_err(|e| match e.to_string().trim() {
        // What fuser makes of fusermount3's refusal.
        _ if e.kind() == io::ErrorKind::PermissionDenied && lets_others_in => cannot(
            path,
            "letting others in is for root alone (put 'user_allow_other' into /etc/fuse.conf)",
        ),
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
        Session { session, fs },
        MountPoint::new(path.to_owned(), device, true),
    ))
}

/// Serves a mount that somebody else has made with `device`, and will unmount. Returns where it is, if that can be seen
/// from here.
///
/// # Errors
/// When nothing is mounted with it.
pub fn serve_passed(
    device: OwnedFd,
    fs: Arc<Fs<Kernel>>,
    how: &How<'_>,
) -> Result<(Session, Option<MountPoint>), MountError> {
    let number = device.as_raw_fd();
    // Who is let in was settled when it was mounted, and the kernel sees to it.
    let acl = SessionACL::All;
    let mut config = how.config();
    config.acl = acl;
    let session =
        fuser::Session::from_fd(FuseFs(fs.clone()), device, acl, config).map_err(|e| {
            let why = match Errno::from_raw(e.raw_os_error().unwrap_or(0)) {
                Errno::EPERM | Errno::ENODEV => {
                    "nothing is mounted with it (mount(2) with the option fd=N comes first)"
                        .to_owned()
                }
                _ => e.to_string(),
            };
            MountError(format!("cannot serve '/dev/fd/{number}': {why}"))
        })?;
    let seen = passed::device_number(number)
        .and_then(|device| mounts().into_iter().rfind(|m| m.device == device));
    let mountpoint = seen.map(|m| MountPoint::new(m.mountpoint, m.device, false));
    Ok((Session { session, fs }, mountpoint))
}

/// The source as an option of fusermount3, where a comma would begin another one.
fn fs_name(source: &Path) -> String {
    match source.to_str() {
        Some(name) if !name.contains([',', '\\']) => name.to_owned(),
        _ => FS_SUBTYPE.to_owned(),
    }
}
