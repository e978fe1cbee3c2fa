//! Sends messages to standard error (as lines, or in the form that the journal takes), to a file, or to syslog.

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
use immuta_fs::fuse::LateReplyFilter;

/// The mode of a log file that is made here, before the umask.
const LOG_FILE_MODE: u32 = 0o640;
/// The socket of syslog, or of systemd's journal in its place.
const SYSLOG: &str = "/dev/log";

/// Whether messages go elsewhere than to standard error.
static LOG_IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Where messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink<'a> {
    Stderr,
    File(&'a Path),
    Syslog,
}

/// From now on, sends messages of this level, or as RUST_LOG says, to `sink`. If that is not standard error, panics are
/// sent there too.
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
    Box::new(LateReplyFilter(Bounded::new(logger, Instant::now)))
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(LOG_FILE_MODE)
        // If the path is a terminal, it must not become the daemon's controlling terminal.
        .custom_flags(libc::O_NOCTTY)
        .open(path)
}

/// Whether messages go elsewhere than to standard error.
pub(crate) fn is_elsewhere() -> bool {
    LOG_IS_ELSEWHERE.load(Ordering::Relaxed)
}

/// Warns on standard error if messages go to syslog, and there is none.
pub(crate) fn warn_without_syslog() {
    if !Path::new(SYSLOG).exists() {
        eprintln!(
            "immuta-fs: there is no syslog here ('{SYSLOG}'): messages of the daemon are lost (give --log-file)"
        );
    }
}

/// Reports the error that the program ends with: on standard error, and to the log if that goes elsewhere.
pub(crate) fn report_fatal(error: &dyn Display) {
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

/// Whether standard error goes to systemd's journal. It adds time, name and process to each line itself, and takes the
/// severity from the beginning of the line.
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

/// Sends messages that pass the filter to syslog(3).
struct Syslog(Logger);

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            let text = record.args().to_string();
            // It fails only for a message with a NUL, and the error could be reported nowhere.
            let _ = syslog(severity(record.level()), text.as_str());
        }
    }

    fn flush(&self) {}
}
