//! In the background: the program starts itself again, away from the terminal, and waits until that one says that its
//! mount answers.
//!
//! It is executed anew, not forked: so it begins with one thread and with nothing that was set up for a process which
//! has gone. Its standard output is a pipe to who started it, where the line goes that announces the mount; its standard
//! error stays that of the caller until then, so that whatever keeps it from beginning is said there.

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

/// Its name in `ps`, whatever link it was called by.
const PROGRAM: &str = "immuta-fs";

/// Why there is no daemon.
pub(crate) enum NoDaemon {
    /// It has said itself why, and this is its exit status.
    Said(u8),
    /// What it did not come to say.
    Why(String),
}

impl From<io::Error> for NoDaemon {
    fn from(e: io::Error) -> Self {
        NoDaemon::Why(format!("cannot start in the background: {e}"))
    }
}

/// Starts the daemon with a command line of this program, and returns the line that announces its mount.
///
/// # Errors
/// When it has ended instead.
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
    // With it goes this process's end for writing: the pipe ends when the daemon does.
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
        return NoDaemon::Said(u8::try_from(code).unwrap_or(u8::MAX));
    }
    NoDaemon::Why(match status.signal().map(Signal::try_from) {
        Some(Ok(signal)) => format!("the daemon was ended by {signal} before its mount answered"),
        _ => "the daemon ended before its mount answered".to_owned(),
    })
}

/// As the daemon, first of all: leaves the terminal and its signals, and lets go of every open file that the caller
/// happened to have (a lock, the end of a pipe that somebody reads to its end), but for the one it passes.
///
/// # Errors
/// When the mount namespace to serve in cannot be entered.
pub(crate) fn leave(passed: Option<RawFd>, mount_namespace: Option<&Path>) -> Result<(), String> {
    // It fails only for the leader of a group of processes, and whoever was just started is none; but for one that was
    // called by hand, which leads its own, there is nothing to leave.
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

/// As the daemon, when its mount answers: keeps no directory busy, gives the caller's standard error back, and
/// announces the mount to who waits for it.
///
/// # Errors
/// When nobody does any more.
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
