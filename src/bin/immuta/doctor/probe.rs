//! Looks at directories that may be on a file system that hangs. Another process does it, which is left behind if it does not
//! answer.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use immuta::{LOCK_FILE, lock_holder};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess};
use serde::{Deserialize, Serialize};

use super::unopened;
use crate::Failure;

/// A directory that has not answered by then hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(3);

/// What is known of a directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Probe {
    /// The error of statvfs(2) or stat(2), if one failed.
    pub(super) errno: Option<i32>,
    /// Its path without symbolic links.
    pub(super) real: Option<PathBuf>,
    pub(super) is_dir: bool,
    pub(super) is_empty: bool,
    pub(super) may_write: bool,
    pub(super) free_bytes: u64,
    /// How many logs it holds.
    pub(super) logs: u64,
    /// The program that holds the lock of a directory of logs, as the lock's file names it.
    pub(super) writer: Option<String>,
}

/// The argument that this program starts itself with, before a path. It is no command, since nobody else is to use it.
const LOOK_AT: &str = "--look-at";

/// Looks at a directory, or at the logs in it, and prints the result as JSON, if this program was started for that;
/// `None` if not.
pub(crate) fn answer() -> Option<Result<(), Failure>> {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next()?;
    let mut path = || arguments.next();
    let json = if what == LOOK_AT {
        serde_json::to_vec(&Probe::look(Path::new(&path()?)))
    } else if what == unopened::LOOK_AT_LOGS {
        serde_json::to_vec(&unopened::look(Path::new(&path()?)))
    } else {
        return None;
    };
    let said = json
        .map_err(io::Error::other)
        .and_then(|json| io::stdout().write_all(&json));
    Some(said.map_err(Failure::from))
}

impl Probe {
    /// Looks at a directory, in this process, for as long as that takes.
    fn look(path: &Path) -> Probe {
        let mut probe = Probe::default();
        match statvfs(path) {
            Ok(disk) => probe.free_bytes = disk.fragment_size() * disk.blocks_available(),
            Err(errno) => {
                probe.errno = Some(errno as i32);
                return probe;
            }
        }
        probe.real = path.canonicalize().ok();
        // On a FUSE mount that is closed to this user, statvfs(2) succeeds, and stat(2) fails.
        match fs::metadata(path) {
            Ok(metadata) => probe.is_dir = metadata.is_dir(),
            Err(e) => {
                probe.errno = e.raw_os_error();
                return probe;
            }
        }
        probe.may_write = eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
        if let Ok(names) = fs::read_dir(path) {
            let mut names = names.flatten().peekable();
            probe.is_empty = names.peek().is_none();
            probe.logs = names
                .filter(|name| {
                    Path::new(&name.file_name())
                        .extension()
                        .is_some_and(|e| e == "log")
                })
                .count() as u64;
        }
        probe.writer = writer(path);
        probe
    }

    /// Has another process look at a directory; `None` if it does not answer in time.
    pub(super) fn ask(path: &Path) -> Option<Probe> {
        serde_json::from_slice(&ask_another(LOOK_AT, path, DEADLINE)?).ok()
    }

    fn error(&self) -> Option<Errno> {
        self.errno.map(Errno::from_raw)
    }

    /// Whether it is a mount whose daemon has died.
    pub(super) fn is_dead(&self) -> bool {
        self.error() == Some(Errno::ENOTCONN)
    }

    /// Why the directory cannot be used.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.error() {
            Some(errno) => Some(errno.desc().to_lowercase()),
            None if !self.is_dir => Some("not a directory".to_owned()),
            None => None,
        }
    }

    pub(super) fn is_missing(&self) -> bool {
        self.error() == Some(Errno::ENOENT)
    }
}

/// Starts this program again, to look at a path, and returns what it prints; `None` if it does not end within `longest`.
pub(super) fn ask_another(what: &str, path: &Path, longest: Duration) -> Option<Vec<u8>> {
    let mut child = Command::new("/proc/self/exe")
        .arg(what)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut pipe = child.stdout.take()?;
    let deadline = Instant::now() + longest;
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut fds,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        ) {
            Err(Errno::EINTR) => {}
            Ok(1..) => match pipe.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => said.extend_from_slice(&piece[..n]),
                Err(_) => break,
            },
            Ok(_) | Err(_) => {
                // It may not end before the file system answers: it is not waited for.
                let _ = child.kill();
                return None;
            }
        }
    }
    let _ = child.wait();
    Some(said)
}

/// The program that holds the lock of a directory of logs; `None` if no program does, or none that this process may see.
/// Trying to take the lock instead could make a daemon fail that starts at the same moment.
fn writer(dir: &Path) -> Option<String> {
    let file = fs::metadata(dir.join(LOCK_FILE)).ok()?;
    let holder = lock_holder(dir);
    let pid = holder.pid.map(|pid| pid.to_string());
    let device = format!("{:02x}:{:02x}", major(file.dev()), minor(file.dev()));
    let inode = file.ino().to_string();
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1835010 0 EOF, see proc(5).
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, holders_pid, place, ..] = fields[..] else {
            return None;
        };
        let (on, which) = place.rsplit_once(':')?;
        // Some file systems show another device to the list than to stat(2).
        let same = which == inode && (on == device || Some(holders_pid) == pid.as_deref());
        same.then(|| match &holder.pid {
            Some(_) => holder.to_string(),
            None => format!("pid {holders_pid}"),
        })
    })
}
