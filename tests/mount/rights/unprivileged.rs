//! A user who is not root mounts, through the set-uid helper fusermount3.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use support::users::{EVERYBODY_MAY_OPEN_THE_DEVICE, NOBODY, copied, takes_root};
use support::{DEADLINE, Mount, eventually, has_ended};

/// Directories that belong to a user who is not root, with the program in one of them: the build's directory may be for
/// its owner alone.
struct Place {
    mount: Mount,
    program: PathBuf,
}

impl Place {
    fn new() -> Place {
        let mount = Mount::idle(&[]);
        let directory = mount.path().parent().unwrap().to_owned();
        let program = copied(env!("CARGO_BIN_EXE_immuta-fs"), &directory);
        if geteuid().is_root() {
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
            for path in [directory, mount.path()] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Place { mount, program }
    }

    /// Has the user run a script, whose arguments are the program, the logs and the mount point, in a directory of his
    /// own. `before` is a script of root's with the same arguments, in which `as_user` is what the user does; it prepares
    /// the machine as the two alone see it. Returns the status, and all that is printed.
    fn runs(&self, before: &str, script: &str) -> (Option<i32>, String) {
        let (namespace, device, as_user): (&[&str], _, _) = match geteuid().is_root() {
            true => (
                &["unshare", "-m", "--propagation", "private"],
                EVERYBODY_MAY_OPEN_THE_DEVICE,
                format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"),
            ),
            false => (&[], "", String::new()),
        };
        let whole = format!(
            "set -e\nexec 2>&1\n{device}\nas_user() {{ {as_user} \"$@\"; }}\n{before}\n\
             exec {as_user} bash -c \"$0\" bash \"$@\""
        );
        let output = Command::new("timeout")
            .arg(DEADLINE.as_secs().to_string())
            .args(namespace)
            .args(["bash", "-c", &whole, script])
            .arg(&self.program)
            .args([self.mount.logs(), self.mount.path()])
            .current_dir(self.mount.path().parent().unwrap())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    #[track_caller]
    fn cannot_mount(&self, before: &str, why: &str) {
        let (status, said) = self.runs(before, r#""$@""#);
        let path = self.mount.path();
        assert_eq!(
            said,
            format!("immuta-fs: cannot mount on '{}': {why}\n", path.display())
        );
        assert_eq!(status, Some(1));
    }
}

impl Drop for Place {
    /// Ends the daemon that a script which failed has left: nobody else sees its mount.
    fn drop(&mut self) {
        let lock = fs::read_to_string(self.mount.logs().join(".immuta.lock")).unwrap_or_default();
        let Some(Ok(pid)) = lock.split(' ').nth(1).map(str::parse) else {
            return;
        };
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == self.program) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[test]
fn a_user_mounts_appends_follows_and_unmounts() {
    let place = Place::new();
    let path = place.mount.path();
    let (status, said) = place.runs(
        "",
        r#"
            set -eu
            mountpoint=$3
            "$1" --daemon --log-file messages "$2" "$3"
            echo first >"$mountpoint/default/append"
            : >followed
            cat "$mountpoint/default/follow" >>followed &
            until [ "$(cat followed)" = first ]; do :; done
            echo second >"$mountpoint/default/append"
            until [ "$(cat followed)" = "first
second" ]; do :; done
            fusermount3 -u "$mountpoint" 2>/dev/null || echo 'in use'
            kill $!
            wait $! || true
            fusermount3 -u "$mountpoint"
            mkdir "$mountpoint/not-mounted"
            rmdir "$mountpoint/not-mounted"
            # A daemon that was killed leaves a dead mount, which the user's next one takes over.
            "$1" --daemon --log-file messages "$2" "$3"
            kill -9 $(cut -d' ' -f2 "$2/.immuta.lock")
            until ! stat -f "$mountpoint" >/dev/null 2>&1; do :; done
            "$1" --daemon --log-file messages "$2" "$3"
            cat "$mountpoint/default/log"
            kill $(cut -d' ' -f2 "$2/.immuta.lock")
        "#,
    );
    let mounted = format!(
        "immuta-fs: mounted '{0}', logs in '{1}' (stop with: fusermount3 -u '{0}')\n",
        path.display(),
        place.mount.logs().display()
    );
    assert_eq!(
        said,
        format!("{mounted}in use\n{mounted}{mounted}first\nsecond\n")
    );
    assert_eq!(status, Some(0));
    let daemon = place.mount.holder();
    eventually("the daemon has ended", || has_ended(daemon));
    assert!(!place.mount.is_mounted());
}

#[test]
fn without_fusermount3_and_without_the_device_the_way_out_is_told() {
    takes_root("somebody has to take them away");
    let place = Place::new();
    let hide =
        "for program in $(type -ap fusermount3); do mount --bind /dev/null \"$program\"; done";
    place.cannot_mount(hide, "fusermount3 is missing (install the package fuse3)");
    let close = "mount -t tmpfs -o dev none /mnt; mknod -m 600 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse";
    let why = "cannot open '/dev/fuse': Permission denied (as root: chmod 666 /dev/fuse; in a container: \
               run it with --device /dev/fuse --cap-add SYS_ADMIN)";
    place.cannot_mount(close, why);
}

#[test]
fn a_dead_mount_that_the_user_cannot_clear_away_is_named_with_the_way_out() {
    takes_root("somebody has to hide fusermount3");
    let place = Place::new();
    let before = r#"
        as_user bash -c 'set -e; "$1" --daemon --log-file messages "$2" "$3" >/dev/null; kill -9 $(cut -d" " -f2 "$2/.immuta.lock")
            until ! stat -f "$3" >/dev/null 2>&1; do :; done' bash "$@"
        for program in $(type -ap fusermount3); do mount --bind /dev/null "$program"; done"#;
    let (status, said) = place.runs(before, r#""$1" --log-level error "$2" "$3""#);
    let path = place.mount.path();
    let expected = format!(
        "immuta-fs: cannot mount on '{0}': a dead mount is in the way: fusermount3 is missing (install the package fuse3) \
         (as root: umount -l '{0}')\n",
        path.display()
    );
    assert_eq!((status, said), (Some(1), expected));
}
