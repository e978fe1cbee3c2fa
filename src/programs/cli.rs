//! The command line of `immuta-fs`.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{Parser, ValueHint};

use crate::{Format, Sync};

/// Append-only logs as files: mounts a directory of logs.
///
/// Each log is a directory. Write to its `append` to add a record, read `follow` to get all records and wait
/// for the next ones, read a number to get that record.
#[derive(Debug, Parser)]
#[command(
    name = "immuta-fs",
    version,
    override_usage = "immuta-fs [OPTIONS] [LOGS_DIR] MOUNTPOINT",
    after_help = "Arguments:\n  [LOGS_DIR]  where the logs are kept, made when it is missing (default: /var/lib/immuta for root,\n              \
        $XDG_DATA_HOME/immuta or ~/.local/share/immuta for a user)\n  MOUNTPOINT  the empty directory to mount them on\n\n\
        Example:\n  immuta-fs /mnt/log &\n  echo hello > /mnt/log/default/append\n  tail -f /mnt/log/default/follow"
)]
pub struct Cli {
    // Which is which depends on how many there are, so the help above says it.
    #[arg(num_args = 1..=2, required = true, value_name = "MOUNTPOINT", hide = true, value_hint = ValueHint::DirPath)]
    paths: Vec<PathBuf>,

    /// When a record is on the disk: `always` (before the write returns), an interval such as `1s` or `200ms`
    /// (a power cut costs at most so much), or `never` (when the kernel sees fit)
    #[arg(long, value_name = "WHEN", default_value = "1s", value_parser = parse_sync)]
    pub sync: Sync,

    /// Longest record that `append-lines`, `append-frames` and `log` take, such as `64MiB`: a longer one is
    /// refused (EMSGSIZE)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub max_record: ByteSize,

    /// Format of new logs: `count8`, `count16` (what Go programs with immuta v0.0.3 and later read and
    /// write), or `bare`. A log keeps the format it has
    #[arg(long, value_name = "FORMAT", default_value = "count8")]
    pub format: Format,

    /// Format of a log whose bytes do not tell it: it is not mounted else, and the message names this option
    #[arg(long, value_name = "FORMAT")]
    pub assume_format: Option<Format>,

    /// Take no lock and write nothing: show, live, the logs that another program writes, a Go program
    /// included
    #[arg(long)]
    pub read_only: bool,

    /// Let other users use the mount, as far as owner, group and mode of each namespace allow
    #[arg(long, conflicts_with = "allow_root")]
    pub allow_other: bool,

    /// Let root use the mount too, and nobody else
    #[arg(long)]
    pub allow_root: bool,

    /// What is told on standard error: off, error, warn, info, debug or trace. RUST_LOG says it in more
    /// detail
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: log::LevelFilter,
}

/// What is wrong with a command line, in one line.
pub fn usage_error(error: &clap::Error) -> String {
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument => "no mount point is given".to_owned(),
        ErrorKind::TooManyValues => {
            "more is given than a directory of logs and a mount point".to_owned()
        }
        _ => return super::usage_error(error, "immuta-fs"),
    };
    format!("{what} (immuta-fs --help tells how)")
}

impl Cli {
    /// Where the logs are to be mounted.
    pub fn mountpoint(&self) -> PathBuf {
        self.paths.last().cloned().unwrap_or_default()
    }

    /// The directory of the logs.
    ///
    /// # Errors
    /// When none is given and there is no home to put them in.
    pub fn logs_dir(&self) -> Result<PathBuf, String> {
        match &self.paths[..] {
            [logs_dir, _] => Ok(logs_dir.clone()),
            _ => default_logs_dir(),
        }
    }
}

/// The directory of the logs when none is given.
///
/// # Errors
/// When there is no home to put them in.
pub fn default_logs_dir() -> Result<PathBuf, String> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/immuta"));
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("immuta"))
        .ok_or_else(|| {
            "no directory for the logs: neither XDG_DATA_HOME nor HOME is set (give LOGS_DIR)"
                .into()
        })
}

fn parse_sync(text: &str) -> Result<Sync, String> {
    match text {
        "always" => Ok(Sync::Always),
        "never" => Ok(Sync::Never),
        interval => match humantime::parse_duration(interval) {
            Ok(Duration::ZERO) => Err("an interval of nothing (use `always`)".into()),
            Ok(interval) => Ok(Sync::Every(interval)),
            Err(_) => {
                Err("neither `always`, nor `never`, nor an interval such as 1s or 200ms".into())
            }
        },
    }
}

fn parse_size(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("no record would fit".into()),
        Ok(size) => Ok(size),
        Err(_) => Err("not a size such as 64MiB".into()),
    }
}

fn parse_level(text: &str) -> Result<log::LevelFilter, String> {
    text.parse()
        .map_err(|_| "none of off, error, warn, info, debug, trace".into())
}
