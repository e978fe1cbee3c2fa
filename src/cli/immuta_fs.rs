//! The command line of `immuta-fs`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, ValueHint};

use super::mount_options;
use super::usage;
use crate::fuse::KernelOptions;
use immuta::{Durability, Format};

/// With a shorter limit, waiting readers would be busy asking again.
const MIN_MAX_BLOCK: Duration = Duration::from_millis(1);

/// Append-only logs as files: mounts a directory of logs.
///
/// Each log is a directory. Write to its `append` to add a record, read `follow` to get all records and wait
/// for the next ones, read a number to get that record.
#[derive(Debug, Parser)]
#[command(
    name = "immuta-fs",
    version,
    override_usage = "immuta-fs [OPTIONS] [LOGS_DIR] MOUNTPOINT",
    after_help = "Arguments:\n  [LOGS_DIR]  the directory that holds the logs, made if it is missing (default: /var/lib/immuta for root,\n              \
        $XDG_DATA_HOME/immuta or ~/.local/share/immuta for a user)\n  MOUNTPOINT  the empty directory to mount them on; or \
        /dev/fd/N, if another program has opened\n              /dev/fuse, mounted with it, and passes it as descriptor N\n\n\
        In /etc/fstab, with a link /sbin/mount.fuse.immuta-fs to this program:\n  \
        /var/lib/immuta /mnt/log fuse.immuta-fs allow_other,nofail,_netdev 0 0\n\n\
        Example:\n  immuta-fs --daemon /mnt/log\n  echo hello >> /mnt/log/default/log\n  tail -f /mnt/log/default/follow"
)]
pub struct Cli {
    // Their number decides which is which, so the help above explains them.
    #[arg(num_args = 1..=2, required = true, value_name = "MOUNTPOINT", hide = true, value_hint = ValueHint::DirPath)]
    paths: Vec<PathBuf>,

    /// When a record is on the disk: `always` (before the write returns), an interval such as `1s` or `200ms`
    /// (a power cut costs at most the records of one interval), or `never` (when the kernel sees fit)
    #[arg(long, value_name = "WHEN", default_value = "1s", value_parser = parse_sync)]
    pub sync: Durability,

    /// Longest record that `append-lines`, `append-frames` and `log` take, such as `64MiB`. Longer ones are
    /// refused (EMSGSIZE)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub max_record: ByteSize,

    /// Most memory for lines and frames that wait for their end, and for writes that wait for the disk, in the whole mount.
    /// One user may take half of it. A write that would take more is refused (ENOBUFS). Default: 1GiB, or four of the
    /// longest records if that is more; never less than 4MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_open_bytes: Option<ByteSize>,

    /// Format of new logs: `count8`, `count16` (the one that Go programs with immuta v0.0.3 and later read and
    /// write), or `bare`. A log keeps the format it has
    #[arg(long, value_name = "FORMAT", default_value = "count8")]
    pub format: Format,

    /// Format to assume for a log whose format cannot be detected. Such a log is otherwise refused
    #[arg(long, value_name = "FORMAT")]
    pub assume_format: Option<Format>,

    /// Take no lock and write nothing: show, live, the logs that another program writes, such as a Go program
    #[arg(long)]
    pub read_only: bool,

    /// Let other users use the mount, as far as owner, group and mode of each namespace allow
    #[arg(long, conflicts_with = "allow_root")]
    pub allow_other: bool,

    /// Let root use the mount too, and no other user
    #[arg(long)]
    pub allow_root: bool,

    /// How long a read may wait for a record, such as `30s`, before it ends with EINTR. Most programs then read
    /// again. Default: for ever; or half of the kernel's limit for requests, if there is one
    /// (fs.fuse.default_request_timeout, fs.fuse.max_request_timeout)
    #[arg(long, value_name = "DURATION", value_parser = parse_max_block)]
    pub max_block: Option<Duration>,

    /// Mount options, separated by commas: the options above by their names (`sync=200ms,max_record=1MiB`), ro, noexec,
    /// and those of mount(8) itself. Implies --daemon
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,

