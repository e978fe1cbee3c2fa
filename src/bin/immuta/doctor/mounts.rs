//! Mounts of immuta-fs, and the place where one is to be.

use std::path::{Path, PathBuf};
use std::thread;

use immuta_fs::host::{FS_TYPE, MountInfo};
use nix::unistd::{Uid, User, geteuid};

use super::Finding;
use super::place::{Place, default_logs_dir};
use super::system::System;

/// The absolute path of a place where logs are mounted, or are to be. One that is in the list of mounts is not
/// looked at: it may be dead, or hang.
pub(super) fn resolve(system: &System, mountpoint: &Path) -> PathBuf {
    let absolute = std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
    if mount_at(system, &absolute).is_some() {
        return absolute;
    }
    let real = Place::ask(&absolute).and_then(|place| place.real);
    real.unwrap_or(absolute)
}

fn mount_at(system: &System, path: &Path) -> Option<MountInfo> {
    system.mounts().into_iter().rfind(|m| m.mountpoint == path)
}

/// The directory of the logs that are mounted at `mountpoint`; the default one where that is not known.
pub(super) fn logs_dir(system: &System, mountpoint: Option<&Path>) -> Result<PathBuf, String> {
    match mountpoint.and_then(|path| mount_at(system, path)) {
        Some(mount) if mount.fs_type == FS_TYPE && mount.source.is_absolute() => Ok(mount.source),
        _ => default_logs_dir(),
    }
}

/// The mount at `mountpoint`, if it is one of ours that another user's daemon serves. Who uses it needs nothing of what it
/// takes to mount, and has no business in the directory of its logs.
pub(super) fn of_another_user(system: &System, mountpoint: Option<&Path>) -> Option<MountInfo> {
    let mount = mount_at(system, mountpoint?)?;
    let served = mount.fs_type == FS_TYPE && !is_own(&mount);
    let dead = || Place::ask(&mount.mountpoint).is_some_and(|place| place.is_dead());
    (served && !dead()).then_some(mount)
}

fn is_own(mount: &MountInfo) -> bool {
    mount.user.is_none_or(|user| user == geteuid().as_raw())
}

/// The user whose mount it is, by name or number.
pub(super) fn owner(mount: &MountInfo) -> String {
    let Some(user) = mount.user else {
        return "another user".to_owned();
    };
    match User::from_uid(Uid::from_raw(user)) {
        Ok(Some(known)) => known.name,
        _ => format!("user {user}"),
    }
}

/// Of the mounts that are there, and of `mountpoint`.
pub(super) fn findings(system: &System, mountpoint: Option<&Path>) -> Vec<Finding> {
    let ours: Vec<_> = system
        .mounts()
        .into_iter()
        .filter(|m| m.fs_type == FS_TYPE)
        .collect();
    // All at once: each of them may take its time.
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

/// Of one mount; `is_named`: the caller has asked for this one.
fn mounted(mount: &MountInfo, is_named: bool) -> Finding {
    let path = mount.mountpoint.display();
    let check = format!("mount '{path}'");
    // What only its owner, or root, can do.
    let by = if is_own(mount) || geteuid().is_root() {
        ""
    } else {
        "as root: "
    };
    match Place::ask(&mount.mountpoint) {
        Some(place) if place.is_dead() => {
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
        Some(place) => match place.trouble() {
            None => Finding::ok(check, answers(mount, &place)),
            Some(trouble) if is_named => Finding::fail(
                check,
                format!("{trouble}: it is for {} alone", owner(mount)),
                "to open it to others: mount it with --allow-other",
            ),
            // Another user's, who alone sees into it.
            Some(trouble) => Finding::ok(check, format!("not this user's: {trouble}")),
        },
        None => {
            // The kernel counts its connections to daemons by the minor number of their mounts.
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

fn answers(mount: &MountInfo, place: &Place) -> String {
    let answers = format!("answers; logs in '{}'", mount.source.display());
    if is_own(mount) {
        return answers;
    }
    let makes = if place.may_write { "may" } else { "may not" };
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
    match Place::ask(path) {
        None => Finding::fail(check, "no answer", "look at the disk that it is on"),
        Some(place) if place.is_missing() => {
            Finding::fail(check, "it does not exist", format!("mkdir -p '{shown}'"))
        }
        Some(place) if place.is_dead() => Finding::fail(
            check,
            "it is in a mount whose daemon has died",
            "unmount that first",
        ),
        Some(place) => match place.trouble() {
            Some(trouble) => Finding::fail(check, trouble, "name an empty directory"),
            None if !place.is_empty => Finding::fail(check, "not empty", "name an empty directory"),
            None if !place.may_write => Finding::fail(
                check,
                "this user may not write to it, and fusermount3 asks for that",
                "be the user that owns it, or name another directory",
            ),
            None => Finding::ok(check, "empty: logs can be mounted there"),
        },
    }
}
