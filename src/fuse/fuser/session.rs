//! The session with the kernel: mounts, or takes over a mount that was passed, and answers its calls.

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
    /// Answers the kernel's calls until the mount ends.
    ///
    /// # Errors
    /// When the connection to the kernel fails.
    pub fn run(self) -> io::Result<()> {
        let fs = self.fs;
        interrupt::watch(self.session.as_fd(), move |unique| fs.interrupt(unique));
        let result = self.session.run();
        interrupt::unwatch();
        result
    }
}

/// Which users the kernel lets into the mount at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Only the user who mounts it.
    Owner,
    /// The user who mounts it, and root.
    RootAndOwner,
    /// All users, as far as owner, group and mode of each file allow.
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

/// What a mount is made with.
pub struct MountParameters<'a> {
    /// The users that are let in.
    pub users: Users,
    /// Options of the mount for the kernel.
    pub kernel: &'a KernelOptions,
    /// How many threads answer calls.
    pub n_threads: usize,
}

impl MountParameters<'_> {
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
    parameters: &MountParameters<'_>,
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
    let mut config = parameters.config();
    let acl = parameters.users.into();
    let lets_others_in = parameters.users != Users::Owner;
    let session = if mount_directly(path, source, &device, lets_others_in, parameters.kernel)? {
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
        if parameters.kernel.noexec {
            config.mount_options.push(MountOption::NoExec);
        }
        let contexts = parameters.kernel.contexts.iter().cloned();
        config
            .mount_options
            .extend(contexts.map(MountOption::CUSTOM));
        fuser::Session::new(FuseFs(fs.clone()), path, &config)
    };
    let session = session.map_err(|e| match e.to_string().trim() {
        // fuser returns this error when fusermount3 refuses.
        _ if e.kind() == io::ErrorKind::PermissionDenied && lets_others_in => cannot(
            path,
            "letting others in is for root alone (put 'user_allow_other' into /etc/fuse.conf)",
        ),
        "" => cannot(path, "fusermount3 failed without a message"),
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

/// Takes over a mount that another program has made with `device`, and will unmount. Returns the mount point too, where
/// the kernel lets this program see it.
///
/// # Errors
/// When nothing is mounted with it.
pub fn serve_passed(
    device: OwnedFd,
    fs: Arc<Fs<Kernel>>,
    parameters: &MountParameters<'_>,
) -> Result<(Session, Option<MountPoint>), MountError> {
    let number = device.as_raw_fd();
    // The program that mounted it has decided which users are let in, and the kernel enforces that.
    let acl = SessionACL::All;
    let mut config = parameters.config();
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

/// The source as an option of fusermount3, where a comma would begin the next option.
fn fs_name(source: &Path) -> String {
    match source.to_str() {
        Some(name) if !name.contains([',', '\\']) => name.to_owned(),
        _ => FS_SUBTYPE.to_owned(),
    }
}
