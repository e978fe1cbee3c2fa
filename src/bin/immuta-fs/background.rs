//! `--daemon`: the program starts itself again as a daemon, away from the terminal, and waits until the daemon says that
//! its mount answers.
//!
//! The daemon is executed anew, not forked: so it begins with one thread, and with nothing that was set up for another
//! process. Its standard output is a pipe to the program that started it, for the line that announces the mount. Until
//! then it keeps the caller's standard error, so that errors at the start are shown there.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use immuta_fs::host::close_all_but;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// The daemon's name in `ps`, whatever link the program was called by.
const PROGRAM: &str = "immuta-fs";

/// Why there is no daemon.
pub(crate) enum NoDaemon {
    /// It has reported the error itself, and ended with this exit status.
    Reported(u8),
    /// The error, which is still to be reported.
    Unreported(String),
}

impl From<io::Error> for NoDaemon {
    fn from(e: io::Error) -> Self {
        NoDaemon::Unreported(format!("cannot start in the background: {e}"))
    }
}

/// Starts the daemon with a command line of this program, and returns the line that announces its mount.
///
/// # Errors
/// When the daemon has ended instead.
pub(crate) fn start(arguments: &[OsString]) -> Result<String, NoDaemon> {
    let mut detached = OsString::from("--detached=");
    detached.push(std::env::current_dir().unwrap_or_else(|_| "/".into()));
    let (announcement, theirs) = io::pipe()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg0(PROGRAM)
        .arg(detached)
        .args(arguments.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(theirs);
    let mut daemon = command.spawn()?;
    // This closes the write end in this process: the pipe then ends when the daemon does.
    drop(command);
    let mut line = String::new();
    BufReader::new(announcement).read_line(&mut line)?;
    if line.ends_with('\n') {
        return Ok(line);
    }
    Err(how_it_ended(daemon.wait()?))
}

fn how_it_ended(status: ExitStatus) -> NoDaemon {
    if let Some(code) = status.code().filter(|&code| code != 0) {
        return NoDaemon::Reported(u8::try_from(code).unwrap_or(u8::MAX));
    }
    NoDaemon::Unreported(match status.signal().map(Signal::try_from) {
        Some(Ok(signal)) => format!("the daemon was ended by {signal} before its mount answered"),
        _ => "the daemon ended before its mount answered".to_owned(),
    })
}

/// The daemon's first step: leaves the terminal and its signals, and closes every open file that it has inherited (a lock,
/// the end of a pipe whose reader waits for its end), except the `passed` one.
///
/// # Errors
/// When the mount namespace to serve in cannot be entered.
pub(crate) fn leave(passed: Option<RawFd>, mount_namespace: Option<&Path>) -> Result<(), String> {
    // This fails only for the leader of a process group. A daemon that was started by this program is none, and one that
    // was started by hand has no session of a caller to leave.
    if let Err(e) = setsid() {
        log::debug!("this is no session of its own: {e}");
    }
    close_all_but(passed);
    if let Some(path) = mount_namespace {
        let enter =
            |path| -> io::Result<()> { Ok(setns(File::open(path)?, CloneFlags::CLONE_NEWNS)?) };
        enter(path)
            .map_err(|e| format!("cannot enter the mount namespace '{}': {e}", path.display()))?;
    }
    Ok(())
}

/// The daemon's step when its mount answers: leaves the working directory, so that it keeps no directory busy, lets go of
/// the caller's standard error, and announces the mount to the program that started it.
///
/// # Errors
/// When that program does not wait any more.
pub(crate) fn announce(line: &str) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    chdir("/")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    let mut waiting = io::stdout();
    let announced = waiting
        .write_all(line.as_bytes())
        .and_then(|()| waiting.flush());
    dup2_stdout(&null).map_err(|e: Errno| io::Error::from(e))?;
    announced
}
