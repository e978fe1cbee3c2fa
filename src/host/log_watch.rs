//! Watches a directory of logs that another process writes: for `immuta-fs --read-only` and `immuta tail -f`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A watch on a directory of logs. Changes are kept from its start on, until they are asked for.
pub struct Watch(Inotify);

/// What has changed since the last call of [`Watch::changes`].
#[derive(Debug, Default)]
pub struct Changes {
    /// Any log may have changed: there were more changes than the kernel keeps, or the directory is gone.
    pub any: bool,
    /// The names of the logs whose file has changed, appeared or disappeared.
    pub logs: BTreeSet<String>,
    /// The names of the logs whose file has appeared or disappeared.
    pub names: BTreeSet<String>,
    /// The names of the changed files that keep rights.
    pub rights: BTreeSet<String>,
}

impl Changes {
    /// Whether the log of this name may have changed.
    pub fn of(&self, log: &str) -> bool {
        self.any || self.logs.contains(log)
    }
}

impl Watch {
    /// Starts to watch a directory.
    ///
    /// # Errors
    /// When it does not exist, or the user has as many watches as the system allows.
    pub fn start(logs_dir: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        inotify.add_watch(logs_dir, changes)?;
        Ok(Watch(inotify))
    }

    /// What has changed since the last call. Blocks until something has.
    ///
    /// # Errors
    /// When the events cannot be read.
    pub fn changes(&self) -> io::Result<Changes> {
        let events = loop {
            match self.0.read_events() {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        // However many appends there were since the last call, one change stands for all.
        let mut changes = Changes::default();
        for event in events {
            // IN_IGNORED: the directory itself has gone.
            let any = AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_IGNORED;
            changes.any |= event.mask.intersects(any);
            let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(log) = name.strip_suffix(".log") {
                if !event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    changes.names.insert(log.to_owned());
                }
                changes.logs.insert(log.to_owned());
            } else if name.ends_with(".rights") {
                changes.rights.insert(name.to_owned());
            }
        }
        Ok(changes)
    }

    /// Waits until something has changed, for `limit` at most. Returns whether it has.
    ///
    /// # Errors
    /// When the system does not let this thread wait.
    pub fn wait_for_changes(&self, limit: Option<Duration>) -> io::Result<bool> {
        let Some(limit) = limit else {
            return Ok(true);
        };
        // Rounded up: what is due at `limit` is due when this returns.
        let limit = limit + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

impl AsFd for Watch {
    /// Readable when [`Watch::changes`] would not block.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
