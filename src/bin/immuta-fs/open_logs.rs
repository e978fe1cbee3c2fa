//! Opens the directory of logs for a mount, and says what to do when it cannot be opened.

use std::error::Error;
use std::fs::DirBuilder;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use immuta::{Disk, Options, StdDisk, Storage};
use immuta_fs::cli::Cli;
use immuta_fs::fuse::MAX_WRITE_BYTES;
use immuta_fs::host::mountpoint_of;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::checks::Checks;
use crate::signals::Signals;

/// The namespace that is made when there is none.
const DEFAULT_NAMESPACE: &str = "default";
/// How long to wait for a daemon that is not mounted any more, and still syncs its logs.
const PREDECESSOR_ENDS: Duration = Duration::from_secs(5);
const LOOKS_AGAIN: Duration = Duration::from_millis(10);

/// Opens the logs on a thread of their own, because that may take long, and a signal is to end it at any time. Returns
/// `None` when a signal has ended it.
///
/// # Errors
/// Why not, with the way out.
pub(crate) fn open_unless_interrupted(
    cli: &Cli,
    logs_dir: &Path,
    checks: &Arc<Checks>,
    signals: &Signals,
) -> Result<Option<Arc<Storage>>, Box<dyn Error>> {
    // The thread closes the write end when it is done.
    let (ended, lives) = nix::unistd::pipe()?;
    std::thread::scope(|scope| {
        let opening = std::thread::Builder::new()
            .name("open".into())
            .spawn_scoped(scope, move || {
                let opened = open_storage(cli, logs_dir, checks.clone()).map_err(|e| e.to_string());
                drop(lives);
                opened
            })
            .map_err(cannot_start_thread)?;
        let mut is_told_to_end = false;
        while !opening.is_finished() {
            let mut fds = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            if fds[1].revents().is_some_and(|r| !r.is_empty()) {
                break;
            }
            if signals.ask_for_end()? {
                is_told_to_end = true;
                checks.stop();
                break;
            }
        }
        let opened = opening
            .join()
            .map_err(|_| "opening the logs has panicked")?;
        match opened {
            _ if is_told_to_end => Ok(None),
            Ok(storage) => Ok(Some(Arc::new(storage))),
            Err(e) => Err(e.into()),
        }
    })
}

/// Opens the logs in a directory, or makes the first one.
///
/// # Errors
/// Why not, with the way out.
fn open_storage(
    cli: &Cli,
    logs_dir: &Path,
    checks: Arc<Checks>,
) -> Result<Storage, Box<dyn Error>> {
    // `append` takes what the kernel sends in one message, even where --max-record is shorter.
    let max_record_bytes = cli.max_record.as_u64().max(MAX_WRITE_BYTES.into());
    // A daemon leaves the working directory that a relative path starts from.
    let directory = match cli.detached {
        Some(_) => std::path::absolute(logs_dir)?,
        None => logs_dir.to_owned(),
    };
    let mut options = Options::new(directory)
        .format(cli.format)
        .sync(cli.sync)
        .read_only(cli.read_only)
        .max_record_bytes(max_record_bytes)
        .opening(checks);
    if let Some(format) = cli.assume_format {
        options = options.assume_format(format);
    }
    if !cli.read_only {
        make_private(logs_dir);
    }
    let storage = open_when_free(options, logs_dir).map_err(|e| cannot_keep_logs(logs_dir, e))?;
    if !cli.read_only && storage.namespaces().is_empty() && storage.failed().is_empty() {
        storage.create(&immuta::Namespace::new(DEFAULT_NAMESPACE)?)?;
    }
    Ok(storage)
}

/// Opens the logs. If a daemon whose mount was just unmounted still holds them, this waits a little for its end.
fn open_when_free(options: Options, logs_dir: &Path) -> immuta::Result<Storage> {
    let start = Instant::now();
    loop {
        match Storage::open(options.clone()) {
            Err(immuta::Error::Locked { holder, .. })
                if holder.program.as_deref() == Some("immuta-fs")
                    && start.elapsed() < PREDECESSOR_ENDS
                    && mountpoint_of(logs_dir).is_none() =>
            {
                std::thread::sleep(LOOKS_AGAIN);
            }
            result => return result,
        }
    }
}

/// Makes a missing directory of logs, for this user alone: the mount decides which user may read which log, and files on
/// the disk cannot. An error here comes again, with a message, when the logs are opened.
fn make_private(logs_dir: &Path) {
    let make = || {
        let logs_dir = std::path::absolute(logs_dir)?;
        let parent = logs_dir.parent().unwrap_or(&logs_dir);
        StdDisk.create_dir(parent)?;
        DirBuilder::new().mode(0o700).create(&logs_dir)?;
        StdDisk.sync_dir(parent)
    };
    if let Err(e) = make() {
        log::debug!("'{}' is not made: {e}", logs_dir.display());
    }
}

/// Warns if other users can get at the logs on the disk, past the rights that the mount keeps.
pub(crate) fn warn_of_open_directory(logs_dir: &Path) {
    const SEARCH_BY_OTHERS: u32 = 0o011;
    let mode = std::fs::metadata(logs_dir).map_or(0, |logs_dir| logs_dir.mode());
    if mode & SEARCH_BY_OTHERS != 0 {
        log::warn!(
            "'{0}' lets other users in: on the disk they may read what the mount keeps from them (chmod go= '{0}')",
            logs_dir.display()
        );
    }
}

/// Why the directory cannot be opened, with the way out.
fn cannot_keep_logs(logs_dir: &Path, error: immuta::Error) -> Box<dyn Error> {
    let error = match error {
        immuta::Error::Io { source, .. } if source.raw_os_error() == Some(libc::EAGAIN) => {
            return cannot_start_thread(source).into();
        }
        immuta::Error::Io { .. } => error,
        immuta::Error::Locked { dir, holder } => {
            let way_out = match mountpoint_of(&dir) {
                Some(place) => format!("use its mount '{}'", place.display()),
                None => "end that program".to_owned(),
            };
            return format!(
                "'{}' is in use by {holder}: a directory has one writer ({way_out}, or mount with --read-only)",
                dir.display()
            )
            .into();
        }
        _ => return error.into(),
    };
    let logs = logs_dir.display();
    if logs_dir.exists() && !logs_dir.is_dir() {
        return format!("cannot keep logs in '{logs}': not a directory (give a directory)").into();
    }
    format!("cannot keep logs in '{logs}': {error} (give a directory that you may write to)").into()
}

/// The message that a thread cannot be started, with the way out.
pub(crate) fn cannot_start_thread(error: std::io::Error) -> String {
    format!(
        "cannot start a thread: {error} (raise the limit of threads: TasksMax= of the service, or ulimit -u; or the limit \
         of memory)"
    )
}
