//! Signals: which of them end the daemon in order, and which ones it only logs.
//!
//! They are blocked in every thread and read from one descriptor, so that no signal can end the program in the middle of
//! an append. Signals of faults (SIGSEGV, SIGABRT) keep their meaning, and so do those that stop and continue a program.
//! fusermount3, which the daemon starts, inherits the mask: it ends by itself.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that keep their meaning: of faults, of job control, those that are ignored by default, and SIGPIPE, which Rust
/// ignores.
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

/// The signals of this process: blocked, and read from a descriptor.
pub(crate) struct Signals {
    descriptor: SignalFd,
    /// A daemon in the background has no terminal that could hang up.
    is_detached: bool,
}

impl Signals {
    /// Blocks the signals in this thread, and in those that it starts from now on.
    ///
    /// # Errors
    /// When no descriptor can be opened.
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

    /// Reads and logs the signals that have come. Returns whether one of them asks for the end.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub(crate) fn ask_for_end(&self) -> Result<bool, Errno> {
        while let Some(info) = self.descriptor.read_signal()? {
            let signal = Signal::try_from(info.ssi_signo as i32);
            let name = signal.map_or_else(
                |_| format!("signal {}", info.ssi_signo),
                |signal| signal.as_str().to_owned(),
            );
            match signal {
                Ok(Signal::SIGHUP) if self.is_detached => {
                    // A daemon has no terminal that could hang up. SIGHUP is how daemons are told to read their settings
                    // again.
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
                // The write that went beyond the limit has failed with EFBIG: that tells its caller.
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
