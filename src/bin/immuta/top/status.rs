//! Reads the status of a mount: `.immuta/status`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use immuta_fs::fs::Status;

/// The file of the status.
pub(super) fn path(mountpoint: &Path) -> PathBuf {
    mountpoint.join(".immuta/status")
}

fn read(path: &Path) -> io::Result<Status> {
    let json = fs::read(path)?;
    serde_json::from_slice(&json).map_err(io::Error::other)
}

/// A status, or why it could not be read, and when that was.
pub(super) type Look = (Instant, io::Result<Status>);

/// Reads the status every `interval`, on a thread of its own, so that a mount that hangs holds up nothing else. Ends when
/// `take` returns `false`.
pub(super) fn watch(
    mountpoint: &Path,
    interval: Duration,
    mut take: impl FnMut(Look) -> bool + Send + 'static,
) -> io::Result<()> {
    let path = path(mountpoint);
    let run = move || {
        loop {
            let status = read(&path);
            if !take((Instant::now(), status)) {
                return;
            }
            thread::sleep(interval);
        }
    };
    thread::Builder::new().name("status".into()).spawn(run)?;
    Ok(())
}
