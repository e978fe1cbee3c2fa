//! The life of a mount: opened, mounted, served, and ended by a signal or by an unmount.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use immuta::Storage;
use immuta::cli::Cli;
use immuta::fs::{Fs, Settings};
use immuta::fuse::{
    self, How, Kernel, MountPoint, Nudger, RequestTimeout, Session, Users, interrupt,
};
use immuta::host::Watch;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::announce::{Mounted, announce, unopened};
use crate::checks::Checks;
use crate::follow_logs::follow_logs;
use crate::open_logs::{cannot_start_thread, open_storage, warn_of_open_directory};
use crate::service_manager::ServiceManager;
use crate::signals::Signals;

/// Memory for what waits: lines and frames for their end, writes for the disk.
const DEFAULT_OPEN_BYTES: u64 = 1 << 30;
/// A user's half of it is to hold the largest write that the kernel sends, and a line that it is put behind.
const LEAST_OPEN_BYTES: u64 = 4 << 20;
/// How long files that are still open may keep a daemon that was told to end.
const GRACE: Duration = Duration::from_millis(500);
/// At least so many threads serve: all but two of them may wait for a disk.
const MIN_THREADS: usize = 6;

/// Serves until the mount ends: one that it makes, or one that was passed as an open `/dev/fuse`.
///
/// # Errors
/// When it cannot begin; the error says what, why, and the way out.
pub(crate) fn serve(cli: &Cli, passed: Option<OwnedFd>) -> Result<(), Box<dyn Error>> {
    // Before the first thread: every one of them inherits the mask, and the signals come to the descriptor
    // only.
    let signals = Signals::take(cli.detached.is_some())?;
    raise_open_files();
    // What is in a daemon's environment is for whoever has started it.
    let manager = match cli.detached {
        Some(_) => ServiceManager::none(),
        None => ServiceManager::of_environment(),
    };
    let logs_dir = cli.logs_dir()?;
    let target = match passed {
        Some(device) => Target::Passed(device),
        None => Target::Path(fuse::prepare(&cli.mountpoint(), &logs_dir)?),
    };
    // Before the logs are opened: what is written between the two is not missed.
    let watch = match cli.read_only {
        true => Some(Watch::start(&logs_dir).map_err(|e| cannot_watch(&logs_dir, &e))?),
        false => None,
    };
    manager.status(&format!("Opening the logs in '{}'", logs_dir.display()));
    if users(cli) != Users::Owner {
        warn_of_open_directory(&logs_dir);
    }
    let manager = Arc::new(manager);
    let checks = Arc::new(Checks::new(manager.clone()));
    let Some(storage) = open_unless_told_to_end(cli, &logs_dir, &checks, &signals)? else {
        return Ok(());
    };
    let fs = Fs::<Kernel>::new(storage.clone(), settings(cli)).map_err(cannot_start_thread)?;
    if let Some(limit) = max_block(cli) {
        fs.limit_waits(limit).map_err(cannot_start_thread)?;
    }
    let (session, mountpoint) = mount(cli, target, &logs_dir, &fs)?;
    // From here on a mount is there: whatever fails takes it away again.
    let mut unserved = Unserved(mountpoint.as_ref());

    let interrupted = fs.clone();
    interrupt::watch(session.as_fd(), move |unique| interrupted.interrupt(unique));
    let nudger = match &mountpoint {
        Some(mountpoint) => {
            let theirs = fs.clone();
            let nudger = Nudger::start(mountpoint, move |ids| theirs.set_nudging_threads(ids))
                .map_err(cannot_start_thread)?;
            fs.set_nudge(nudger.pending());
            Some(nudger)
        }
        None => None,
    };
    // The write end is closed when the session's loop has ended, for whatever reason.
    let (ended, session_lives) = std::io::pipe()?;
    let ended = OwnedFd::from(ended);
    let session = std::thread::Builder::new()
        .name("session".into())
        .spawn(move || {
            let result = session.run();
            drop(session_lives);
            result
        })
        .map_err(cannot_start_thread)?;
    if let Some(watch) = watch {
        follow_logs(watch, fs.clone()).map_err(cannot_start_thread)?;
    }
    let place = match &mountpoint {
        Some(mountpoint) => mountpoint.path().to_owned(),
        None => cli.mountpoint(),
    };
    let is_ours = mountpoint.as_ref().is_some_and(MountPoint::is_ours);
    if is_ours {
        // The mount answers before it is announced.
        if let Err(e) = std::fs::metadata(&place) {
            return Err(match wait_readable(&ended, GRACE) {
                true => broke_off(outcome(session).err().unwrap_or(e)),
                false => format!("the mount on '{}' does not answer: {e}", place.display()),
            }
            .into());
        }
    }
    let unopened = unopened(&storage);
    let mounted = Mounted {
        place: &place,
        logs_dir: &logs_dir,
        is_ours,
        unopened: &unopened,
    };
    let checker = check_the_rest(&fs, &checks)?;
    let is_asked = match announce(cli, &manager, &mounted) {
        Ok(()) => wait_for_the_end(&fs, mountpoint.as_ref(), &signals, &ended)?,
        Err(e) => {
            log::warn!("nobody waits for the mount of this daemon any more ({e}): ending");
            true
        }
    };
    unserved.0 = None;
    let (end, session) = match is_asked {
        true => (End::Asked, Some(session)),
        false => (how_it_ended(outcome(session), mountpoint.as_ref()), None),
    };
    manager.stopping();
    checks.stop();
    fs.close();
    drop(nudger);
    let unmounted = match (&end, &mountpoint) {
        // What is there now, under the same number, may be the next daemon's.
        (End::Unmounted, _) | (_, None) => Ok(()),
        (End::Asked | End::CutOff | End::Broken(_), Some(mountpoint)) => mountpoint.unmount(),
    };
    // A mount of somebody else's stays until that one unmounts it: without this program it is dead.
    let in_time = wait_readable(&ended, if is_ours { GRACE } else { Duration::ZERO });
    interrupt::unwatch();
    fs.end_spools();
    // It stops at its next look at the disk.
    if let Some(checker) = checker {
        let _ = checker.join();
    }
    storage.close()?;
    unmounted?;
    match end {
        End::CutOff => {
            return Err(format!(
                "the kernel has cut off the mount on '{}': by umount -f, or because a request was not answered in time",
                place.display()
            )
            .into());
        }
        End::Broken(e) => return Err(broke_off(e).into()),
        End::Asked | End::Unmounted => {}
    }
    if in_time && let Some(session) = session {
        outcome(session).map_err(broke_off)?;
    }
    if is_ours {
        log::info!("unmounted '{}'", place.display());
    }
    Ok(())
}

