//! Mounting as mount(8) and `/etc/fstab` do it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use support::users::{own_namespace, takes_root};
use support::{Mount, Reader, append, outcome, read, refused, shell, shell_ok};

/// A mount whose program is called as mount(8) calls its helper.
struct Helped {
    mount: Mount,
    helper: PathBuf,
}

impl Helped {
    fn new() -> Helped {
        let mount = Mount::idle(&[]);
        let helper = mount.path().with_file_name("mount.fuse.immuta-fs");
        symlink(env!("CARGO_BIN_EXE_immuta-fs"), &helper).unwrap();
        Helped { mount, helper }
    }

    /// Status, standard output and standard error.
    fn call(&self, options: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(&self.helper);
        command
            .arg(self.mount.logs())
            .arg(self.mount.path())
            .args(options);
        outcome(command.stdin(Stdio::null()).output().unwrap())
    }
}

/// The options with which the kernel has mounted.
fn kernel_options(mount: &Mount) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = mounts
        .lines()
        .find(|l| l.split(' ').nth(1) == mount.path().to_str());
    let options = ours.unwrap().split(' ').nth(3).unwrap();
    options.split(',').map(str::to_owned).collect()
}

/// A file for messages, so that a machine without syslog says nothing of that.
fn log_file(mount: &Mount) -> String {
    format!("log_file={}", mount.log_file().display())
}

