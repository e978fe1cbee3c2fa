//! `immuta doctor`: what it finds on systems made for it, and on a mount whose daemon is alive, dead, or stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use support::immuta_cli::{Dir, said};
use support::users::{self, command_of_user, takes_root};
use support::{Mount, eventually};

/// The files of a system on which immuta-fs works.
struct System {
    directory: Dir,
    /// Who asks is not root.
    of_user: bool,
}

impl System {
    fn new() -> System {
        System::of(false)
    }

    fn of(of_user: bool) -> System {
        let system = System {
            directory: Dir::new(),
            of_user: of_user || !geteuid().is_root(),
        };
        system.set("/proc/sys/kernel/osrelease", "6.12.3-test\n");
        system.set("/dev/fuse", "");
        system.set("/proc/filesystems", "nodev\tproc\n\text4\nnodev\tfuse\n");
        system.set(
            "/proc/self/status",
            "CapEff:\t000001ffffffffff\nNoNewPrivs:\t0\n",
        );
        system.set("/proc/self/mountinfo", "");
        system.set("/proc/sys/fs/fuse/max_pages_limit", "256\n");
        system.set("/proc/sys/fs/fuse/default_request_timeout", "0\n");
        system.set("/proc/sys/fs/fuse/max_request_timeout", "0\n");
        fs::create_dir_all(system.logs()).unwrap();
        system
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.directory.file(&path[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where logs are kept when nobody says where.
    fn logs(&self) -> std::path::PathBuf {
        let default = match self.of_user {
            true => "data/immuta",
            false => "var/lib/immuta",
        };
        self.directory.file(default)
    }

    /// Exit status and lines.
    fn doctor(&self, options: &[&str]) -> (Option<i32>, Vec<String>) {
        let mut command = match self.of_user {
            true => command_of_user(env!("CARGO_BIN_EXE_immuta"), self.directory.path()),
            false => Command::new(env!("CARGO_BIN_EXE_immuta")),
        };
        let output = command
            .arg("doctor")
            .args(options)
            .env_remove("RUST_LOG")
            .env("COLUMNS", "100")
            .stdin(Stdio::null())
            .env("IMMUTA_DOCTOR_SYSTEM", self.directory.path())
            .env("XDG_DATA_HOME", "/data")
            .env("PATH", "/usr/bin")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let out = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            out.lines().map(str::to_owned).collect(),
        )
    }

    #[track_caller]
    fn finds(&self, status: i32, line: &str) {
        let (ended, lines) = self.doctor(&[]);
        assert!(lines.iter().any(|l| l == line), "no {line:?} in {lines:#?}");
        assert_eq!(ended, Some(status), "{lines:#?}");
    }
}

#[test]
fn a_system_on_which_all_is_well_is_ok() {
    let system = System::new();
    let (status, lines) = system.doctor(&[]);
    assert!(
        lines.iter().all(|line| line.starts_with("ok    ")),
        "{lines:#?}"
    );
    assert_eq!(status, Some(0));
    let (status, json) = system.doctor(&["--json"]);
    assert_eq!(status, Some(0));
    assert_eq!(json.len(), lines.len());
    assert_eq!(
        json[0],
        r#"{"check":"kernel","status":"ok","what":"6.12.3-test","do":null}"#
    );
}

#[test]
fn each_thing_that_is_wrong_is_one_line_with_the_way_out() {
    let remove =
        |system: &System, path: &str| fs::remove_file(system.directory.file(&path[1..])).unwrap();

    let system = System::new();
    remove(&system, "/dev/fuse");
    system.finds(
        1,
        "fail  /dev/fuse: it does not exist (as root: modprobe fuse; in a container: run it with --device /dev/fuse \
         --cap-add SYS_ADMIN)",
    );
    let (_, json) = system.doctor(&["--json"]);
    assert!(
        json.iter().any(|line| line.starts_with(
            r#"{"check":"/dev/fuse","status":"fail","what":"it does not exist","do":"as root: modprobe"#
        )),
        "{json:#?}"
    );

    let system = System::new();
    system.set("/proc/filesystems", "\text4\nnodev\tfusectl\n");
    system.finds(
        1,
        "fail  fuse: the kernel has not loaded it (modprobe fuse; in a container: on the host)",
    );

    let system = System::new();
    system.set("/proc/sys/kernel/osrelease", "4.19.0-5-amd64\n");
    system.finds(
        0,
        "warn  kernel: 4.19.0-5-amd64 (older than 5.10, where immuta-fs was never tried)",
    );

    let system = System::new();
    system.set("/proc/sys/fs/fuse/max_pages_limit", "64\n");
    system.finds(
        0,
        "warn  fs.fuse.max_pages_limit: 64: a write to append is less than 252 KiB (as root: sysctl fs.fuse.max_pages_limit=256)",
    );

    let system = System::new();
    system.set("/proc/sys/fs/fuse/max_request_timeout", "20\n");
    system.finds(
        0,
        "warn  fs.fuse.*request_timeout: 20 s: a read that waits gets EINTR after 10 s, and not every program reads again (as root: sysctl \
         fs.fuse.max_request_timeout=0)",
    );

    let system = System::new();
    system.set("/proc/1/environ", "PATH=/bin\0container=podman\0");
    system.finds(
        0,
        "ok    container: this is one: what is mounted here is seen outside of it only through a shared volume",
    );

    let system = System::new();
    fs::remove_dir(system.logs()).unwrap();
    let shown = |system: &System| {
        let logs = system.logs();
        format!(
            "/{}",
            logs.strip_prefix(system.directory.path())
                .unwrap()
                .display()
        )
    };
    system.finds(
        0,
        &format!(
            "ok    logs in '{}': not there yet: immuta-fs makes it",
            shown(&system)
        ),
    );
    fs::write(system.logs(), "a file").unwrap();
    system.finds(
        1,
        &format!(
            "fail  logs in '{}': not a directory (name another one: immuta-fs LOGS_DIR MOUNTPOINT)",
            shown(&system)
        ),
    );
}

#[test]
fn who_may_not_mount_is_told_what_is_missing() {
    let none = "CapEff:\t0000000000000000\nNoNewPrivs:\t0\n";
    if geteuid().is_root() {
        let system = System::new();
        system.set("/proc/self/status", none);
        system.finds(
            1,
            "fail  right to mount: this root may not mount: CAP_SYS_ADMIN was taken from it (in a container: run it \
             with --device /dev/fuse --cap-add SYS_ADMIN)",
        );
    }
    let system = System::of(true);
    system.set("/proc/self/status", none);
    system.finds(
        1,
        "fail  fusermount3: it is not in PATH, and users cannot mount without it (install the package fuse3)",
    );
    system.set("/usr/bin/fusermount3", "");
    system.finds(
        1,
        "fail  fusermount3: '/usr/bin/fusermount3' is not set-uid root (as root: chown root '/usr/bin/fusermount3' && \
         chmod u+s '/usr/bin/fusermount3')",
    );
    let mount = "64 29 0:52 / /nowhere rw - fuse.sshfs x rw\n";
    system.set("/proc/self/mountinfo", mount);
    system.set("/etc/fuse.conf", "#user_allow_other\nmount_max = 1\n");
    system.finds(
        1,
        "fail  mount_max: 1 FUSE mounts, and users may make one only below 1 (unmount some, or as root: mount_max = N \
         in /etc/fuse.conf)",
    );
    system.set("/etc/fuse.conf", "user_allow_other\n");
    system.finds(1, "ok    --allow-other: /etc/fuse.conf lets users use it");
}

#[test]
fn logs_that_another_program_writes_are_told_with_its_name() {
    let system = System::new();
    let storage =
        immuta::Storage::open(immuta::Options::new(system.logs()).namespaces(["a", "b"])).unwrap();
    let logs = system.logs();
    let shown = format!(
        "/{}",
        logs.strip_prefix(system.directory.path())
            .unwrap()
            .display()
    );
    let program = std::env::args().next().unwrap();
    let program = std::path::Path::new(&program).file_name().unwrap();
    let me = format!("pid {} ({})", std::process::id(), program.display());
    system.finds(
        0,
        &format!("ok    logs in '{shown}': 2 logs, in use by {me}"),
    );
    storage.close().unwrap();
    system.finds(
        0,
        &format!("ok    logs in '{shown}': 2 logs, nobody writes there now"),
    );
}

/// > `immuta doctor` names each log that cannot be opened, and the command that mends it.
#[test]
fn logs_that_cannot_be_opened_are_named_with_the_command_that_mends_them() {
    let system = System::new();
    let logs = system.logs();
    let options = immuta::Options::new(&logs).namespaces(["good", "orders"]);
    let storage = immuta::Storage::open(options).unwrap();
    storage.append_batch("orders", &["one", "two"]).unwrap();
    storage.close().unwrap();
    let log = fs::File::options()
        .write(true)
        .open(logs.join("orders.log"));
    log.unwrap().set_len(20).unwrap();
    fs::write(logs.join("unclear.log"), [7; 21]).unwrap();
    let shown = logs.display();
    let why = "record 1 of 'orders' is damaged at byte 19 of the log: its size is negative or reaches beyond the end of the file";
    let mend = format!(
        "immuta repair '{shown}' orders keeps the record before that, and saves what it cuts off"
    );
    system.finds(
        1,
        &format!("fail  namespace 'orders' cannot be opened: {why} ({mend})"),
    );
    system.finds(
        1,
        "fail  namespace 'unclear' cannot be opened: cannot tell the format of 'unclear': it is whole in none of bare, count8, \
         count16 (name the format with --assume-format)",
    );
    // What another test has started may hold the lock for a moment: its process is a copy of this one at first.
    let mut writer = None;
    eventually("the lock is free", || {
        writer = immuta::Storage::open(immuta::Options::new(&logs).only(["good"])).ok();
        writer.is_some()
    });
    system.finds(
        1,
        &format!(
            "fail  namespace 'orders' cannot be opened: {why} (unmount, or end the program that writes there; {mend})"
        ),
    );
}

/// What is said of a mount point, on this machine.
fn of_mount(mountpoint: &std::path::Path) -> (Option<i32>, String) {
    let path = mountpoint.to_str().unwrap();
    let (status, out, err) = said(&["doctor", path]);
    assert_eq!(err, "");
    let line = out.lines().find(|line| line.contains(&format!("'{path}'")));
    (
        status,
        line.unwrap_or_else(|| panic!("no '{path}' in {out}"))
            .to_owned(),
    )
}

#[test]
fn a_mount_is_told_alive_from_dead_and_from_one_that_hangs() {
    let mut mount = Mount::new();
    let path = mount.path();
    let shown = path.display();
    let logs = mount.logs();
    let answers = format!(
        "ok    mount '{shown}': answers; logs in '{}'",
        logs.display()
    );
    assert_eq!(of_mount(&path).1, answers);
    let (_, out, _) = said(&["doctor", path.to_str().unwrap()]);
    let in_use = format!(
        "ok    logs in '{}': 1 log, in use by pid {} (immuta-fs)",
        logs.display(),
        mount.pid()
    );
    assert!(out.lines().any(|line| line == in_use), "{out}");

    support::stop(mount.pid());
    let (status, line) = of_mount(&path);
    mount.signal(Signal::SIGCONT);
    assert_eq!(status, Some(1));
    let hangs = format!(
        "fail  mount '{shown}': its daemon does not answer (end the daemon; if that does not help: echo 1 > "
    );
    assert!(line.starts_with(&hangs), "{line}");
    assert!(
        line.ends_with(&format!("/abort; umount -l '{shown}')")),
        "{line}"
    );
    eventually("it answers again", || of_mount(&path).1 == answers);

    mount.kill();
    let unmount = if geteuid().is_root() {
        "umount"
    } else {
        "fusermount3 -u"
    };
    let dead = format!(
        "fail  mount '{shown}': its daemon has died ({unmount} '{shown}'; or mount there again, which clears it)"
    );
    assert_eq!(of_mount(&path), (Some(1), dead));
    // The command that it names clears it.
    let status = Command::new("sh")
        .args(["-c", &format!("{unmount} '{shown}'")])
        .status();
    assert!(status.unwrap().success());
    let (_, line) = of_mount(&path);
    assert_eq!(
        line,
        format!("ok    mount point '{shown}': empty: logs can be mounted there")
    );
}

/// What a user who is not root is told of a mount of root's.
fn as_user(mount: &Mount) -> (Option<i32>, Vec<String>) {
    let dir = Dir::new();
    let output = command_of_user(env!("CARGO_BIN_EXE_immuta"), dir.path())
        .arg("doctor")
        .arg(mount.path())
        // No fusermount3: who uses a mount needs none.
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().map(str::to_owned).collect();
    (output.status.code(), lines)
}

/// The device, fusermount3 and the directory of the logs were asked for as if this user had to mount.
#[test]
fn regression_a_user_of_a_shared_mount_is_not_told_to_mend_what_its_daemon_needs() {
    takes_root("a mount of root's is used by others");
    let mut mount = users::mount();
    fs::set_permissions(mount.logs(), fs::Permissions::from_mode(0o700)).unwrap();
    let (status, lines) = as_user(&mount);
    let (path, logs) = (mount.path(), mount.logs());
    let (path, logs) = (path.display(), logs.display());
    let line = |may| {
        format!(
            "ok    mount '{path}': answers; logs in '{logs}'; it is root's, and this user {may} make namespaces there"
        )
    };
    assert!(lines.contains(&line("may not")), "{lines:#?}");
    assert!(!lines.iter().any(|l| l.starts_with("fail")), "{lines:#?}");
    assert_eq!(status, Some(0));
    users::chmod(&mount.path(), 0o1777);
    assert!(as_user(&mount).1.contains(&line("may")));

    // One that others cannot use is told, too.
    assert!(mount.stop().success());
    mount.options(&[]);
    mount.start();
    let (status, lines) = as_user(&mount);
    let line = format!(
        "fail  mount '{path}': permission denied: it is for root alone (to open it to others: mount it with --allow-other)"
    );
    assert!(lines.contains(&line), "{lines:#?}");
    assert_eq!(status, Some(1));

    assert!(mount.stop().success());
    mount.options(&["--allow-other"]);
    mount.start();
    mount.kill();
    let line = format!(
        "fail  mount '{path}': its daemon has died (as root: umount '{path}'; or mount there again, which clears it)"
    );
    let (status, lines) = as_user(&mount);
    assert!(lines.contains(&line), "{lines:#?}");
    assert_eq!(status, Some(1));
}

#[test]
fn a_place_that_cannot_be_mounted_on_is_told_why() {
    let dir = Dir::new();
    let path = dir.file("mnt");
    let shown = path.display();
    let missing = format!("fail  mount point '{shown}': it does not exist (mkdir -p '{shown}')");
    assert_eq!(of_mount(&path), (Some(1), missing));
    fs::write(&path, "").unwrap();
    let file = format!("fail  mount point '{shown}': not a directory (name an empty directory)");
    assert_eq!(of_mount(&path), (Some(1), file));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "").unwrap();
    let full = format!("fail  mount point '{shown}': not empty (name an empty directory)");
    assert_eq!(of_mount(&path), (Some(1), full));
    let proc = "fail  mount point '/proc': a file system of the type proc is mounted there (name an empty directory)";
    assert_eq!(of_mount("/proc".as_ref()), (Some(1), proc.to_owned()));
    fs::remove_file(path.join("x")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere.
    let output = command_of_user(env!("CARGO_BIN_EXE_immuta"), dir.path())
        .arg("doctor")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("this user may not write to it"), "{said}");
}
