//! `immuta doctor`: finds what keeps immuta-fs from working on this machine, and says what to do about it.
//!
//! `system` checks the machine, `mounts` the mounts, `directory` the directory of logs, `unopened` the logs in it. `probe`
//! looks at directories that may hang.

mod directory;
mod mounts;
mod probe;
mod system;
mod unopened;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::Failure;
use system::System;

pub(crate) use probe::answer;

/// For tests: a directory with the files (/proc, /sys, /dev, /etc, programs, logs) of the system to check.
const SYSTEM: &str = "IMMUTA_DOCTOR_SYSTEM";

/// Say what keeps immuta-fs from working here, and what to do about it
///
/// Each line is ok, warn (works with a limitation) or fail. The exit status is 1 if anything fails. Nothing is
/// changed. A mount that hangs is reported, and does not hang this command.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        $ immuta doctor /mnt/log\n  \
        ok    /dev/fuse: there, and this user may open it\n  \
        fail  mount '/mnt/log': its daemon has died (umount '/mnt/log')")]
pub(crate) struct Doctor {
    /// A mount point, mounted or not. For another user's mount, says whether this user can use it
    #[arg(value_hint = ValueHint::DirPath)]
    mountpoint: Option<PathBuf>,
    /// Print one line of JSON for each check
    #[arg(long)]
    json: bool,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It works with a limitation.
    Warn,
    /// It does not work.
    Fail,
}

/// What a check has found.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: String,
    status: Status,
    what: String,
    /// The way out.
    #[serde(rename = "do")]
    todo: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, status: Status, what: impl Into<String>) -> Self {
        Finding {
            check: check.into(),
            status,
            what: what.into(),
            todo: None,
        }
    }

    fn ok(check: impl Into<String>, what: impl Into<String>) -> Self {
        Finding::new(check, Status::Ok, what)
    }

    fn warn(check: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Finding::new(check, Status::Warn, what).way_out(todo)
    }

    fn fail(check: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Finding::new(check, Status::Fail, what).way_out(todo)
    }

    fn way_out(self, todo: impl Into<String>) -> Self {
        Finding {
            todo: Some(todo.into()),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        write!(f, "{status:<4}  {}: {}", self.check, self.what)?;
        match &self.todo {
            Some(todo) => write!(f, " ({todo})"),
            None => Ok(()),
        }
    }
}

impl Doctor {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let root = std::env::var_os(SYSTEM).unwrap_or_else(|| "/".into());
        let system = System::at(Path::new(&root));
        let mut out = io::stdout().lock();
        let mut failed = false;
        let mut print = |finding: Finding| -> Result<(), Failure> {
            failed |= finding.status == Status::Fail;
            if self.json {
                let json = serde_json::to_string(&finding);
                writeln!(out, "{}", json.map_err(io::Error::other)?)?;
            } else {
                // A path may hold control characters, which a terminal would obey.
                let line = finding.to_string();
                let line: String = line
                    .chars()
                    .map(|c| if c.is_control() { '?' } else { c })
                    .collect();
                writeln!(out, "{line}")?;
            }
            Ok(out.flush()?)
        };
        let mountpoint = self.mountpoint.as_deref();
        let mountpoint = mountpoint.map(|path| mounts::resolve(&system, path));
        let mountpoint = mountpoint.as_deref();
        let shared = mounts::of_another_user(&system, mountpoint);
        let findings = match shared {
            Some(_) => system.to_use(),
            None => system.to_mount(),
        };
        for finding in findings {
            print(finding)?;
        }
        for finding in mounts::findings(&system, mountpoint) {
            print(finding)?;
        }
        if shared.is_none() {
            let logs_dir = mounts::logs_dir(&system, mountpoint);
            for finding in directory::findings(&system, logs_dir) {
                print(finding)?;
            }
        }
        if failed {
            Err(Failure::Reported)
        } else {
            Ok(())
        }
    }
}