    /// Return when the mount answers, and serve it in the background, away from this terminal
    #[arg(long)]
    pub daemon: bool,

    /// Stay in the foreground, also with -o
    #[arg(long, conflicts_with = "daemon")]
    foreground: bool,

    /// File to append messages to. It is opened once (rotate it by copying and truncating). Default: standard error;
    /// with --daemon, syslog
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,

    /// Least important messages that are logged: off, error, warn, info, debug or trace. RUST_LOG selects in more detail
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: log::LevelFilter,

    /// This process is the daemon that `--daemon` has started, from this working directory (which relative paths in the
    /// command line start from)
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    pub detached: Option<PathBuf>,

    /// Ignore unknown options of `-o` (mount -s)
    #[arg(long, hide = true)]
    sloppy: bool,

    /// The mount namespace to serve in (mount -N)
    #[arg(long, value_name = "PATH", hide = true)]
    pub mount_namespace: Option<PathBuf>,

    /// The options of `-o` that are for the kernel.
    #[arg(skip)]
    pub kernel: KernelOptions,
}

/// What is wrong with a command line.
pub enum UsageError {
    /// An error of clap; or a request for the help or the version.
    Arguments(clap::Error),
    /// What is wrong with `-o`.
    Options(String),
}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> Self {
        UsageError::Arguments(error)
    }
}

impl UsageError {
    /// Prints the help or the version and ends the program, if that was asked for. Otherwise returns, in one line, what is
    /// wrong.
    pub fn exit_or_describe(self) -> String {
        match self {
            UsageError::Arguments(e) if !e.use_stderr() => e.exit(),
            UsageError::Arguments(e) => usage_error(&e),
            UsageError::Options(what) => format!("{what} (immuta-fs --help tells how)"),
        }
    }
}

fn usage_error(error: &clap::Error) -> String {
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument => "no mount point is given".to_owned(),
        ErrorKind::TooManyValues => {
            "more is given than a directory of logs and a mount point".to_owned()
        }
        _ => return usage::usage_error(error, "immuta-fs"),
    };
    format!("{what} (immuta-fs --help tells how)")
}

impl Cli {
    /// Reads a command line, and the mount options in it. Of `--sync always -o sync=1s` the long option counts.
    ///
    /// # Errors
    /// What is wrong with it; or a request for the help or the version.
    pub fn read(arguments: &[OsString]) -> Result<Cli, UsageError> {
        let mut cli = Cli::try_parse_from(arguments)?;
        if !cli.options.is_empty() {
            let options = mount_options::read(&cli.options, &Cli::command(), cli.sloppy)
                .map_err(UsageError::Options)?;
            let (program, rest) = arguments
                .split_first()
                .ok_or_else(|| UsageError::Options("no program".into()))?;
            let all = [program.clone()]
                .into_iter()
                .chain(options.arguments.into_iter().map(OsString::from))
                .chain(rest.iter().cloned());
            let matches = Cli::command()
                .args_override_self(true)
                .try_get_matches_from(all)?;
            cli = Cli::from_arg_matches(&matches)?;
            cli.kernel = options.kernel;
            cli.daemon = !cli.foreground;
        }
        Ok(cli)
    }

    /// Where to mount the logs.
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

fn parse_sync(text: &str) -> Result<Durability, String> {
    match text {
        "always" => Ok(Durability::Always),
        "never" => Ok(Durability::Never),
        interval => match humantime::parse_duration(interval) {
            Ok(Duration::ZERO) => Err("an interval of nothing (use `always`)".into()),
            Ok(interval) => Ok(Durability::Every(interval)),
            Err(_) => {
                Err("neither `always`, nor `never`, nor an interval such as 1s or 200ms".into())
            }
        },
    }
}

fn parse_max_block(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(limit) if limit < MIN_MAX_BLOCK => Err("shorter than 1ms".into()),
        Ok(limit) => Ok(limit),
        Err(_) => Err("not a duration such as 30s".into()),
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