// > Called `mount.fuse.immuta-fs` the program is mount(8)'s helper, so that a line of `/etc/fstab` mounts. `-o`
// > takes its options by their long names, and an unknown option is an error that names it.
#[test]
fn a_line_of_fstab_mounts() {
    let Helped { mount, helper } = Helped::new();
    // mount(8) knows no other place for its helpers. Nobody but the script sees what lies over it.
    let script = r#"
        set -eu
        logs=$1 mountpoint=$2 helper=$3 scratch=$4 messages=$5
        cd "$scratch"
        mkdir over
        mount -t tmpfs none over
        mkdir over/sbin
        ln -s "$helper" over/sbin/mount.fuse.immuta-fs
        mount -t overlay none -o "lowerdir=$scratch/over/sbin:$(realpath /sbin)" "$(realpath /sbin)"
        printf '%s %s fuse.immuta-fs allow_other,nofail,_netdev,x-systemd.requires=a,sync=200ms,%s 0 0\n' \
            "$logs" "$mountpoint" "$messages" >fstab
        is_mounted() { mountpoint -q "$mountpoint"; }

        mount -T fstab "$mountpoint"
        echo first >"$mountpoint/default/append"
        grep -q '"sync": "200ms"' "$mountpoint/default/stats"
        findmnt -n -o SOURCE,FSTYPE "$mountpoint" | tr -s ' '
        mount -a -T fstab
        mount -o remount "$mountpoint" || echo "remount: $?"
        umount "$mountpoint"
        ! is_mounted
        mount -a -T fstab
        echo second >"$mountpoint/default/append"
        umount "$mountpoint"
        mount -t fuse.immuta-fs "$logs" "$mountpoint" -o "ro,$messages"
        cat "$mountpoint/default/log"
        umount "$mountpoint"
        mount -t fuse.immuta-fs "$logs" "$mountpoint" -o frobnicate,nofail || echo "unknown: $?"
        mount -s -t fuse.immuta-fs "$logs" "$mountpoint" -o "frobnicate,$messages"
        umount "$mountpoint"
        touch "$mountpoint/file"
        mount -T fstab "$mountpoint" || echo "not empty: $?"
    "#;
    let scratch = mount.path().parent().unwrap().to_owned();
    let output = shell(
        &format!(r#"exec {} bash -c "$@" 2>&1"#, own_namespace()),
        &[
            &script,
            &"bash",
            &mount.logs(),
            &mount.path(),
            &helper,
            &scratch,
            &log_file(&mount),
        ],
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "{logs} fuse.immuta-fs\n\
         immuta-fs: a mount of logs is not remounted: unmount it and mount it again (immuta-fs --help tells how)\n\
         remount: 1\nfirst\nsecond\n\
         immuta-fs: unknown mount option 'frobnicate' (immuta-fs --help tells how)\nunknown: 1\n\
         immuta-fs: cannot mount on '{mountpoint}': not empty (give an empty directory)\nnot empty: 32\n",
        logs = mount.logs().display(),
        mountpoint = mount.path().display()
    );
    assert_eq!(said, expected);
    assert!(output.status.success());
}

#[test]
fn the_helper_ends_with_the_statuses_of_mount() {
    let helped = Helped::new();
    let (mount, messages) = (&helped.mount, log_file(&helped.mount));
    let told = |what: &str| format!("immuta-fs: {what} (immuta-fs --help tells how)\n");

    assert_eq!(
        helped.call(&["-f", "-o", "sync=1s"]),
        (0, String::new(), String::new())
    );
    assert!(
        !mount.is_mounted() && !mount.logs().exists(),
        "it was only to say that it would"
    );
    let unknown = (1, String::new(), told("unknown mount option 'frobnicate'"));
    assert_eq!(helped.call(&["-o", "rw,frobnicate"]), unknown);
    assert_eq!(helped.call(&["-f", "-o", "frobnicate"]), unknown);
    assert_eq!(helped.call(&["-sf", "-o", "frobnicate=1,rw"]).0, 0);
    let (status, _, said) = helped.call(&["-o", "sync=soon"]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.starts_with("immuta-fs: invalid value 'soon' for '--sync <WHEN>'"),
        "{said}"
    );
    let (status, _, said) = outcome(Command::new(&helped.helper).output().unwrap());
    assert_eq!((status, said.lines().count()), (1, 1), "{said}");

    fs::write(mount.path().join("file"), "").unwrap();
    let (status, stdout, said) = helped.call(&[]);
    assert_eq!((status, stdout.as_str()), (32, ""));
    assert!(said.contains("not empty"), "{said}");
    fs::remove_file(mount.path().join("file")).unwrap();

    // mount(8) says nothing when all is well; with -v it says what it has done.
    assert_eq!(
        helped.call(&["-n", "-o", &messages, "-t", "fuse.immuta-fs"]),
        (0, String::new(), String::new())
    );
    mount.unmount();
    let (status, stdout, said) = helped.call(&["-v", "-o", &messages]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(stdout.starts_with("immuta-fs: mounted '"), "{stdout}");
    mount.unmount();
}

#[test]
fn the_helper_mounts_in_another_mount_namespace() {
    takes_root("the test enters the mount namespace of another process");
    let helped = Helped::new();
    let (mount, messages) = (&helped.mount, log_file(&helped.mount));
    let mut other = Reader::shell(
        "exec unshare -m --propagation private bash -c 'echo $$; exec sleep 1000'",
        &[],
    );
    let other_pid = other.line().unwrap();
    let namespace = format!("/proc/{other_pid}/ns/mnt");
    // Whoever enters a mount namespace is at its root, which in a chroot(2) is another one.
    let mut look = std::process::Command::new("nsenter");
    look.args(["-t", &other_pid, "-m", "test", "-d"])
        .arg(mount.path());
    let there = look.status().unwrap().success();
    assert!(
        there,
        "this test takes a machine, or a container, that is no chroot(2)"
    );
    assert_eq!(
        helped.call(&["-N", &namespace, "-o", &messages]),
        (0, String::new(), String::new())
    );
    assert!(!mount.is_mounted());
    append(&mount.path().join("here"), "").unwrap_err();
    let inside = shell_ok(
        r#"nsenter -t "$1" -m bash -c 'echo hello >"$1/default/append" && cat "$1/default/log" && umount "$1"' bash "$2""#,
        &[&other_pid, &mount.path()],
    );
    assert_eq!(inside, "hello\n");
    let (status, _, said) = helped.call(&["-N", "/proc/no/such", "-o", &messages]);
    assert_eq!(status, 32);
    assert_eq!(
        said,
        "immuta-fs: cannot enter the mount namespace '/proc/no/such': No such file or directory\n"
    );
}

/// What mount(8), systemd and others put into a list of options, and what is always so.
const WITHOUT_EFFECT: &str = "defaults,rw,auto,noauto,nofail,_netdev,user,user=somebody,users,owner,group,nouser,\
    comment=hello,x-systemd.automount,x-systemd.mount-timeout=10s,X-mount.mkdir=0755,x-gvfs-show,nodev,nosuid,dev,suid,exec,\
    noatime,atime,relatime,norelatime,strictatime,nodiratime,diratime,lazytime,async,dirsync,default_permissions";

#[test]
fn options_that_are_for_others_pass() {
    let helped = Helped::new();
    let list = WITHOUT_EFFECT.replace(' ', "");
    for option in list.split(',').chain([list.as_str()]) {
        assert_eq!(
            helped.call(&["-f", "-o", option]),
            (0, String::new(), String::new()),
            "{option}"
        );
    }
    for option in [
        "uid=0",
        "gid=0",
        "umask=022",
        "nonempty",
        "daemon",
        "help",
        "detached=/",
        "nodevil",
        "netdev",
    ] {
        let (status, _, said) = helped.call(&["-f", "-o", option]);
        assert_eq!(status, 1, "{option}");
        assert!(
            said.starts_with(&format!("immuta-fs: unknown mount option '{option}'")),
            "{said}"
        );
    }
}

#[test]
fn our_options_are_taken_by_their_long_names() {
    let helped = Helped::new();
    let passes = |options: &[&str]| {
        let (status, _, said) = helped.call(&[&["-f"], options].concat());
        assert_eq!((status, said.as_str()), (0, ""), "{options:?}");
    };
    let fails = |options: &str, what: &str| {
        let (status, _, said) = helped.call(&["-f", "-o", options]);
        assert_eq!(
            (status, said),
            (
                1,
                format!("immuta-fs: {what} (immuta-fs --help tells how)\n")
            )
        );
    };
    for option in [
        "sync=200ms",
        "sync=always",
        "sync",
        "max_record=1MiB",
        "max-record=1MiB",
        "format=bare",
        "assume_format=count16",
        "assume-format=count16",
        "read_only",
        "read-only",
        "ro",
        "allow_other",
        "allow_root",
        "max_block=30s",
        "log_file=/a",
        "log-file=/a",
        "log_level=debug",
        "noexec",
        r"log_file=/with\,comma",
        "log_file=\"/a,b\"",
        "context=\"system_u:object_r:tmp_t:s0:c1,c2\"",
    ] {
        passes(&["-o", option]);
    }
    passes(&["-o", "sync=1s,sync=always", "-o", "sync=never"]);
    passes(&["-o", ",,"]);
    fails(
        "sync=soon",
        "invalid value 'soon' for '--sync <WHEN>': neither `always`, nor `never`, nor an interval such as 1s or 200ms",
    );
    fails(
        "max_record",
        "mount option 'max_record' needs a value ('max_record=...')",
    );
    fails(
        "allow_other=yes",
        "mount option 'allow_other' takes no value",
    );
    fails("ro=1", "unknown mount option 'ro=1'");
    let both = "the argument '--allow-other' cannot be used with '--allow-root'";
    fails("allow_other,allow_root", both);
}

#[test]
fn options_reach_what_they_are_for() {
    let mut mount = Mount::with(&[
        "--foreground",
        "-o",
        "sync=200ms,max_record=10,noexec,nofail",
    ]);
    let stats = String::from_utf8(read(&mount.file("stats"))).unwrap();
    assert!(stats.contains(r#""sync": "200ms""#), "{stats}");
    refused(
        append(&mount.file("append-lines"), "a long line\n"),
        Errno::EMSGSIZE,
    );
    let options = kernel_options(&mount);
    for option in [
        "noexec",
        "nodev",
        "nosuid",
        "noatime",
        "default_permissions",
    ] {
        assert!(
            options.iter().any(|o| o == option),
            "no {option} in {options:?}"
        );
    }
    mount.append("first");
    assert!(mount.stop().success());

    // Of two that contradict each other the later one counts, and a long option before -o's.
    mount.options(&[
        "--foreground",
        "-o",
        "sync=1s,ro,noexec",
        "-o",
        "sync,rw,exec",
    ]);
    mount.start();
    let stats = String::from_utf8(read(&mount.file("stats"))).unwrap();
    assert!(stats.contains(r#""sync": "always""#), "{stats}");
    assert!(!kernel_options(&mount).iter().any(|o| o == "noexec"));
    mount.append("second");
    assert!(mount.stop().success());

    mount.options(&["--foreground", "--sync", "never", "-o", "ro,sync"]);
    mount.start();
    let stats = String::from_utf8(read(&mount.file("stats"))).unwrap();
    assert!(!stats.contains("always"), "{stats}");
    refused(append(&mount.file("append"), "third"), Errno::EROFS);
    assert_eq!(mount.count(), 2);
}

#[test]
fn with_options_of_a_mount_it_goes_into_the_background() {
    // As the general helper of libfuse calls, where ours is not installed.
    let mount = Mount::idle(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_immuta-fs"));
    command
        .arg(mount.logs())
        .arg(mount.path())
        .arg("-o")
        .arg(format!("rw,dev,suid,{}", log_file(&mount)));
    let (status, stdout, said) = outcome(command.output().unwrap());
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(stdout.starts_with("immuta-fs: mounted '"), "{stdout}");
    mount.append("first");
    mount.unmount();
    let mut command = mount.command();
    command.args(["-o", "rw,frobnicate"]);
    let what = "immuta-fs: unknown mount option 'frobnicate' (immuta-fs --help tells how)\n";
    let refused = outcome(command.output().unwrap());
    assert_eq!(refused, (2, String::new(), what.to_owned()));
}
