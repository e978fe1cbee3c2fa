//! Tidies up before a signal ends the program.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

/// Calls `tidy_up` when SIGINT, SIGTERM or SIGHUP comes, and then has the signal end the program. Signals that the
/// program was started to ignore (nohup) stay ignored.
///
/// Call it before a second thread is started: it blocks the signals in this thread, and in those that it starts.
///
/// # Errors
/// When the thread that waits for signals cannot be started.
pub(crate) fn on_signal(tidy_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let ignored = ignored_signals();
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if ignored & (1 << (signal as u32 - 1)) == 0 {
            signals.add(signal);
        }
    }
    signals.thread_block()?;
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            tidy_up();
            let _ = signals.thread_unblock();
            let _ = raise(signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// The ignored signals, as bits: the lowest bit is signal 1, see proc(5).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}
