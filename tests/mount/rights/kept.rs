//! Where owner, group and mode are kept, and what becomes of them there: foreign logs, damage, crashes, copies,
//! a mount that only reads.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::geteuid;
use support::users::{
    GROUP, OWNER, User, all_rights, chmod, mode_of, mount, others_can_be_tried, owned, three,
};
use support::{Mount, eventually, refused, shell_ok};

// > Until rights are set, the mount belongs to the daemon's user and has mode 0755, and a log that was not made
// > through a mount is as open as its file on the disk: the file's owner and group, w for w, and r and x for r.
#[test]
fn a_foreign_log_is_as_open_as_its_file() {
    let mut mount = mount();
    assert!(mount.stop().success());
    let (me, mine) = (geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let log = mount.logs().join("foreign.log");
    fs::write(&log, 0u64.to_le_bytes()).unwrap();
    let mut is = (me, mine);
    if others_can_be_tried() {
        is = (OWNER, GROUP);
        chown(&log, Some(OWNER), Some(GROUP)).unwrap();
    }
    for (on_disk, mounted) in [
        (0o640, 0o750),
        (0o600, 0o700),
        (0o666, 0o777),
        (0o620, 0o720),
    ] {
        chmod(&log, on_disk);
        mount.start();
        let m = fs::metadata(mount.path().join("foreign")).unwrap();
        assert_eq!((m.uid(), m.gid(), m.mode() & 0o7777), (is.0, is.1, mounted));
        let m = fs::metadata(mount.path()).unwrap();
        assert_eq!((m.uid(), m.gid(), m.mode() & 0o7777), (me, mine, 0o755));
        assert!(mount.stop().success());
    }
    // What was said through a mount counts for more.
    mount.start();
    chmod(&mount.path().join("foreign"), 0o755);
    assert!(mount.stop().success());
    chmod(&log, 0o666);
    mount.start();
    assert_eq!(mode_of(&mount.path().join("foreign")), 0o755);
}

// > Rights that are kept on the disk and cannot be understood let in only the daemon's user, and root. The
// > daemon's log names the file, and the next `chmod` or `chown` mends it.
#[test]
fn rights_that_are_not_understood_close_a_namespace() {
    let mut mount = mount();
    let orders = owned(&mount, "orders", 0o777);
    assert!(mount.stop().success());
    let kept = mount.logs().join("orders.rights");
    fs::write(&kept, "owner=61001 group=61010 mode=0777 deny=61003\n").unwrap();
    fs::write(mount.logs().join(".immuta.rights"), "everybody\n").unwrap();
    mount.start();
    let me = (geteuid().as_raw(), nix::unistd::getegid().as_raw(), 0o700);
    for path in [&orders, &mount.path()] {
        let m = fs::metadata(path).unwrap();
        assert_eq!((m.uid(), m.gid(), m.mode() & 0o7777), me);
    }
    let said = mount.messages();
    for message in [
        format!(
            "'{}' does not tell who may use namespace 'orders': 'deny=61003' is not known; only user {} may (chown and \
             chmod the directory in the mount, or write 'owner={} group={} mode=0755' into the file and mount again)",
            kept.display(),
            me.0,
            me.0,
            me.1,
        ),
        "does not tell who may use the mount: 'everybody' stands where 'owner=' should".to_owned(),
    ] {
        assert!(said.contains(&message), "{message}\n{said}");
    }
    if others_can_be_tried() {
        let [_, _, mut other] = three();
        other.cannot("list", &[&mount.path()], Errno::EACCES);
        other.cannot("lstat", &[&orders], Errno::EACCES);
        chmod(&mount.path(), 0o755);
        other.cannot("list", &[&orders], Errno::EACCES);
        other.cannot("read", &[&orders.join("0")], Errno::EACCES);
    }
    chmod(&mount.path(), 0o755);
    chmod(&orders, 0o750);
    mount.restart();
    assert_eq!((mode_of(&mount.path()), mode_of(&orders)), (0o755, 0o750));
}

/// The names in the logs directory, each with what has become of it, in the order of the events.
fn events(watch: &Inotify) -> Vec<(String, AddWatchFlags)> {
    let events = watch.read_events().unwrap().into_iter();
    events
        .filter_map(|e| Some((e.name?.into_string().ok()?, e.mask)))
        .collect()
}

/// A crash in the middle leaves no log behind that is more open than it was asked to be.
#[test]
fn a_log_never_has_a_name_before_its_rights_or_after_them() {
    let mount = mount();
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    let (made, moved, gone) = (
        AddWatchFlags::IN_CREATE,
        AddWatchFlags::IN_MOVED_TO,
        AddWatchFlags::IN_DELETE,
    );
    watch.add_watch(&mount.logs(), made | moved | gone).unwrap();
    let secret = mount.path().join("secret");
    User::me().can("mkdir", &[&secret, &0o700, &0]);
    let at = |events: &[(String, AddWatchFlags)], name: &str, what| {
        let found = events
            .iter()
            .position(|(n, mask)| n == name && *mask == what);
        found.unwrap_or_else(|| panic!("{name} {what:?} is not in {events:?}"))
    };
    let seen = events(&watch);
    assert!(at(&seen, "secret.rights", moved) < at(&seen, "secret.log", made));
    fs::remove_dir(&secret).unwrap();
    let seen = events(&watch);
    assert!(at(&seen, "secret.log", gone) < at(&seen, "secret.rights", gone));
}

/// Rights that a crash has left without a log.
#[test]
fn left_over_rights_are_replaced_and_those_of_a_log_are_not() {
    let mount = mount();
    let (logs, new) = (mount.logs(), mount.path().join("new"));
    fs::write(logs.join("new.rights"), "owner=1 group=1 mode=0777\n").unwrap();
    fs::write(logs.join("new.rights.new"), "half").unwrap();
    let mut me = User::me();
    me.can("mkdir", &[&new, &0o700, &0]);
    assert_eq!(mode_of(&new), 0o700);
    assert!(!logs.join("new.rights.new").exists());
    // A log that came while the daemon ran, with its rights: it is not known yet, and it is not touched.
    fs::write(logs.join("late.log"), 0u64.to_le_bytes()).unwrap();
    fs::write(logs.join("late.rights"), "owner=1 group=2 mode=0700\n").unwrap();
    me.cannot(
        "mkdir",
        &[&mount.path().join("late"), &0o777, &0],
        Errno::EEXIST,
    );
    let kept = fs::read_to_string(logs.join("late.rights")).unwrap();
    assert_eq!(kept, "owner=1 group=2 mode=0700\n");
    // A namespace that cannot be made leaves none.
    fs::create_dir(logs.join("full.idx")).unwrap();
    me.cannot(
        "mkdir",
        &[&mount.path().join("full"), &0o777, &0],
        Errno::EIO,
    );
    assert!(!logs.join("full.rights").exists());
}

#[test]
fn rights_that_cannot_be_kept_are_not_changed() {
    let mount = mount();
    let orders = owned(&mount, "orders", 0o750);
    // Where the next rights are written to.
    let new = mount.logs().join("orders.rights.new");
    fs::create_dir(&new).unwrap();
    let changed = fs::set_permissions(&orders, Permissions::from_mode(0o777));
    refused(changed, Errno::EIO);
    assert_eq!(mode_of(&orders), 0o750);
    let said = mount.messages();
    assert!(
        said.contains("cannot keep the rights of namespace 'orders': "),
        "{said}"
    );
    fs::remove_dir(&new).unwrap();
    chmod(&orders, 0o777);
    assert_eq!(mode_of(&orders), 0o777);
}

/// What is beside the logs belongs to nobody's log, and goes where the logs go.
#[test]
fn a_copy_of_the_logs_has_the_same_rights_and_the_tools_do_not_mind_them() {
    let mut mount = mount();
    let orders = owned(&mount, "orders", 0o2710);
    chmod(&mount.path(), 0o1777);
    let mut me = User::me();
    let before = all_rights(&mount, &mut me);
    assert!(mount.stop().success());
    for tool in ["stat", "verify"] {
        let output = Command::new(env!("CARGO_BIN_EXE_immuta"))
            .arg(tool)
            .arg(mount.logs())
            .arg("orders")
            .output()
            .unwrap();
        assert!(output.status.success(), "{tool}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("rights"));
    }
    let script = r#"mv "$1" "$1.away" && cp -a "$1.away" "$1""#;
    shell_ok(script, &[&mount.logs()]);
    mount.start();
    assert_eq!(all_rights(&mount, &mut me), before);
    assert_eq!(mode_of(&orders), 0o2710);
    assert!(!mount.messages().contains("rights"), "{}", mount.messages());
}

// > With `--read-only`, rights are those that the writer keeps, also when the writer changes them.
#[test]
fn a_mount_that_only_reads_has_the_writers_rights() {
    let writer = mount();
    let orders = owned(&writer, "orders", 0o755);
    let mut reader = Mount::idle(match geteuid().is_root() {
        true => &["--read-only", "--allow-other"],
        false => &["--read-only"],
    });
    reader.open_to_others();
    std::os::unix::fs::symlink(writer.logs(), reader.logs()).unwrap();
    reader.start();
    let theirs = reader.path().join("orders");
    let same = |path: &Path, other: &Path| {
        let (a, b) = (fs::metadata(path).unwrap(), fs::metadata(other).unwrap());
        (a.mode(), a.uid(), a.gid()) == (b.mode(), b.uid(), b.gid())
    };
    assert!(same(&orders, &theirs));
    for mode in [0o700, 0o711, 0o750] {
        chmod(&orders, mode);
        chmod(&writer.path(), mode | 0o1011);
        eventually("the reader has the new rights", || {
            same(&orders, &theirs) && same(&writer.path(), &reader.path())
        });
    }
    let mut me = User::me();
    me.can("mkdir", &[&writer.path().join("later"), &0o730, &0]);
    eventually("the reader shows the new log", || {
        reader.path().join("later").exists()
    });
    assert!(same(
        &writer.path().join("later"),
        &reader.path().join("later")
    ));
    if others_can_be_tried() {
        let [mut owner, mut member, mut other] = three();
        assert_eq!(owner.can("read", &[&theirs.join("0")]), "first");
        assert_eq!(member.can("read", &[&theirs.join("0")]), "first");
        other.cannot("read", &[&theirs.join("0")], Errno::EACCES);
    }
    for path in [
        &theirs,
        &reader.path(),
        &theirs.join("0"),
        &theirs.join("append"),
    ] {
        me.cannot("chmod", &[path, &0o777], Errno::EROFS);
        me.cannot("chown", &[path, &geteuid().as_raw(), &-1], Errno::EROFS);
        me.cannot("utime", &[path], Errno::EROFS);
    }
}

/// On the disk, whoever can open a log reads all of it.
#[test]
fn the_logs_are_for_the_daemons_user_alone_on_the_disk_and_a_warning_says_when_they_are_not() {
    let mut mount = mount();
    let is = format!(
        "'{0}' lets other users in: on the disk they may read what the mount keeps from them (chmod go= '{0}')",
        mount.logs().display()
    );
    assert_eq!(mode_of(&mount.logs()), 0o700);
    assert!(!mount.messages().contains(&is), "{}", mount.messages());
    assert!(mount.stop().success());
    chmod(&mount.logs(), 0o755);
    mount.start();
    // What was there before is the administrator's affair.
    assert_eq!(mode_of(&mount.logs()), 0o755);
    assert_eq!(
        mount.messages().contains(&is),
        geteuid().is_root(),
        "{}",
        mount.messages()
    );
}
