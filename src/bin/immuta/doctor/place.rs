//! Directories that may be on a file system that hangs: they are looked at by another process, which is left
//! behind if it does not answer.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use immuta::LOCK_FILE;
use immuta_fs::cli;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess};
use serde::{Deserialize, Serialize};

use super::system::System;
use super::{Finding, unopened};
use crate::Failure;

/// A directory that does not answer for so long hangs.
const DEADLINE: Duration = Duration::from_secs(3);
/// With less room than this it is time to make some.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;

/// What there is to know of a directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// What statvfs(2) or stat(2) failed with, if one did.
    pub(super) errno: Option<i32>,
    /// Its path without symbolic links.
    pub(super) real: Option<PathBuf>,
    pub(super) is_dir: bool,
    pub(super) is_empty: bool,
    pub(super) may_write: bool,
    pub(super) free_bytes: u64,
    /// How many logs it holds.
    pub(super) logs: u64,
    /// Who holds the lock of a directory of logs, as it says itself.
    pub(super) writer: Option<String>,
}

/// What this program is called with, and a path, by itself: no command, since nobody else is to call it so.
const LOOK_AT: &str = "--look-at";

/// Looks at a directory, or the logs in it, if that is what this program is called for; `None` if not.
pub(crate) fn answer() -> Option<Result<(), Failure>> {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next()?;
    let mut path = || arguments.next();
    let json = if what == LOOK_AT {
        serde_json::to_vec(&Place::look(Path::new(&path()?)))
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

impl Place {
    /// Looks at a directory, for as long as that takes.
    fn look(path: &Path) -> Place {
        let mut place = Place::default();
        match statvfs(path) {
            Ok(disk) => place.free_bytes = disk.fragment_size() * disk.blocks_available(),
            Err(errno) => {
                place.errno = Some(errno as i32);
                return place;
            }
        }
        place.real = path.canonicalize().ok();
        // Of a FUSE mount that is not for this user, statvfs(2) says nothing, and succeeds.
        match fs::metadata(path) {
            Ok(metadata) => place.is_dir = metadata.is_dir(),
            Err(e) => {
                place.errno = e.raw_os_error();
                return place;
            }
        }
        place.may_write = eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
        if let Ok(names) = fs::read_dir(path) {
            let mut names = names.flatten().peekable();
            place.is_empty = names.peek().is_none();
            place.logs = names
                .filter(|name| {
                    Path::new(&name.file_name())
                        .extension()
                        .is_some_and(|e| e == "log")
                })
                .count() as u64;
        }
        place.writer = writer(path);
        place
    }

    /// Has another process look; `None` if it does not answer in time.
    pub(super) fn ask(path: &Path) -> Option<Place> {
        serde_json::from_slice(&ask_another(LOOK_AT, path, DEADLINE)?).ok()
    }

    fn error(&self) -> Option<Errno> {
        self.errno.map(Errno::from_raw)
    }

    /// Whether a daemon that served it has died.
    pub(super) fn is_dead(&self) -> bool {
        self.error() == Some(Errno::ENOTCONN)
    }

    /// Why it is no directory to be used.
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

/// Has another process, this program, look at a path. Returns what it says; `None` if it says nothing for so long.
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
                // It may be past killing until the file system answers: nobody waits for it.
                let _ = child.kill();
                return None;
            }
        }
    }
    let _ = child.wait();
    Some(said)
}

/// Who holds the lock of a directory of logs; `None` if nobody does, or nobody whom this process may see.
/// Taking the lock to find out could make a daemon fail that starts at the same moment.
fn writer(dir: &Path) -> Option<String> {
    let path = dir.join(LOCK_FILE);
    let file = fs::metadata(&path).ok()?;
    let holder = fs::read_to_string(&path).unwrap_or_default();
    let holder = holder.trim();
    let pid = holder
        .strip_prefix("pid ")
        .and_then(|rest| rest.split(' ').next());
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
        let same = which == inode && (on == device || Some(holders_pid) == pid);
        same.then(|| match holder {
            "" => format!("pid {holders_pid}"),
            holder => holder.escape_debug().to_string(),
        })
    })
}

/// The directory of the logs. `Err`: why there is none.
pub(super) fn logs_dir(system: &System, dir: Result<PathBuf, String>) -> Vec<Finding> {
    let dir = match dir {
        Ok(dir) => dir,
        Err(why) => return vec![Finding::fail("logs", why, "immuta-fs LOGS_DIR MOUNTPOINT")],
    };
    let check = format!("logs in '{}'", dir.display());
    let path = system.path(&dir);
    let Some(place) = Place::ask(&path) else {
        let todo = "look at the disk that it is on";
        return vec![Finding::fail(
            check,
            format!("no answer within {} s", DEADLINE.as_secs()),
            todo,
        )];
    };
    if place.is_missing() {
        let above = path
            .ancestors()
            .skip(1)
            .find_map(|above| match Place::ask(above)? {
                place if place.is_missing() => None,
                place => Some((above, place)),
            });
        return vec![match above {
            Some((_, place)) if place.is_dir && place.may_write => {
                Finding::ok(check, "not there yet: immuta-fs makes it")
            }
            _ => Finding::fail(
                check,
                "not there, and this user may not make it",
                "name another one: immuta-fs LOGS_DIR MOUNTPOINT",
            ),
        }];
    }
    if let Some(trouble) = place.trouble() {
        return vec![Finding::fail(
            check,
            trouble,
            "name another one: immuta-fs LOGS_DIR MOUNTPOINT",
        )];
    }
    let mut findings = Vec::new();
    let written_by = match &place.writer {
        Some(writer) => format!("in use by {writer}"),
        None => "nobody writes there now".to_owned(),
    };
    let logs = match place.logs {
        1 => "1 log".to_owned(),
        n => format!("{n} logs"),
    };
    let what = format!("{logs}, {written_by}");
    findings.push(if place.may_write {
        Finding::ok(&*check, what)
    } else {
        Finding::fail(
            &*check,
            format!("{what}; this user may not write there"),
            "be the user that owns it, name another one, or mount with --read-only",
        )
    });
    if place.logs > 0 {
        findings.extend(unopened::findings(&path, place.writer.is_some()));
    }
    let room = format!("{} free", bytesize::ByteSize(place.free_bytes));
    let check = format!("room in '{}'", dir.display());
    findings.push(match place.free_bytes {
        0 => Finding::fail(check, "none: every write fails", "make room"),
        free if free < LITTLE_ROOM_BYTES => {
            Finding::warn(check, room, "make room before there is none")
        }
        _ => Finding::ok(check, room),
    });
    findings
}

/// The directory that immuta-fs keeps logs in when it is not told.
pub(super) fn default_logs_dir() -> Result<PathBuf, String> {
    cli::default_logs_dir()
}
