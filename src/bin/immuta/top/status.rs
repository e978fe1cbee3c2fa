//! What a mount says of itself: `.immuta/status`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The mount. Fields that this program does not know are left alone, those that are missing are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) pid: u64,
    pub(super) logs_dir: String,
    pub(super) options: MountOptions,
    pub(super) uptime_seconds: f64,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) unopened: Vec<Unopened>,
}

/// How it was mounted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MountOptions {
    pub(super) read_only: bool,
    pub(super) sync: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) last_time: Option<String>,
    pub(super) blocked_readers: u64,
    pub(super) sync_lag_seconds: Option<f64>,
    /// Why it takes no records any more.
    pub(super) failed: Option<String>,
}

/// A namespace that could not be opened.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unopened {
    pub(super) name: String,
    pub(super) why: String,
}

/// Where it is said.
pub(super) fn path(mountpoint: &Path) -> PathBuf {
    mountpoint.join(".immuta/status")
}

fn read(path: &Path) -> io::Result<Status> {
    let json = fs::read(path)?;
    serde_json::from_slice(&json).map_err(io::Error::other)
}

/// One look, and when it was taken.
pub(super) type Look = (Instant, io::Result<Status>);

/// Looks again and again, on a thread of its own: a mount that hangs holds up nothing else. Ends when `take`
/// returns `false`.
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
