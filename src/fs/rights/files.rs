//! Where rights are kept: beside the log, as `NAME.rights`, one line of text: `owner=1000 group=1000 mode=0750`.
//!
//! They are not in the index, which may be deleted and is made again; nor are they the owner and mode of the log file, which
//! would let the group that may append write anything into the log. The rights of the root are in `.immuta.rights`. Where
//! there is no such file, the owner and mode of the log file itself count. A file that is not understood lets in
//! only the daemon's user. docs/format.md has the order of the writes.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::rights::{Rights, RightsSince};
use crate::fs::errno::Errno;
use crate::fs::locks::lock;
use immuta::{Disk, Namespace, SmallFile, read_small_file, replace_small_file};

/// The mode of the root, unless it has a file of rights: that of a log file that all may read and its owner may write.
const DEFAULT_MODE: u16 = 0o755;
/// The mode of a directory whose rights are not understood.
const CLOSED_MODE: u16 = 0o700;
/// The file with the rights of the root; no namespace begins with a dot.
const ROOT_FILE: &str = ".immuta.rights";

/// The files of rights in the logs directory.
#[derive(Debug)]
pub(crate) struct RightsFiles {
    disk: Arc<dyn Disk>,
    logs_dir: PathBuf,
    /// The daemon's user and group.
    daemon: (u32, u32),
    /// Held while rights change together with what they belong to.
    changing: Mutex<()>,
}

impl RightsFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, logs_dir: &Path, uid: u32, gid: u32) -> RightsFiles {
        RightsFiles {
            disk,
            logs_dir: logs_dir.to_owned(),
            daemon: (uid, gid),
            changing: Mutex::new(()),
        }
    }

    /// Keeps every other thread from changing rights, or what they belong to, as long as the guard lives.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    fn path(&self, namespace: Option<&Namespace>) -> PathBuf {
        self.logs_dir.join(file_name(namespace))
    }

    fn of_daemon(&self, mode: u16) -> Rights {
        let (owner, group) = self.daemon;
        Rights { owner, group, mode }
    }

    /// Reads the rights of a namespace, or of the root. Rights that cannot be read, or are not understood, let in
    /// only the daemon's user.
    pub(crate) fn load(&self, namespace: Option<&Namespace>) -> RightsSince {
        let path = self.path(namespace);
        let mut since = None;
        let kept = match read_small_file(&*self.disk, &path) {
            Ok(file) => {
                since = file.modified;
                parse(&file)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.without_file(namespace).map_err(|e| e.to_string())
            }
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

    /// The rights of a namespace, or of the root, that has no file of rights.
    fn without_file(&self, namespace: Option<&Namespace>) -> io::Result<Rights> {
        let log = match namespace {
            None => None,
            Some(namespace) => self.disk.rights(&namespace.log_path(&self.logs_dir))?,
        };
        Ok(log.map_or_else(|| self.of_daemon(DEFAULT_MODE), Rights::of_log))
    }

    /// Writes rights. When this returns, they are on the disk, and so is the name of their file. When it fails, the old
    /// ones are there. Returns the rights with the time of this.
    pub(crate) fn store(
        &self,
        namespace: Option<&Namespace>,
        rights: Rights,
    ) -> io::Result<RightsSince> {
        // The file gets exactly this time: the clock of the disk may be a tick behind.
        let since = SystemTime::now();
        let text = format!("{rights}\n");
        replace_small_file(&*self.disk, &self.path(namespace), text.as_bytes(), since)?;
        let since = Some(since);
        Ok(RightsSince { rights, since })
    }

    /// Removes the file of rights, if there is one.
    pub(crate) fn remove(&self, namespace: &Namespace) {
        let path = self.path(Some(namespace));
        match self.disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                log::warn!("'{}' is left behind: {e}", path.display());
            }
            _ => {}
        }
    }
}

/// The name of the file with the rights of a namespace, or of the root.
pub(crate) fn file_name(namespace: Option<&Namespace>) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}.rights"),
        None => ROOT_FILE.to_owned(),
    }
}

fn parse(file: &SmallFile) -> Result<Rights, String> {
    let text = std::str::from_utf8(&file.bytes).map_err(|e| e.to_string())?;
    Rights::parse(text)
}

/// The error for a caller whose change of rights could not be written.
pub(crate) fn cannot_keep(whose: &str, error: io::Error) -> Errno {
    log::error!("cannot keep the rights of {whose}: {error}");
    match error.raw_os_error() {
        // An exhausted quota is a full disk, too: the way out is the same.
        Some(libc::ENOSPC | libc::EDQUOT) => Errno::ENOSPC,
        _ => Errno::EIO,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use immuta::StdDisk;

    const RIGHTS: Rights = Rights {
        owner: 1000,
        group: 50,
        mode: 0o2750,
    };

    #[test]
    fn a_log_file_says_who_may_do_what_until_somebody_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let files = RightsFiles::new(Arc::new(StdDisk), directory.path(), 7, 8);
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
        let files = RightsFiles::new(Arc::new(StdDisk), directory.path(), 7, 8);
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