/// Opens the logs on a thread of their own, as that may take long, and a signal ends it at any time. Nothing: it was
/// told to end.
fn open_unless_told_to_end(
    cli: &Cli,
    logs_dir: &Path,
    checks: &Arc<Checks>,
    signals: &Signals,
) -> Result<Option<Arc<Storage>>, Box<dyn Error>> {
    // The write end is closed when the thread has ended.
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
            if signals.say_end()? {
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

/// Checks, while the mount answers, the logs that take long. Nothing: there are none.
fn check_the_rest(fs: &Arc<Fs<Kernel>>, checks: &Checks) -> Result<Option<JoinHandle<()>>, String> {
    if !checks.serve() {
        return Ok(None);
    }
    let fs = fs.clone();
    std::thread::Builder::new()
        .name("check".into())
        .spawn(move || fs.open_postponed())
        .map(Some)
        .map_err(cannot_start_thread)
}

/// A mount that nobody serves yet. Dropped, it is taken away: every call there would fail with ENOTCONN until somebody
/// unmounts it.
struct Unserved<'a>(Option<&'a MountPoint>);

impl Drop for Unserved<'_> {
    fn drop(&mut self) {
        if let Some(mountpoint) = self.0
            && let Err(e) = mountpoint.unmount()
        {
            log::error!("{e}");
        }
    }
}

fn broke_off(error: io::Error) -> String {
    match error.raw_os_error() {
        // The session starts its threads when it begins.
        Some(libc::EAGAIN) => cannot_start_thread(error),
        _ => format!("the session with the kernel broke off: {error}"),
    }
}

/// How a session went whose end has been seen.
fn outcome(session: JoinHandle<io::Result<()>>) -> io::Result<()> {
    match session.join() {
        // What a thread gets, instead of ENODEV, that was about to take a request when the mount ended.
        Ok(Err(e)) if e.raw_os_error() == Some(libc::ECONNABORTED) => Ok(()),
        Ok(result) => result,
        Err(_) => Err(io::Error::other("its thread has panicked")),
    }
}

fn how_it_ended(session: io::Result<()>, mountpoint: Option<&MountPoint>) -> End {
    match session {
        Err(e) => End::Broken(e),
        Ok(()) if mountpoint.is_some_and(MountPoint::is_dead) => End::CutOff,
        Ok(()) => End::Unmounted,
    }
}

/// How it has come to its end.
enum End {
    /// By a signal.
    Asked,
    /// Somebody has unmounted it.
    Unmounted,
    /// The kernel has ended the session, and not the mount.
    CutOff,
    /// The session has ended by itself, and the mount is there.
    Broken(io::Error),
}

