//! Signals: which of them end the daemon in an orderly way, and which it only notes.
//!
//! All of them are blocked in every thread and come to one descriptor, so that no signal can end the program in the
//! middle of an append. A signal that a fault raises (SIGSEGV, SIGABRT) keeps its meaning, and so do those that stop
//! and continue a program. fusermount3, the only program that the daemon starts, inherits the mask: it ends by itself.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What keeps its meaning: faults, job control, what is ignored by default, and SIGPIPE, which Rust ignores.
const LEFT_ALONE: [Signal; 15] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGCHLD,
    Signal::SIGWINCH,
    Signal::SIGURG,
    Signal::SIGPIPE,
];

/// The signals of this process, blocked and to be read.
pub(crate) struct Signals {
    descriptor: SignalFd,
    /// A daemon in the background has no terminal that could hang up.
    is_detached: bool,
}

impl Signals {
    /// Takes them for this thread and for those that it starts from now on.
    ///
    /// # Errors
    /// When there can be no more descriptors.
    pub(crate) fn take(is_detached: bool) -> Result<Signals, Errno> {
        let mut signals = SigSet::all();
        for signal in LEFT_ALONE {
            signals.remove(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals, flags)?;
        Ok(Signals {
            descriptor,
            is_detached,
        })
    }

    /// Reads the signals that have come. Returns whether the daemon is to end.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub(crate) fn say_end(&self) -> Result<bool, Errno> {
        while let Some(info) = self.descriptor.read_signal()? {
            let signal = Signal::try_from(info.ssi_signo as i32);
            let name = signal.map_or_else(
                |_| format!("signal {}", info.ssi_signo),
                |signal| signal.as_str().to_owned(),
            );
            match signal {
                Ok(Signal::SIGHUP) if self.is_detached => {
                    // No terminal has gone: it is how daemons are told to look at their settings again.
                    log::info!("{name}: there is nothing to read again");
                }
                Ok(
                    Signal::SIGTERM
                    | Signal::SIGINT
                    | Signal::SIGHUP
                    | Signal::SIGQUIT
                    | Signal::SIGXCPU,
                ) => {
                    log::info!("{name}: ending");
                    return Ok(true);
                }
                // Whoever made the write that went beyond the limit has been told: EFBIG.
                Ok(Signal::SIGXFSZ) => {}
                _ => log::info!("{name}: ignored (SIGTERM ends this program)"),
            }
        }
        Ok(false)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
