//! Where rights are kept: beside the log, as `NAME.rights`, one line of text: `owner=1000 group=1000 mode=0750`.
//!
//! Not in the index, which may be deleted and is made again; not as the owner and mode of the log file itself,
//! which would let the group that may append write anything into the log. The root's are in `.immuta.rights`. Where
//! there is no such file, the log file's own owner and mode say it. A file that is not understood lets nobody in
//! but the daemon's user. docs/format.md has the order of the writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::rights::{Rights, RightsSince};
use crate::fs::errno::Errno;
use immuta::Namespace;

/// The root's, and what a log file that everybody may read, and its owner may write, comes to.
const DEFAULT_MODE: u16 = 0o755;
/// Of what is not understood.
const CLOSED_MODE: u16 = 0o700;
/// Where the root's are kept; no namespace begins with a dot.
const ROOT_FILE: &str = ".immuta.rights";
/// Far more than a line of rights has.
const MAX_FILE_BYTES: u64 = 4096;

/// The files in the logs directory that keep rights.
#[derive(Debug)]
pub(crate) struct RightsFiles {
    logs_dir: PathBuf,
    /// The daemon's user and group.
    daemon: (u32, u32),
    /// Held while rights change together with what they belong to.
    changing: Mutex<()>,
}

impl RightsFiles {
    pub(crate) fn new(logs_dir: &Path, uid: u32, gid: u32) -> RightsFiles {
        RightsFiles {
            logs_dir: logs_dir.to_owned(),
            daemon: (uid, gid),
            changing: Mutex::new(()),
        }
    }

    /// Nobody else changes rights meanwhile, or what they belong to.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, namespace: Option<&Namespace>) -> PathBuf {
        self.logs_dir.join(file_name(namespace))
    }

    fn of_daemon(&self, mode: u16) -> Rights {
        let (owner, group) = self.daemon;
        Rights { owner, group, mode }
    }

    /// The rights of a namespace, or of the root. What cannot be told lets nobody in but the daemon's user.
    pub(crate) fn load(&self, namespace: Option<&Namespace>) -> RightsSince {
        let path = self.path(namespace);
        let mut since = None;
        let kept = match read(&path) {
            Ok((text, written)) => {
                since = written;
                Rights::parse(&text)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => match namespace {
                None => Ok(self.of_daemon(DEFAULT_MODE)),
                // Not stat(2): the engine follows no link either.
                Some(namespace) => fs::symlink_metadata(namespace.log_path(&self.logs_dir))
                    .map(|log| Rights::of_log(&log))
                    .map_err(|e| e.to_string()),
            },
            Err(e) => Err(e.to_string()),
        };
        let rights = kept.unwrap_or_else(|why| {
            let closed = self.of_daemon(CLOSED_MODE);
            let whose = match namespace {
                Some(namespace) => format!("namespace '{namespace}'"),
                None => "the mount".to_owned(),
            };
            log::error!(
                "'{}' does not tell who may use {whose}: {why}; only user {} may (chown and chmod the directory in the \
                 mount, or write '{}' into the file and mount again)",
                path.display(),
                closed.owner,
                self.of_daemon(DEFAULT_MODE),
            );
            closed
        });
        RightsSince { rights, since }
    }

    /// Returns when the rights are on the disk, and so is the name of their file; with the time of this.
    pub(crate) fn store(
        &self,
        namespace: Option<&Namespace>,
        rights: Rights,
    ) -> io::Result<RightsSince> {
        let path = self.path(namespace);
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let since = SystemTime::now();
        let stored = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&new)
            .and_then(|mut file| {
                writeln!(file, "{rights}")?;
                // Exactly: what the disk says of itself may be a tick of the clock older.
                file.set_modified(since)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &path));
        if let Err(e) = stored {
            // What is left of it is in nobody's way.
            let _ = fs::remove_file(&new);
            return Err(e);
        }
        File::open(&self.logs_dir)?.sync_all()?;
        let since = Some(since);
        Ok(RightsSince { rights, since })
    }

    /// Not there is as good.
    pub(crate) fn remove(&self, namespace: &Namespace) {
        let path = self.path(Some(namespace));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                log::warn!("'{}' is left behind: {e}", path.display());
            }
            _ => {}
        }
    }
}

/// The file that keeps the rights of a namespace, or of the root.
pub(crate) fn file_name(namespace: Option<&Namespace>) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}.rights"),
        None => ROOT_FILE.to_owned(),
    }
}

/// Reads a file of rights, and when it was written. It may be anything: another program's, a pipe, a link.
fn read(path: &Path) -> io::Result<(String, Option<SystemTime>)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok((text, metadata.modified().ok()))
}

/// What whoever changes rights is told when they cannot be kept.
pub(crate) fn cannot_keep(whose: &str, error: io::Error) -> Errno {
    log::error!("cannot keep the rights of {whose}: {error}");
    match error.raw_os_error() {
        // Quota and disk are one thing: make room.
        Some(libc::ENOSPC | libc::EDQUOT) => Errno::ENOSPC,
        _ => Errno::EIO,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const RIGHTS: Rights = Rights {
        owner: 1000,
        group: 50,
        mode: 0o2750,
    };

    #[test]
    fn a_log_file_says_who_may_do_what_until_somebody_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let files = RightsFiles::new(directory.path(), 7, 8);
        let name = Namespace::new("orders").unwrap();
        let log = directory.path().join("orders.log");
        let file = File::create(&log).unwrap();
        let me = file.metadata().unwrap();
        for (on_disk, mode) in [
            (0o644, 0o755),
            (0o600, 0o700),
            (0o664, 0o775),
            (0o640, 0o750),
            (0o620, 0o720),
            (0o400, 0o500),
            (0o111, 0),
            (0o6777, 0o777),
        ] {
            file.set_permissions(PermissionsExt::from_mode(on_disk))
                .unwrap();
            let rights = Rights {
                owner: me.uid(),
                group: me.gid(),
                mode,
            };
            assert_eq!(files.load(Some(&name)).rights, rights, "{on_disk:o}");
        }
        files.store(Some(&name), RIGHTS).unwrap();
        assert_eq!(files.load(Some(&name)).rights, RIGHTS);
        files.remove(&name);
        files.remove(&name);
        assert_eq!(files.load(Some(&name)).rights.mode, 0o777);
    }

    #[test]
    fn nobody_but_the_daemon_is_let_in_by_what_is_not_understood() {
        let directory = tempfile::tempdir().unwrap();
        let files = RightsFiles::new(directory.path(), 7, 8);
        let closed = Rights {
            owner: 7,
            group: 8,
            mode: 0o700,
        };
        let name = Namespace::new("orders").unwrap();
        // Neither a log nor rights.
        assert_eq!(files.load(Some(&name)).rights, closed);
        File::create(directory.path().join("orders.log")).unwrap();
        for (namespace, path) in [(None, ".immuta.rights"), (Some(&name), "orders.rights")] {
            let path = directory.path().join(path);
            for text in [&b"owner=1"[..], b"\xff", b"", &[b' '; 10_000]] {
                fs::write(&path, text).unwrap();
                assert_eq!(files.load(namespace).rights, closed);
            }
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("elsewhere", &path).unwrap();
            fs::write(directory.path().join("elsewhere"), RIGHTS.to_string()).unwrap();
            assert_eq!(files.load(namespace).rights, closed);
            fs::remove_file(&path).unwrap();
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert_eq!(files.load(namespace).rights, closed);
            // What is there is replaced, whatever it is.
            files.store(namespace, RIGHTS).unwrap();
            assert_eq!(files.load(namespace).rights, RIGHTS);
        }
    }
}
