//! A signal that ends the program finds it tidied up.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

/// Has `tidy_up` called when SIGINT, SIGTERM or SIGHUP comes, which then ends the program as ever. A signal
/// that whoever started it has it ignore stays ignored.
///
/// To be called before there is a second thread: the signals are blocked in this one and those that it starts.
///
/// # Errors
/// When there can be no thread that waits for them.
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

/// One bit a signal, the lowest for signal 1, see proc(5).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}
