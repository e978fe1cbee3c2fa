//! The life of a mount: opens the logs, mounts, serves until a signal or an unmount ends it.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use immuta::Storage;
use immuta_fs::cli::Cli;
use immuta_fs::fs::Fs;
use immuta_fs::fuse::{self, Kernel, MountParameters, MountPoint, Nudger, Session, Users};
use immuta_fs::host::Watch;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::announce::{Mounted, announce, unopened};
use crate::checks::{Checks, check_the_rest};
use crate::ending::{Cause, Served, UnmountedWhenDropped};
use crate::follow_logs::follow_logs;
use crate::open_logs::{cannot_start_thread, open_unless_interrupted, warn_of_open_directory};
use crate::service_manager::ServiceManager;
use crate::session::RunningSession;
use crate::settings::{max_block, settings, users};
use crate::signals::Signals;

/// The least number of threads that answer calls. All but two of them may wait for a disk.
const MIN_THREADS: usize = 6;

/// Serves a mount until it ends: a mount that this program makes, or one that was `passed` as an open `/dev/fuse`.
///
/// # Errors
/// When the mount cannot be made, or did not end in order. The error says what, why, and the way out.
pub(crate) fn serve(cli: &Cli, passed: Option<OwnedFd>) -> Result<(), Box<dyn Error>> {
    // Before the first thread: threads inherit the mask, so that signals come to the descriptor alone.
    let signals = Signals::take(cli.detached.is_some())?;
    raise_open_files();
    // The environment of a daemon is that of the program that has started it: NOTIFY_SOCKET in it is for that one.
    let manager = match cli.detached {
        Some(_) => ServiceManager::none(),
        None => ServiceManager::of_environment(),
    };
    let logs_dir = cli.logs_dir()?;
    let target = match passed {
        Some(device) => Target::Passed(device),
        None => Target::Path(fuse::prepare(&cli.mountpoint(), &logs_dir)?),
    };
    // Before the logs are opened, so that no change is missed.
    let watch = if cli.read_only {
        Some(Watch::start(&logs_dir).map_err(|e| cannot_watch(&logs_dir, &e))?)
    } else {
        None
    };
    manager.status(&format!("Opening the logs in '{}'", logs_dir.display()));
    if users(cli) != Users::Owner {
        warn_of_open_directory(&logs_dir);
    }
    let manager = Arc::new(manager);
    let checks = Arc::new(Checks::new(manager.clone()));
    let Some(storage) = open_unless_interrupted(cli, &logs_dir, &checks, &signals)? else {
        return Ok(());
    };
    let fs = file_system(cli, &storage).map_err(cannot_start_thread)?;
    let (session, mountpoint) = mount(cli, target, &logs_dir, &fs)?;
    // From here on a mount is there: any error unmounts it.
    let mountpoint = UnmountedWhenDropped(mountpoint);
    let nudger = match &mountpoint.0 {
        Some(mountpoint) => Some(nudge(&fs, mountpoint).map_err(cannot_start_thread)?),
        None => None,
    };
    let mut served = Served {
        session: RunningSession::start(session).map_err(cannot_start_thread)?,
        nudger,
        place: match &mountpoint.0 {
            Some(mountpoint) => mountpoint.path().to_owned(),
            None => cli.mountpoint(),
        },
        mountpoint,
        fs,
        storage,
        checks,
        manager,
    };
    if let Some(watch) = watch {
        follow_logs(watch, served.fs.clone()).map_err(cannot_start_thread)?;
    }
    if served.is_ours() {
        // The mount answers before it is announced.
        served = served.answers()?;
    }
    let unopened = unopened(&served.storage);
    let mounted = Mounted {
        place: &served.place,
        logs_dir: &logs_dir,
        is_ours: served.is_ours(),
        unopened: &unopened,
    };
    let checker = check_the_rest(&served.fs, &served.checks)?;
    let cause = match announce(cli, &served.manager, &mounted) {
        Ok(()) => served.wait(&signals)?,
        Err(e) => {
            log::warn!("nobody waits for the mount of this daemon any more ({e}): ending");
            Cause::Asked
        }
    };
    served.end(cause, checker)
}

/// Makes the file system that shows the logs.
fn file_system(cli: &Cli, storage: &Arc<Storage>) -> std::io::Result<Arc<Fs<Kernel>>> {
    let fs = Fs::new(storage.clone(), settings(cli))?;
    if let Some(limit) = max_block(cli) {
        fs.limit_waits(limit)?;
    }
    Ok(fs)
}

/// Has inotify watchers told when files of the mount grow.
fn nudge(fs: &Arc<Fs<Kernel>>, mountpoint: &MountPoint) -> std::io::Result<Nudger> {
    let theirs = fs.clone();
    let nudger = Nudger::start(mountpoint, move |ids| theirs.set_nudging_threads(ids))?;
    fs.set_nudge(nudger.queue());
    Ok(nudger)
}

fn cannot_watch(logs_dir: &Path, error: &std::io::Error) -> String {
    format!(
        "cannot follow the logs in '{}': {error} (give the directory that the writer keeps them in)",
        logs_dir.display()
    )
}

/// What to serve.
enum Target {
    /// An empty directory, to be mounted on.
    Path(PathBuf),
    /// A mount that another program has made.
    Passed(OwnedFd),
}

/// Mounts, or takes over the passed mount. Returns the mount point, where it can be seen.
fn mount(
    cli: &Cli,
    target: Target,
    logs_dir: &Path,
    fs: &Arc<Fs<Kernel>>,
) -> Result<(Session, Option<MountPoint>), Box<dyn Error>> {
    let n_threads =
        std::thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS));
    fs.serve_with(n_threads);
    let how = MountParameters {
        users: users(cli),
        kernel: &cli.kernel,
        n_threads,
    };
    let served = fs.clone();
    Ok(match target {
        Target::Path(path) => {
            // /proc/mounts is read in other working directories: the path has to be absolute.
            let source = std::fs::canonicalize(logs_dir)?;
            let (session, mountpoint) = fuse::mount_at(&path, &source, served, &how)?;
            (session, Some(mountpoint))
        }
        Target::Passed(device) => fuse::serve_passed(device, served, &how)?,
    })
}

/// Raises the limit of open files as far as it goes. Logs, and records that are written to `append-file`, hold descriptors:
/// the default limit of 1024 is soon reached.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(e) = raised {
        log::debug!("the limit of open files stays: {e}");
    }
}
