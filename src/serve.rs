//! The life of a mount: opened, mounted, served, and ended by a signal or by an unmount.

use std::error::Error;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use immuta::fs::{Fs, Settings};
use immuta::programs::watch::Watch;
use immuta::{Options, Storage};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cli::Cli;
use crate::fuse::mount::{self, MountPoint};
use crate::fuse::nudge::Nudger;
use crate::fuse::{self, Endless, FuseFs, Kernel, interrupt};

/// How long files that are still open may keep a daemon that was told to end.
const GRACE: Duration = Duration::from_millis(500);
/// At least so many threads serve: one may wait for the disk in fsync while others go on.
const MIN_THREADS: usize = 4;
/// The namespace that is made when there is none.
const DEFAULT_NAMESPACE: &str = "default";

/// Serves until the mount ends.
///
/// # Errors
/// When it cannot begin; the error says what, why, and the way out.
pub(crate) fn serve(cli: &Cli) -> Result<(), Box<dyn Error>> {
    // Before the first thread: every one of them inherits the mask, and the signals come to the descriptor
    // only.
    let signals = take_signals()?;
    raise_open_files();
    let logs_dir = cli.logs_dir()?;
    let path = mount::prepare(&cli.mountpoint(), &logs_dir)?;
    // Before the logs are opened: what is written between the two is not missed.
    let watch = match cli.read_only {
        true => Some(Watch::start(&logs_dir).map_err(|e| cannot_watch(&logs_dir, &e))?),
        false => None,
    };
    let storage = Arc::new(open_storage(cli, &logs_dir)?);
    let fs = Fs::<Kernel>::new(
        storage.clone(),
        Settings {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            split_write_bytes: split_write_bytes(),
            sync_always: cli.sync == immuta::Sync::Always,
            read_only: cli.read_only,
            max_record_bytes: cli.max_record.as_u64(),
        },
    )?;
    let n_threads =
        std::thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS));
    let endless = Arc::<Endless>::default();
    let fuse_fs = FuseFs(fs.clone(), Arc::clone(&endless));
    let (session, mountpoint) = mount::mount_at(&path, &logs_dir, fuse_fs, n_threads)?;
    endless.begin(session.notifier());

    let interrupted = fs.clone();
    interrupt::watch(session.as_fd(), move |unique| interrupted.interrupt(unique));
    let nudger = Nudger::start(mountpoint.path())?;
    fs.set_nudge(nudger.pending(), nudger.thread_id());
    // The write end is closed when the session's loop has ended, for whatever reason.
    let (ended, session_lives) = nix::unistd::pipe()?;
    let session = std::thread::Builder::new()
        .name("session".into())
        .spawn(move || {
            let result = session.run();
            drop(session_lives);
            result
        })?;
    // The mount answers before it is announced.
    std::fs::metadata(mountpoint.path())?;
    if let Some(watch) = watch {
        watch.serve(fs.clone())?;
    }
    announce(&mountpoint, &logs_dir);

    wait_for_the_end(&fs, &mountpoint, &signals, &ended)?;
    fs.close();
    drop(nudger);
    mountpoint.unmount();
    let in_time = wait_readable(&ended, GRACE);
    interrupt::unwatch();
    fs.end_spools();
    storage.close()?;
    if in_time
        && let Ok(Err(e)) = session.join()
        // What a thread gets, instead of ENODEV, that was about to take a request when the mount ended.
        && e.raw_os_error() != Some(libc::ECONNABORTED)
    {
        return Err(format!("the session with the kernel broke off: {e}").into());
    }
    log::info!("unmounted '{}'", mountpoint.path().display());
    Ok(())
}

fn open_storage(cli: &Cli, logs_dir: &Path) -> Result<Storage, Box<dyn Error>> {
    // `append` takes what the kernel sends in one piece, however short lines are kept.
    let max_record_bytes = cli.max_record.as_u64().max(fuse::MAX_WRITE_BYTES.into());
    let mut options = Options::new(logs_dir)
        .format(cli.format)
        .sync(cli.sync)
        .read_only(cli.read_only)
        .max_record_bytes(max_record_bytes);
    if let Some(format) = cli.assume_format {
        options = options.assume_format(format);
    }
    let storage = Storage::open(options).map_err(|e| cannot_keep_logs(logs_dir, e))?;
    if !cli.read_only && storage.namespaces().is_empty() && storage.failed().is_empty() {
        storage.create(&immuta::Namespace::new(DEFAULT_NAMESPACE)?)?;
    }
    Ok(storage)
}

fn cannot_watch(logs_dir: &Path, error: &std::io::Error) -> String {
    format!(
        "cannot follow the logs in '{}': {error} (give the directory that the writer keeps them in)",
        logs_dir.display()
    )
}

/// What the system said about the directory, with the way out.
fn cannot_keep_logs(logs_dir: &Path, error: immuta::Error) -> Box<dyn Error> {
    if !matches!(error, immuta::Error::Io { .. }) {
        return error.into();
    }
    let logs = logs_dir.display();
    if logs_dir.exists() && !logs_dir.is_dir() {
        return format!("cannot keep logs in '{logs}': not a directory (give a directory)").into();
    }
    format!("cannot keep logs in '{logs}': {error} (give a directory that you may write to)").into()
}

fn announce(mountpoint: &MountPoint, logs_dir: &Path) {
    let (path, logs_dir) = (mountpoint.path().display(), logs_dir.display());
    let unmount = if nix::unistd::geteuid().is_root() {
        "umount"
    } else {
        "fusermount3 -u"
    };
    // Whoever started the daemon may not read what it says: that is no reason to end.
    let _ = writeln!(
        std::io::stdout(),
        "immuta-fs: mounted '{path}', logs in '{logs_dir}' (stop with Ctrl-C or: {unmount} '{path}')"
    );
}

fn take_signals() -> Result<SignalFd, Errno> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

/// Every namespace holds two files open, and the default limit of 1024 is soon reached.
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

/// Returns when a signal has come, the mount has gone from the tree of names, or the session has ended.
fn wait_for_the_end(
    fs: &Fs<Kernel>,
    mountpoint: &MountPoint,
    signals: &SignalFd,
    ended: &OwnedFd,
) -> Result<(), Box<dyn Error>> {
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
        if came(0)
            && let Some(signal) = signals.read_signal()?
        {
            let name = Signal::try_from(signal.ssi_signo as i32).map_or("a signal", Signal::as_str);
            log::info!("{name}: ending");
            return Ok(());
        }
        if came(1) {
            return Ok(());
        }
        // `umount -l`: the name is gone, and nobody could end the reads that wait. Open files go on.
        if came(2) && !closed && !mountpoint.is_mounted() {
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
