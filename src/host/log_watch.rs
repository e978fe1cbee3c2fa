//! Learns from the kernel that another process has written to a log, made one, or changed who may use it: with
//! `--read-only`, and for `immuta tail -f`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Changes in a directory of logs. What happens between its start and its use is not lost.
pub struct Watch(Inotify);

/// What has changed since the last look.
#[derive(Debug, Default)]
pub struct Changes {
    /// More than the kernel could remember: any log may have.
    pub any: bool,
    /// The logs whose file has changed, or has come or gone, by name.
    pub logs: BTreeSet<String>,
    /// Those of them whose file has come or gone.
    pub names: BTreeSet<String>,
    /// The files that keep rights, and have changed.
    pub rights: BTreeSet<String>,
}

impl Changes {
    /// Whether a log may have changed.
    pub fn of(&self, log: &str) -> bool {
        self.any || self.logs.contains(log)
    }
}

impl Watch {
    /// Begins to watch a directory.
    ///
    /// # Errors
    /// When it is not there, or the user has as many watches as the system allows.
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
    /// When the system fails to tell.
    pub fn changes(&self) -> io::Result<Changes> {
        let events = loop {
            match self.0.read_events() {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        // Of a thousand appends since the last look, one look shows all.
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

    /// Waits until something has changed, so long at most. Returns whether it has.
    ///
    /// # Errors
    /// When the system fails to tell.
    pub fn comes_within(&self, limit: Option<Duration>) -> io::Result<bool> {
        let Some(limit) = limit else {
            return Ok(true);
        };
        // Rounded up: what is due then is due when this returns.
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
