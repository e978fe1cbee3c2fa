//! What `immuta-fs` says, and with which status it ends: 0, 1 when it failed, 2 when it was not called right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::{Pid, geteuid};
use support::users::{EVERYBODY_MAY_OPEN_THE_DEVICE, NOBODY, command_of_user, own_namespace};
use support::{DEADLINE, Mount, has_ended, names, outcome, read, shell_ok, umount};

/// A directory to call the program in, with an empty one to mount on, `mnt`. Dropped: unmounted and removed.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("mnt")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Status, standard output and standard error of a call that ends by itself.
    #[track_caller]
    fn call(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new("timeout")
            .arg(DEADLINE.as_secs().to_string())
            .arg(env!("CARGO_BIN_EXE_immuta-fs"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .env("COLUMNS", "100")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        outcome(output)
    }

    /// Expects a failure with this status, and exactly this one line.
    #[track_caller]
    fn fails(&self, arguments: &[&str], status: i32, message: &str) {
        let expected = (status, String::new(), format!("immuta-fs: {message}\n"));
        assert_eq!(self.call(arguments), expected, "{arguments:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for name in ["mnt", "full"] {
            let path = self.path(name);
            if mounts.lines().any(|l| l.split(' ').nth(1) == path.to_str()) {
                let _ = Command::new("umount").arg("-l").arg(path).status();
            }
        }
    }
}

#[test]
fn help_and_version_are_what_scripts_expect() {
    let place = Place::new();
    for option in ["--help", "-h"] {
        let (status, help, errors) = place.call(&[option]);
        assert_eq!((status, errors.as_str()), (0, ""));
        let usage = "Usage: immuta-fs [OPTIONS] [LOGS_DIR] MOUNTPOINT";
        assert!(help.lines().any(|l| l == usage), "{help}");
        for word in [
            "--sync <WHEN>",
            "--max-record <SIZE>",
            "--log-level <LEVEL>",
            "--log-file <PATH>",
            "--max-block <DURATION>",
            "--daemon",
            "--foreground",
            "-o <OPTIONS>",
            "/etc/fstab",
            "/dev/fd/N",
            "[LOGS_DIR]",
            "MOUNTPOINT",
            "/var/lib/immuta",
        ] {
            assert!(help.contains(word), "no {word} in:\n{help}");
        }
    }
    let version = format!("immuta-fs {}\n", env!("CARGO_PKG_VERSION"));
    for option in ["--version", "-V"] {
        assert_eq!(place.call(&[option]), (0, version.clone(), String::new()));
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_status_2() {
    let place = Place::new();
    let fails = |arguments: &[&str], what: &str| {
        place.fails(
            arguments,
            2,
            &format!("{what} (immuta-fs --help tells how)"),
        );
    };
    fails(&[], "no mount point is given");
    fails(&["--sync", "1s"], "no mount point is given");
    fails(
        &["logs", "mnt", "more"],
        "more is given than a directory of logs and a mount point",
    );
    fails(
        &["--frobnicate", "mnt"],
        "unexpected argument '--frobnicate' found",
    );
    fails(
        &["--allow-root", "--allow-other", "mnt"],
        "the argument '--allow-root' cannot be used with '--allow-other'",
    );
    fails(
        &["--sync"],
        "a value is required for '--sync <WHEN>' but none was supplied",
    );
    for bad in ["soon", "-1s", "1", ""] {
        let sync = format!("--sync={bad}");
        let what = format!(
            "invalid value '{bad}' for '--sync <WHEN>': neither `always`, nor `never`, nor an interval such as 1s or \
             200ms"
        );
        fails(&[&sync, "logs", "mnt"], &what);
    }
    fails(
        &["--sync", "0s", "logs", "mnt"],
        "invalid value '0s' for '--sync <WHEN>': an interval of nothing (use `always`)",
    );
    for bad in ["much", "64XB", "-1"] {
        fails(
            &[&format!("--max-record={bad}"), "logs", "mnt"],
            &format!("invalid value '{bad}' for '--max-record <SIZE>': not a size such as 64MiB"),
        );
    }
    fails(
        &["--max-record", "0", "logs", "mnt"],
        "invalid value '0' for '--max-record <SIZE>': no record would fit",
    );
    fails(
        &["--log-level", "loud", "logs", "mnt"],
        "invalid value 'loud' for '--log-level <LEVEL>': none of off, error, warn, info, debug, trace",
    );
    assert!(!place.path("logs").exists(), "it did something");
}

#[test]
fn a_mount_point_that_cannot_be_one_is_named_with_the_way_out() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    fs::create_dir_all(place.path("full/of/it")).unwrap();
    place.fails(
        &["logs", "missing"],
        1,
        "cannot mount on 'missing': it does not exist (mkdir -p 'missing')",
    );
    place.fails(
        &["logs", "file"],
        1,
        "cannot mount on 'file': not a directory (give an empty directory)",
    );
    place.fails(
        &["logs", "full"],
        1,
        "cannot mount on 'full': not empty (give an empty directory)",
    );
    for logs in [
        "mnt",
        "mnt/logs",
        "mnt/not/yet",
        "full/../mnt/logs",
        "./mnt",
    ] {
        place.fails(
            &[logs, "mnt"],
            1,
            &format!(
                "cannot mount on 'mnt': it would hide the logs in '{logs}' (give another directory)"
            ),
        );
    }
    assert!(!place.path("logs").exists(), "it did something");
    assert_eq!(fs::read_dir(place.path("mnt")).unwrap().count(), 0);
}

#[test]
fn a_directory_of_logs_that_cannot_be_one_is_named_with_the_way_out() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    place.fails(
        &["file", "mnt"],
        1,
        "cannot keep logs in 'file': not a directory (give a directory)",
    );
    place.fails(
        &["file/logs", "mnt"],
        1,
        "cannot keep logs in 'file/logs': cannot create the directory 'file/logs': Not a directory (give \
         a directory that you may write to)",
    );
    place.fails(
        &["/proc/logs", "mnt"],
        1,
        "cannot keep logs in '/proc/logs': cannot create the directory '/proc/logs': No such file or directory (give a directory that you may write to)",
    );
    let only_read = place.path("only-read");
    fs::create_dir(&only_read).unwrap();
    fs::set_permissions(&only_read, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere.
    let output = command_of_user(env!("CARGO_BIN_EXE_immuta-fs"), place.0.path())
        .args(["only-read", "mnt"])
        .current_dir(place.0.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let message = "immuta-fs: cannot keep logs in 'only-read': cannot open 'only-read/.immuta.lock': Permission denied \
                   (give a directory that you may write to)\n";
    assert_eq!(outcome(output), (1, String::new(), message.to_owned()));
}

#[test]
fn the_namespace_default_is_made_only_where_there_is_none() {
    let mut mount = Mount::new();
    assert_eq!(read(&mount.file("count")), b"0\n");
    fs::create_dir(mount.path().join("other")).unwrap();
    fs::remove_dir(mount.file("")).unwrap();
    mount.restart();
    let expected = [".immuta", "other"].map(str::to_owned);
    assert_eq!(names(&mount.path()), expected.into());
}

/// Takes the time off the lines of the daemon's log.
fn without_times(messages: &str) -> Vec<&str> {
    let lines = messages.lines();
    lines
        .map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest))
        .collect()
}

#[test]
fn a_normal_run_says_little() {
    let mut mount = Mount::new();
    mount.append("first");
    let path = mount.path();
    assert_eq!(mount.messages(), "");
    assert!(mount.stop().success());
    let ended = [
        "INFO  immuta_fs::signals] SIGTERM: ending".to_owned(),
        format!("INFO  immuta_fs::ending] unmounted '{}'", path.display()),
    ];
    assert_eq!(without_times(&mount.messages()), ended);

    let mut mount = Mount::with(&["--log-level", "warn"]);
    mount.append("first");
    mount.restart();
    mount.kill();
    let said = mount.messages();
    assert_eq!(said, "");
    mount.start();
    let taken_over = format!(
        "WARN  immuta_fs::fuse::mount::point] '{}' was left mounted by a daemon that has died: unmounting it",
        mount.path().display()
    );
    let said = mount.messages();
    assert_eq!(without_times(&said)[0], taken_over);
    assert!(!said.contains("ERROR"), "{said}");
}

#[test]
fn the_line_that_announces_the_mount_is_exact() {
    let place = Place::new();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_immuta-fs"))
        .args(["./logs", "mnt/../mnt"])
        .current_dir(place.0.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(place.path("stdout")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = || fs::read_to_string(place.path("stdout")).unwrap();
    support::eventually("it is announced", || stdout().ends_with('\n'));
    let mnt = fs::canonicalize(place.path("mnt")).unwrap();
    umount(&mnt);
    assert_eq!(support::wait(&mut daemon).code(), Some(0));
    // Nothing after it, and nothing but what there is to know and to do.
    let mnt = mnt.display();
    assert_eq!(
        stdout(),
        format!(
            "immuta-fs: mounted '{mnt}', logs in './logs' (stop with Ctrl-C or: umount '{mnt}')\n"
        )
    );
}

#[test]
fn nobody_has_to_read_what_is_announced() {
    let place = Place::new();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_immuta-fs"))
        .args(["logs", "mnt"])
        .current_dir(place.0.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(daemon.stdout.take());
    let count = place.path("mnt/default/count");
    support::eventually("it is mounted", || count.exists());
    umount(&place.path("mnt"));
    assert_eq!(support::wait(&mut daemon).code(), Some(0));
}

#[test]
fn logs_go_to_the_home_of_a_user_when_no_directory_is_given() {
    let place = Place::new();
    // Root's place, /var/lib/immuta, is none for a test: that much is in the help.
    let (namespace, device, as_user, unmount) = match geteuid().is_root() {
        true => (
            own_namespace(),
            EVERYBODY_MAY_OPEN_THE_DEVICE,
            format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"),
            "umount",
        ),
        false => ("", "", String::new(), "fusermount3 -u"),
    };
    command_of_user(env!("CARGO_BIN_EXE_immuta-fs"), place.0.path());
    let script = format!(
        "set -e\n{device}\ncd \"$1\"\n\
         {as_user} env XDG_DATA_HOME=\"$1/data\" ./immuta-fs --daemon --log-file messages mnt\n\
         {as_user} cat mnt/default/count\n{unmount} mnt"
    );
    let said = shell_ok(
        &format!(r#"exec {namespace} bash -c "$@""#),
        &[&script, &"bash", &place.0.path()],
    );
    assert!(said.ends_with("\n0\n"), "{said}");
    let lock = fs::read_to_string(place.path("data/immuta/.immuta.lock")).unwrap();
    let daemon = Pid::from_raw(lock.split(' ').nth(1).unwrap().parse().unwrap());
    support::eventually("the daemon has ended", || has_ended(daemon));
    assert!(place.path("data/immuta/default.log").exists());
}
