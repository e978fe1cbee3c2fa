//! A mount that somebody else makes, and passes as an open `/dev/fuse`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use nix::sys::signal::Signal;
use support::users::{NOBODY, copied, takes_root};
use support::{Mount, Reader, installed_tool, read, umount};

const WHO_MOUNTS: &str = "somebody has to have the right to mount";

/// Mounts with a descriptor of its own, and runs the daemon with it in the place of the mount point. The first argument
/// is a command to run the daemon with, the second one the user that the mount belongs to.
const MOUNTED_BY_ANOTHER: &str = r#"
set -eu
with=$1 user=$2
shift 2
mountpoint=${!#}
set -- "${@:1:$#-1}" /dev/fd/9
exec 9<>/dev/fuse
mount -i -t fuse.immuta-fs -o "fd=9,rootmode=40755,user_id=$user,group_id=$user,default_permissions,allow_other" logs "$mountpoint"
exec $with "$@"
"#;

fn start(mount: &mut Mount, with: &str, user: u32) {
    let user = user.to_string();
    mount
        .start_under(&["bash", "-c", MOUNTED_BY_ANOTHER, "bash", with, &user])
        .unwrap();
}

// > With `/dev/fd/N` as its mount point the daemon serves a mount that another program has made with that open
// > `/dev/fuse`. The daemon needs no privileges, does not unmount, and ends when the mount is unmounted.
#[test]
fn a_daemon_without_rights_serves_what_root_has_mounted() {
    takes_root(WHO_MOUNTS);
    let mut mount = Mount::idle(&[]);
    let directory = mount.path().parent().unwrap().to_owned();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(mount.logs()).unwrap();
    chown(mount.logs(), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = copied(env!("CARGO_BIN_EXE_immuta-fs"), &directory);
    let with = format!(
        "setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups -- env --chdir / {} --foreground -o rw",
        program.display()
    );
    // What it is run with ends where the command line of the mount begins: its program is an option too many.
    let script = MOUNTED_BY_ANOTHER.replace("shift 2", "shift 3");
    let user = NOBODY.to_string();
    mount
        .start_under(&["bash", "-c", &script, "bash", &with, &user])
        .unwrap();

    assert!(mount.is_mounted());
    mount.append("first");
    let mut cat = Reader::start("cat", &[&mount.file("follow")]);
    cat.expect("cat", "first");
    cat.wait_until_blocked();
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    mount.append("second");
    cat.expect("cat", "second");
    // Its mount point can be seen, and so inotify works.
    let tail = installed_tool("tail");
    let mut tail = Reader::start(tail, &[&"-f", &mount.file("follow")]);
    for line in ["first", "second"] {
        tail.expect("tail", line);
    }
    mount.append("third");
    tail.expect("tail", "third");
    cat.expect("cat", "third");
    drop((cat, tail));
    umount(&mount.path());
    assert_eq!(mount.wait().code(), Some(0), "{}", mount.messages());
}

#[test]
fn a_signal_ends_the_daemon_and_leaves_the_mount_to_who_made_it() {
    takes_root(WHO_MOUNTS);
    let mut mount = Mount::idle(&[]);
    start(&mut mount, "", 0);
    mount.append("first");
    let mut cat = Reader::start("cat", &[&mount.file("follow")]);
    cat.expect("cat", "first");
    cat.wait_until_blocked();
    mount.signal(Signal::SIGTERM);
    assert_eq!(mount.wait().code(), Some(0), "{}", mount.messages());
    assert!(cat.end("cat").success(), "it got no end of file");
    assert!(mount.is_mounted());
    umount(&mount.path());
    start(&mut mount, "", 0);
    assert_eq!(read(&mount.file("log")), b"first\n");
    let lazily = Command::new("umount")
        .arg("-l")
        .arg(mount.path())
        .status()
        .unwrap();
    assert!(lazily.success());
    assert_eq!(mount.wait().code(), Some(0), "{}", mount.messages());
    mount.start();
    mount.stop_and_verify();
}

#[test]
fn a_mount_that_was_passed_is_served_in_the_background_too() {
    takes_root(WHO_MOUNTS);
    let mount = Mount::idle(&[]);
    let directory = mount.path().parent().unwrap().to_owned();
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            MOUNTED_BY_ANOTHER,
            "bash",
            "",
            "0",
            env!("CARGO_BIN_EXE_immuta-fs"),
        ])
        .args(["--daemon", "--log-file"])
        .arg(directory.join("messages"))
        .arg(mount.logs())
        .arg(mount.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    mount.append("first");
    assert_eq!(mount.count(), 1);
    mount.unmount();
}

#[test]
fn what_was_not_passed_is_named_with_the_way_out() {
    let fails = |redirection: &str, number: u32, what: &str| {
        let mount = Mount::idle(&[]);
        let output = Command::new("bash")
            .args([
                "-c",
                &format!(r#"exec "$@" /dev/fd/{number} {redirection}"#),
                "bash",
            ])
            .arg(env!("CARGO_BIN_EXE_immuta-fs"))
            .arg(mount.logs())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
            format!("immuta-fs: cannot serve '/dev/fd/{number}': {what}\n")
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(!mount.logs().exists() || what.starts_with("nothing is mounted"));
    };
    let way_out = "(who mounts opens '/dev/fuse', and passes that descriptor)";
    fails("", 9, &format!("no such descriptor is open {way_out}"));
    fails("", 1, &format!("it is not '/dev/fuse' {way_out}"));
    fails(
        "9</dev/null",
        9,
        &format!("it is not '/dev/fuse' {way_out}"),
    );
    let first = "nothing is mounted with it (mount(2) with the option fd=N comes first)";
    fails("9<>/dev/fuse", 9, first);
}
