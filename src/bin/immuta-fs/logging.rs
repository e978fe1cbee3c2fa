//! Where messages go: to standard error, as lines or as the journal takes them; to a file; or to syslog.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use env_logger::{Builder, Env, Logger, Target};
use immuta_fs::cli::message;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::syslog::{Facility, LogFlags, Severity, openlog, syslog};

use crate::messages::Bounded;
use immuta_fs::fuse::LateRepliesAreNoErrors;

/// Who may read a log file that is made here, less what the umask takes.
const LOG_FILE_MODE: u32 = 0o640;
/// Where a syslog listens, and systemd's journal.
const SYSLOG: &str = "/dev/log";

/// Messages do not go to standard error.
static LOG_IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink<'a> {
    Stderr,
    File(&'a Path),
    Syslog,
}

/// Has messages of this level, or of what RUST_LOG says, go to `sink` from now on. Whatever is written to standard
/// error behind the back of the log (a panic) goes there too.
///
/// # Errors
/// When the file cannot be opened, with the way out.
pub(crate) fn begin(sink: Sink<'_>, level: LevelFilter) -> Result<(), String> {
    let filter = format!("warn,immuta={level},immuta_fs={level}");
    let mut builder = Builder::from_env(Env::default().default_filter_or(filter));
    match sink {
        Sink::Stderr if is_journal() => {
            builder.format(|line, record| {
                writeln!(
                    line,
                    "<{}>{}",
                    severity(record.level()) as u8,
                    record.args()
                )
            });
        }
        Sink::Stderr => {}
        Sink::File(path) => {
            let file = open(path).map_err(|e| {
                format!("cannot write messages to '{}': {e} (give --log-file a path that you may write to)", path.display())
            })?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        Sink::Syslog => {
            openlog(Some(c"immuta-fs"), LogFlags::LOG_PID, Facility::LOG_DAEMON)
                .map_err(|e| format!("cannot use syslog: {e}"))?;
        }
    }
    let logger = builder.build();
    log::set_max_level(logger.filter());
    let logger: Box<dyn Log> = match sink {
        Sink::Syslog => bounded(Syslog(logger)),
        Sink::Stderr | Sink::File(_) => bounded(logger),
    };
    log::set_boxed_logger(logger).map_err(|e| e.to_string())?;
    if sink != Sink::Stderr {
        LOG_IS_ELSEWHERE.store(true, Ordering::Relaxed);
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
    Ok(())
}

fn bounded(logger: impl Log + 'static) -> Box<dyn Log> {
    Box::new(LateRepliesAreNoErrors(Bounded::new(logger, Instant::now)))
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(LOG_FILE_MODE)
        // A terminal would become the daemon's own, and its Ctrl-C with it.
        .custom_flags(libc::O_NOCTTY)
        .open(path)
}

/// Whether messages go elsewhere than to standard error.
pub(crate) fn is_elsewhere() -> bool {
    LOG_IS_ELSEWHERE.load(Ordering::Relaxed)
}

/// Says on standard error that nobody hears what is said to syslog, if that is so.
pub(crate) fn miss_syslog() {
    if !Path::new(SYSLOG).exists() {
        eprintln!(
            "immuta-fs: there is no syslog here ('{SYSLOG}'): messages of the daemon are lost (give --log-file)"
        );
    }
}

/// The program ends with this error: it is said on standard error, and in the log if that is elsewhere.
pub(crate) fn last_words(error: &dyn Display) {
    let error = error.to_string();
    let error = message(&error);
    if is_journal() {
        eprintln!("<{}>immuta-fs: {error}", Severity::LOG_ERR as u8);
    } else {
        eprintln!("immuta-fs: {error}");
    }
    if is_elsewhere() {
        log::error!("{error}");
    }
}

/// Whether standard error goes to systemd's journal, which has the time, the name and the process of each line already,
/// and takes its severity from the line's beginning.
fn is_journal() -> bool {
    let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Some((device, inode)) = journal.split_once(':') else {
        return false;
    };
    std::fs::metadata("/dev/stderr")
        .is_ok_and(|m| device.parse() == Ok(m.dev()) && inode.parse() == Ok(m.ino()))
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

/// syslog(3), for what passes the filter.
struct Syslog(Logger);

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            let text = record.args().to_string();
            // It fails for a message with a NUL in it, and has nowhere to say so.
            let _ = syslog(severity(record.level()), text.as_str());
        }
    }

    fn flush(&self) {}
}
