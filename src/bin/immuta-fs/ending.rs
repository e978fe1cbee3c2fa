//! The end of a mount: what brings it about, and what is done then, in one order.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use immuta::Storage;
use immuta_fs::fs::Fs;
use immuta_fs::fuse::{Kernel, MountPoint, Nudger};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::checks::Checks;
use crate::service_manager::ServiceManager;
use crate::session::{RunningSession, broke_off};
use crate::signals::Signals;

/// How long a daemon that was told to end waits for files that are still open.
const GRACE: Duration = Duration::from_millis(500);

/// A mount that is served, and all that serves it.
pub(crate) struct Served {
    pub(crate) session: RunningSession,
    pub(crate) nudger: Option<Nudger>,
    pub(crate) mountpoint: UnmountedWhenDropped,
    /// Where it is mounted, for messages.
    pub(crate) place: PathBuf,
    pub(crate) fs: Arc<Fs<Kernel>>,
    pub(crate) storage: Arc<Storage>,
    pub(crate) checks: Arc<Checks>,
    pub(crate) manager: Arc<ServiceManager>,
}

/// The mount point, if it can be seen. Dropping this unmounts it: without this program every call there would fail with
/// ENOTCONN until somebody unmounts it.
pub(crate) struct UnmountedWhenDropped(pub(crate) Option<MountPoint>);

impl Drop for UnmountedWhenDropped {
    fn drop(&mut self) {
        if let Some(mountpoint) = &self.0
            && let Err(e) = mountpoint.unmount()
        {
            log::error!("{e}");
        }
    }
}

/// Why a mount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A signal has come, or the program that waited for the mount is gone.
    Asked,
    /// The session with the kernel has ended.
    SessionEnded,
}

/// How a mount ends, and what is left of it.
enum End {
    /// It was asked for. The session goes on until the mount is gone.
    Asked(RunningSession),
    /// Somebody has unmounted it.
    Unmounted,
    /// The kernel has ended the session, and the mount is still there, dead.
    CutOff,
    /// The session has failed, and the mount is still there.
    Broken(io::Error),
}

impl Served {
    /// Whether this program has mounted it, and unmounts it.
    pub(crate) fn is_ours(&self) -> bool {
        self.mountpoint.0.as_ref().is_some_and(MountPoint::is_ours)
    }

    /// Makes sure that the mount answers.
    ///
    /// # Errors
    /// When it does not, or its session has ended.
    pub(crate) fn answers(self) -> Result<Served, String> {
        let Err(e) = std::fs::metadata(&self.place) else {
            return Ok(self);
        };
        if self.session.ends_within(GRACE) {
            return Err(broke_off(self.session.outcome().err().unwrap_or(e)));
        }
        let place = self.place.display();
        Err(format!("the mount on '{place}' does not answer: {e}"))
    }

    /// Waits until a signal asks for the end, or the session has ended.
    ///
    /// # Errors
    /// When the system does not let this program wait.
    pub(crate) fn wait(&self, signals: &Signals) -> Result<Cause, Box<dyn Error>> {
        let mounts = File::open("/proc/self/mountinfo")?;
        let mut closed = false;
        loop {
            let mut fds = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.session.as_fd(), PollFlags::POLLIN),
                PollFd::new(mounts.as_fd(), PollFlags::POLLPRI),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let came = |i: usize| fds[i].revents().is_some_and(|r| !r.is_empty());
            if came(0) && signals.ask_for_end()? {
                return Ok(Cause::Asked);
            }
            if came(1) {
                return Ok(Cause::SessionEnded);
            }
            // After `umount -l`, open files still work, but nobody could find the mount to end the reads that wait.
            if let Some(mountpoint) = &self.mountpoint.0
                && came(2)
                && !closed
                && !mountpoint.is_mounted()
            {
                log::info!(
                    "'{}' is not mounted any more: ending the reads that wait",
                    mountpoint.path().display()
                );
                self.fs.close();
                closed = true;
            }
        }
    }

    /// Ends the mount: ends the reads that wait, unmounts, and closes the logs. `checker` is the thread of the postponed
    /// checks.
    ///
    /// # Errors
    /// When the session has failed, the mount stays, or the logs cannot be synced.
    pub(crate) fn end(
        mut self,
        cause: Cause,
        checker: Option<JoinHandle<()>>,
    ) -> Result<(), Box<dyn Error>> {
        let is_ours = self.is_ours();
        let mountpoint = self.mountpoint.0.take();
        let end = match cause {
            Cause::Asked => End::Asked(self.session),
            Cause::SessionEnded => how_it_ended(self.session.outcome(), mountpoint.as_ref()),
        };
        self.manager.stopping();
        self.checks.stop();
        self.fs.close();
        drop(self.nudger);
        let unmounted = match (&end, &mountpoint) {
            // A mount that is there now, even with the same device number, may be another daemon's.
            (End::Unmounted, _) | (_, None) => Ok(()),
            (End::Asked(_) | End::CutOff | End::Broken(_), Some(mountpoint)) => {
                mountpoint.unmount()
            }
        };
        // A passed mount stays until the program that made it unmounts it: there is nothing to wait for.
        let grace = if is_ours { GRACE } else { Duration::ZERO };
        let in_time = match &end {
            End::Asked(session) => session.ends_within(grace),
            End::Unmounted | End::CutOff | End::Broken(_) => true,
        };
        self.fs.end_spools();
        // It stops before it reads on.
        if let Some(checker) = checker {
            let _ = checker.join();
        }
        self.storage.close()?;
        unmounted?;
        verdict(end, in_time, &self.place)?;
        if is_ours {
            log::info!("unmounted '{}'", self.place.display());
        }
        Ok(())
    }
}

fn how_it_ended(session: io::Result<()>, mountpoint: Option<&MountPoint>) -> End {
    match session {
        Err(e) => End::Broken(e),
        Ok(()) if mountpoint.is_some_and(MountPoint::is_dead) => End::CutOff,
        Ok(()) => End::Unmounted,
    }
}

/// Reports what was wrong with an end. A session that has not ended `in_time` ends with the program.
fn verdict(end: End, in_time: bool, place: &Path) -> Result<(), String> {
    match end {
        End::CutOff => Err(format!(
            "the kernel has cut off the mount on '{}': by umount -f, or because a request was not answered in time",
            place.display()
        )),
        End::Broken(e) => Err(broke_off(e)),
        End::Asked(session) if in_time => session.outcome().map_err(broke_off),
        End::Asked(_) | End::Unmounted => Ok(()),
    }
}
