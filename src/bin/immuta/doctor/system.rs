//! What immuta-fs needs of the system: the kernel, the device, the right to mount, limits.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use immuta_fs::host::{DEV_FUSE, way_out};
use immuta_fs::host::{MountInfo, mounts_in};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::Finding;

/// immuta-fs was not tried on older kernels.
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// The kernel's default limit of pages in one write. Writes to `append` may be nearly as large.
const DEFAULT_MAX_PAGES: u64 = 256;
/// How many mounts fusermount3 allows to users, unless /etc/fuse.conf says otherwise.
const DEFAULT_MOUNT_MAX: usize = 1000;
/// The number of the capability that allows mounting.
const CAP_SYS_ADMIN: u32 = 21;
/// With a lower limit of open files, a few hundred namespaces are too many.
const FEW_OPEN_FILES: u64 = 1024;

/// The system to check, by its files.
pub(super) struct System {
    root: PathBuf,
}

impl System {
    pub(super) fn at(root: &Path) -> Self {
        System {
            root: root.to_owned(),
        }
    }

    /// A file of the system, by its absolute path.
    pub(super) fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root
            .join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    fn text(&self, absolute: &str) -> Option<String> {
        let bytes = fs::read(self.path(absolute)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number(&self, absolute: &str) -> Option<u64> {
        self.text(absolute)?.trim().parse().ok()
    }

    pub(super) fn mounts(&self) -> Vec<MountInfo> {
        mounts_in(&self.path("/proc/self/mountinfo"))
    }

    /// Findings about all that mounting here needs.
    pub(super) fn to_mount(&self) -> Vec<Finding> {
        // The device before the module: opening the device has the kernel load it.
        let device = self.device();
        let mut findings = vec![self.kernel(), device, self.fuse(), self.right_to_mount()];
        findings.extend(self.mount_max());
        findings.push(self.allow_other());
        findings.extend(self.max_pages());
        findings.push(self.request_timeout());
        findings.push(open_files());
        findings.extend(self.container());
        findings
    }

    /// Findings about what using an existing mount needs.
    pub(super) fn to_use(&self) -> Vec<Finding> {
        let mut findings = vec![self.kernel()];
        findings.extend(self.max_pages());
        findings.push(self.request_timeout());
        findings.extend(self.container());
        findings
    }

    fn kernel(&self) -> Finding {
        let release = self
            .text("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse::<u32>().ok());
        let version = numbers.next().flatten().zip(numbers.next().flatten());
        match version {
            Some(version) if version >= OLDEST_KERNEL => Finding::ok("kernel", release),
            Some(_) => Finding::warn(
                "kernel",
                release,
                format!(
                    "older than {}.{}, where immuta-fs was never tried",
                    OLDEST_KERNEL.0, OLDEST_KERNEL.1
                ),
            ),
            None => Finding::fail(
                "kernel",
                "there is no /proc to tell which it is",
                "mount -t proc proc /proc",
            ),
        }
    }

    fn device(&self) -> Finding {
        let opened = fs::File::options()
            .read(true)
            .write(true)
            .open(self.path(DEV_FUSE));
        match opened {
            Ok(_) => Finding::ok(DEV_FUSE, "there, and this user may open it"),
            Err(e) => {
                let what = match e.kind() {
                    std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
                    _ => format!("it cannot be opened: {}", immuta::system_words(&e)),
                };
                Finding::fail(DEV_FUSE, what, way_out(&e))
            }
        }
    }

    fn fuse(&self) -> Finding {
        let known = self.text("/proc/filesystems").unwrap_or_default();
        if known
            .lines()
            .any(|line| line.split_whitespace().last() == Some("fuse"))
        {
            Finding::ok("fuse", "the kernel has it")
        } else {
            Finding::fail(
                "fuse",
                "the kernel has not loaded it",
                "modprobe fuse; in a container: on the host",
            )
        }
    }

    /// Root mounts by itself, users through fusermount3.
    fn right_to_mount(&self) -> Finding {
        let status = self.text("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim)
        };
        let capabilities = field("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if capabilities.is_some_and(|set| set & (1 << CAP_SYS_ADMIN) != 0) {
            return Finding::ok("right to mount", "this user mounts without fusermount3");
        }
        let check = "fusermount3";
        if geteuid().is_root() {
            return Finding::fail(
                "right to mount",
                "this root may not mount: CAP_SYS_ADMIN was taken from it",
                "in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN",
            );
        }
        let Some(program) = self.in_path("fusermount3") else {
            return Finding::fail(
                check,
                "it is not in PATH, and users cannot mount without it",
                "install the package fuse3",
            );
        };
        let shown = program.display();
        let set_uid = fs::metadata(self.path(&program))
            .is_ok_and(|there| there.uid() == 0 && there.permissions().mode() & 0o4000 != 0);
        if !set_uid {
            return Finding::fail(
                check,
                format!("'{shown}' is not set-uid root"),
                format!("as root: chown root '{shown}' && chmod u+s '{shown}'"),
            );
        }
        if field("NoNewPrivs:") == Some("1") {
            return Finding::fail(
                check,
                "this process may gain no rights (no_new_privs), so set-uid programs do not work",
                "start it outside of the sandbox, or mount as root",
            );
        }
        Finding::ok(check, format!("'{shown}', set-uid root"))
    }

    /// A program, as an absolute path.
    fn in_path(&self, name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").into());
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|program| self.path(program).is_file())
    }

    fn fuse_conf(&self) -> String {
        self.text("/etc/fuse.conf").unwrap_or_default()
    }

    fn allow_other(&self) -> Finding {
        let check = "--allow-other";
        if geteuid().is_root() {
            return Finding::ok(check, "root may use it");
        }
        let allowed = self
            .fuse_conf()
            .lines()
            .any(|line| line.trim() == "user_allow_other");
        if allowed {
            Finding::ok(check, "/etc/fuse.conf lets users use it")
        } else {
            Finding::ok(check, "refused to users; they alone see their mounts")
                .way_out("to change that, as root: echo user_allow_other >> /etc/fuse.conf")
        }
    }

    /// The limit of mounts, which is for users other than root.
    fn mount_max(&self) -> Option<Finding> {
        if geteuid().is_root() {
            return None;
        }
        let limit = self
            .fuse_conf()
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix("mount_max")?
                    .trim()
                    .strip_prefix('=')?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(DEFAULT_MOUNT_MAX);
        let there = self
            .mounts()
            .iter()
            .filter(|m| m.fs_type.split('.').next() == Some("fuse"))
            .count();
        Some(if there < limit {
            Finding::ok(
                "mount_max",
                format!("{there} FUSE mounts, of {limit} for users"),
            )
        } else {
            Finding::fail(
                "mount_max",
                format!("{there} FUSE mounts, and users may make one only below {limit}"),
                "unmount some, or as root: mount_max = N in /etc/fuse.conf",
            )
        })
    }

    /// The limit of pages in one write: the kernel splits larger writes.
    fn max_pages(&self) -> Option<Finding> {
        let name = "fs.fuse.max_pages_limit";
        let pages = self.number("/proc/sys/fs/fuse/max_pages_limit")?;
        Some(if pages >= DEFAULT_MAX_PAGES {
            Finding::ok(name, pages.to_string())
        } else {
            Finding::warn(
                name,
                format!(
                    "{pages}: a write to append is less than {} KiB",
                    pages.saturating_sub(1) * 4
                ),
                format!("as root: sysctl {name}={DEFAULT_MAX_PAGES}"),
            )
        })
    }

    /// The kernel's limit for requests: a read that waits for a record is a request without an answer.
    fn request_timeout(&self) -> Finding {
        let name = "fs.fuse.*request_timeout";
        let limits = ["default_request_timeout", "max_request_timeout"];
        let shortest = limits
            .iter()
            .filter_map(|limit| {
                let seconds = self.number(&format!("/proc/sys/fs/fuse/{limit}"))?;
                (seconds > 0).then_some((seconds, limit))
            })
            .min();
        match shortest {
            None => Finding::ok(name, "none: a read may wait for ever"),
            // The daemon answers after half of the time, and the program reads again.
            Some((seconds, limit)) => Finding::warn(
                name,
                format!(
                    "{seconds} s: a read that waits gets EINTR after {} s, and not every program reads again",
                    seconds as f64 / 2.0
                ),
                format!("as root: sysctl fs.fuse.{limit}=0"),
            ),
        }
    }

    fn container(&self) -> Option<Finding> {
        let marked = ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|mark| self.path(mark).exists());
        let init = self.text("/proc/1/environ").unwrap_or_default();
        let named = init
            .split('\0')
            .any(|entry| entry.starts_with("container="));
        (marked || named).then(|| {
            Finding::ok(
                "container",
                "this is one: what is mounted here is seen outside of it only through a shared volume",
            )
        })
    }
}

/// The limit of open files: each namespace holds two.
fn open_files() -> Finding {
    let check = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard < FEW_OPEN_FILES => Finding::warn(
            check,
            format!("{hard} at the most, two for each namespace"),
            "ulimit -Hn, or LimitNOFILE= of the unit",
        ),
        Ok((_, hard)) => Finding::ok(check, format!("{hard} at the most")),
        Err(e) => Finding::warn(
            check,
            format!("the limit is not told: {}", e.desc()),
            "ulimit -Hn",
        ),
    }
}
