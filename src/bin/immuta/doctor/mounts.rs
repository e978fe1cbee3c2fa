//! Checks the mounts of immuta-fs, and the mount point that is named.

use std::path::{Path, PathBuf};
use std::thread;

use immuta_fs::cli::default_logs_dir;
use immuta_fs::host::{FS_TYPE, MountInfo};
use nix::unistd::{Uid, User, geteuid};

use super::Finding;
use super::probe::Probe;
use super::system::System;

/// The absolute path of a mount point. If something is mounted there, it is not touched: the mount may be dead, or hang.
pub(super) fn resolve(system: &System, mountpoint: &Path) -> PathBuf {
    let absolute = std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
    if mount_at(system, &absolute).is_some() {
        return absolute;
    }
    let real = Probe::ask(&absolute).and_then(|probe| probe.real);
    real.unwrap_or(absolute)
}

fn mount_at(system: &System, path: &Path) -> Option<MountInfo> {
    system.mounts().into_iter().rfind(|m| m.mountpoint == path)
}

/// The directory of the logs that are mounted at `mountpoint`; the default one if that is not known.
pub(super) fn logs_dir(system: &System, mountpoint: Option<&Path>) -> Result<PathBuf, String> {
    match mountpoint.and_then(|path| mount_at(system, path)) {
        Some(mount) if mount.fs_type == FS_TYPE && mount.source.is_absolute() => Ok(mount.source),
        _ => default_logs_dir(),
    }
}

/// The mount at `mountpoint`, if another user's immuta-fs serves it. Its users need no right to mount, and no access to
/// the directory of its logs.
pub(super) fn of_another_user(system: &System, mountpoint: Option<&Path>) -> Option<MountInfo> {
    let mount = mount_at(system, mountpoint?)?;
    let served = mount.fs_type == FS_TYPE && !is_own(&mount);
    let dead = || Probe::ask(&mount.mountpoint).is_some_and(|probe| probe.is_dead());
    (served && !dead()).then_some(mount)
}

fn is_own(mount: &MountInfo) -> bool {
    mount.user.is_none_or(|user| user == geteuid().as_raw())
}

/// The user that has made the mount, by name or number.
pub(super) fn owner(mount: &MountInfo) -> String {
    let Some(user) = mount.user else {
        return "another user".to_owned();
    };
    match User::from_uid(Uid::from_raw(user)) {
        Ok(Some(known)) => known.name,
        _ => format!("user {user}"),
    }
}

/// Findings about all mounts of immuta-fs, and about `mountpoint`.
pub(super) fn findings(system: &System, mountpoint: Option<&Path>) -> Vec<Finding> {
    let ours: Vec<_> = system
        .mounts()
        .into_iter()
        .filter(|m| m.fs_type == FS_TYPE)
        .collect();
    // All at the same time: each of them may be slow to answer.
    let mut findings: Vec<Finding> = thread::scope(|scope| {
        let looks: Vec<_> = ours
            .iter()
            .map(|mount| {
                let is_named = mountpoint == Some(&mount.mountpoint);
                scope.spawn(move || mounted(mount, is_named))
            })
            .collect();
        looks
            .into_iter()
            .filter_map(|look| look.join().ok())
            .collect()
    });
    match mountpoint {
        Some(path) if !ours.iter().any(|m| m.mountpoint == path) => {
            findings.push(to_be_mounted(system, path));
        }
        None if ours.is_empty() => findings.push(Finding::ok("mounts", "none of immuta-fs now")),
        _ => {}
    }
    findings
}

/// The finding about one mount. `is_named`: the command line names this one.
fn mounted(mount: &MountInfo, is_named: bool) -> Finding {
    let path = mount.mountpoint.display();
    let check = format!("mount '{path}'");
    // Only its owner and root can unmount it.
    let by = if is_own(mount) || geteuid().is_root() {
        ""
    } else {
        "as root: "
    };
    match Probe::ask(&mount.mountpoint) {
        Some(probe) if probe.is_dead() => {
            let unmount = if geteuid().is_root() || !is_own(mount) {
                "umount"
            } else {
                "fusermount3 -u"
            };
            Finding::fail(
                check,
                "its daemon has died",
                format!("{by}{unmount} '{path}'; or mount there again, which clears it"),
            )
        }
        Some(probe) => match probe.trouble() {
            None => Finding::ok(check, answers(mount, &probe)),
            Some(trouble) if is_named => Finding::fail(
                check,
                format!("{trouble}: it is for {} alone", owner(mount)),
                "to open it to others: mount it with --allow-other",
            ),
            // Another user's mount, which is closed to this user: that is as it should be.
            Some(trouble) => Finding::ok(check, format!("not this user's: {trouble}")),
        },
        None => {
            // The kernel names the connection of a mount by the minor number of its device.
            let connection = mount.device.rsplit(':').next().unwrap_or_default();
            Finding::fail(
                check,
                "its daemon does not answer",
                format!(
                    "{by}end the daemon; if that does not help: \
                     echo 1 > /sys/fs/fuse/connections/{connection}/abort; umount -l '{path}'"
                ),
            )
        }
    }
}

fn answers(mount: &MountInfo, probe: &Probe) -> String {
    let answers = format!("answers; logs in '{}'", mount.source.display());
    if is_own(mount) {
        return answers;
    }
    let makes = if probe.may_write { "may" } else { "may not" };
    format!(
        "{answers}; it is {}'s, and this user {makes} make namespaces there",
        owner(mount)
    )
}

fn to_be_mounted(system: &System, path: &Path) -> Finding {
    let shown = path.display();
    let check = format!("mount point '{shown}'");
    if let Some(other) = mount_at(system, path) {
        return Finding::fail(
            check,
            format!(
                "a file system of the type {} is mounted there",
                other.fs_type
            ),
            "name an empty directory",
        );
    }
    match Probe::ask(path) {
        None => Finding::fail(check, "no answer", "look at the disk that it is on"),
        Some(probe) if probe.is_missing() => {
            Finding::fail(check, "it does not exist", format!("mkdir -p '{shown}'"))
        }
        Some(probe) if probe.is_dead() => Finding::fail(
            check,
            "it is in a mount whose daemon has died",
            "unmount that first",
        ),
        Some(probe) => match probe.trouble() {
            Some(trouble) => Finding::fail(check, trouble, "name an empty directory"),
            None if !probe.is_empty => Finding::fail(check, "not empty", "name an empty directory"),
            None if !probe.may_write => Finding::fail(
                check,
                "this user may not write to it, and fusermount3 asks for that",
                "be the user that owns it, or name another directory",
            ),
            None => Finding::ok(check, "empty: logs can be mounted there"),
        },
    }
}