fn settings(cli: &Cli) -> Settings {
    Settings {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        split_write_bytes: split_write_bytes(),
        sync_always: cli.sync == immuta::Sync::Always,
        read_only: cli.read_only,
        max_record_bytes: cli.max_record.as_u64(),
        max_open_bytes: cli.max_open_bytes.map_or_else(
            || DEFAULT_OPEN_BYTES.max(cli.max_record.as_u64().saturating_mul(4)),
            |bytes| bytes.as_u64().max(LEAST_OPEN_BYTES),
        ),
    }
}

fn cannot_watch(logs_dir: &Path, error: &std::io::Error) -> String {
    format!(
        "cannot follow the logs in '{}': {error} (give the directory that the writer keeps them in)",
        logs_dir.display()
    )
}

/// What is to be served.
enum Target {
    /// An empty directory, to be mounted on.
    Path(PathBuf),
    /// A mount that somebody else has made.
    Passed(OwnedFd),
}

/// Mounts, if that is not done. Returns where, if that is known.
fn mount(
    cli: &Cli,
    target: Target,
    logs_dir: &Path,
    fs: &Arc<Fs<Kernel>>,
) -> Result<(Session, Option<MountPoint>), Box<dyn Error>> {
    let n_threads =
        std::thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS));
    fs.serve_with(n_threads);
    let how = How {
        users: users(cli),
        kernel: &cli.kernel,
        n_threads,
    };
    let served = fs.clone();
    Ok(match target {
        Target::Path(path) => {
            // Whoever reads /proc/mounts is in another directory.
            let source = std::fs::canonicalize(logs_dir)?;
            let (session, mountpoint) = fuse::mount_at(&path, &source, served, &how)?;
            (session, Some(mountpoint))
        }
        Target::Passed(device) => fuse::serve_passed(device, served, &how)?,
    })
}

/// Who may use the mount at all.
fn users(cli: &Cli) -> Users {
    match (cli.allow_other, cli.allow_root) {
        (true, _) => Users::All,
        (false, true) => Users::RootAndOwner,
        (false, false) => Users::Owner,
    }
}

/// How long a read may wait: as long as the user says, and well within what the kernel allows.
fn max_block(cli: &Cli) -> Option<Duration> {
    let kernels = RequestTimeout::of_kernel();
    if let Some(kernels) = &kernels {
        log::warn!(
            "the kernel ends this mount, for everybody, when the disk holds up a write, an fsync or a close for {} (set {} to 0, \
             or to more than the disk can take)",
            humantime::format_duration(kernels.timeout),
            kernels.setting,
        );
    }
    let shorter = kernels.filter(|k| cli.max_block.is_none_or(|ours| k.max_block() < ours));
    if let Some(kernels) = shorter {
        log::info!(
            "the kernel ends a mount that leaves a request unanswered for {} ({}): reads that wait are answered with EINTR \
             after {}, and called again by most programs",
            humantime::format_duration(kernels.timeout),
            kernels.setting,
            humantime::format_duration(kernels.max_block()),
        );
    }
    shorter.map(RequestTimeout::max_block).or(cli.max_block)
}

/// Files of logs, and records that are written to `append-file`, hold descriptors, and the default limit of 1024 is soon
/// reached.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(e) = raised {
        log::debug!("the limit of open files stays: {e}");
    }
}

/// A write to the mount of this size or more may have been split by the kernel, which sends as many pages as
/// its limit allows, less one when the buffer does not begin on a page.
fn split_write_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    const DEFAULT_MAX_PAGES: usize = 256;
    let limit = std::fs::read_to_string("/proc/sys/fs/fuse/max_pages_limit");
    let pages = limit
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_PAGES);
    (pages.min(DEFAULT_MAX_PAGES) - 1) * PAGE_BYTES
}

/// Returns whether a signal asks for the end; if not, the session has ended.
fn wait_for_the_end(
    fs: &Fs<Kernel>,
    mountpoint: Option<&MountPoint>,
    signals: &Signals,
    ended: &OwnedFd,
) -> Result<bool, Box<dyn Error>> {
    let mounts = std::fs::File::open("/proc/self/mountinfo")?;
    let mut closed = false;
    loop {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(mounts.as_fd(), PollFlags::POLLPRI),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let came = |i: usize| fds[i].revents().is_some_and(|r| !r.is_empty());
        if came(0) && signals.say_end()? {
            return Ok(true);
        }
        if came(1) {
            return Ok(false);
        }
        // `umount -l`: the name is gone, and nobody could end the reads that wait. Open files go on.
        if let Some(mountpoint) = mountpoint
            && came(2)
            && !closed
            && !mountpoint.is_mounted()
        {
            log::info!(
                "'{}' is not mounted any more: ending the reads that wait",
                mountpoint.path().display()
            );
            fs.close();
            closed = true;
        }
    }
}

fn wait_readable(fd: &OwnedFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut fds,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        ) {
            Err(Errno::EINTR) => {}
            result => return result.is_ok_and(|n| n > 0),
        }
    }
}
