//! Runs the session with the kernel on a thread of its own, and tells how it ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use immuta_fs::fuse::Session;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::open_logs::cannot_start_thread;

/// A session that has begun.
pub(crate) struct RunningSession {
    thread: JoinHandle<io::Result<()>>,
    /// Readable when the session has ended, for whatever reason: then the other end is closed.
    ended: OwnedFd,
}

impl RunningSession {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(session: Session) -> io::Result<RunningSession> {
        let (ended, lives) = io::pipe()?;
        let thread = Builder::new().name("session".into()).spawn(move || {
            let result = session.run();
            drop(lives);
            result
        })?;
        Ok(RunningSession {
            thread,
            ended: ended.into(),
        })
    }

    /// Waits until it has ended, for `timeout` at most. Returns whether it has.
    pub(crate) fn ends_within(&self, timeout: Duration) -> bool {
        wait_readable(&self.ended, timeout)
    }

    /// Waits for the end of the session, and returns how it went.
    ///
    /// # Errors
    /// When it has failed.
    pub(crate) fn outcome(self) -> io::Result<()> {
        match self.thread.join() {
            // A thread that was about to read a request when the mount ended gets this instead of ENODEV.
            Ok(Err(e)) if e.raw_os_error() == Some(libc::ECONNABORTED) => Ok(()),
            Ok(result) => result,
            Err(_) => Err(io::Error::other("its thread has panicked")),
        }
    }
}

impl AsFd for RunningSession {
    /// Readable when the session has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// The message that a session has failed.
pub(crate) fn broke_off(error: io::Error) -> String {
    match error.raw_os_error() {
        // The session starts its threads when it begins.
        Some(libc::EAGAIN) => cannot_start_thread(error),
        _ => format!("the session with the kernel broke off: {error}"),
    }
}

fn wait_readable(fd: &OwnedFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut fds,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        ) {
            Err(Errno::EINTR) => {}
            result => return result.is_ok_and(|n| n > 0),
        }
    }
}
