//! The checks of logs that were not closed in order: reports their progress, postpones long ones until the mount answers,
//! and ends them when a signal comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use immuta::{Namespace, Next, Opening};
use immuta_fs::fs::Fs;
use immuta_fs::fuse::Kernel;

use crate::open_logs::cannot_start_thread;
use crate::service_manager::ServiceManager;

/// A check that has to read more than this, in bytes, is postponed until the mount answers. Reading this much takes a
/// fraction of a second.
const CHECKED_AT_ONCE_BYTES: u64 = 32 << 20;
/// How often the progress of a check is reported.
const REPORT_EVERY: Duration = Duration::from_secs(3);
/// How much more time the service manager is asked for with each report.
const MORE_TIME: Duration = Duration::from_secs(30);

/// Watches the opening of logs.
#[derive(Debug)]
pub(crate) struct Checks {
    is_stopped: AtomicBool,
    /// The mount answers.
    is_served: AtomicBool,
    /// At least one check was postponed.
    has_postponed: AtomicBool,
    last_report: Mutex<Instant>,
    manager: Arc<ServiceManager>,
}

impl Checks {
    pub(crate) fn new(manager: Arc<ServiceManager>) -> Self {
        Checks {
            is_stopped: AtomicBool::new(false),
            is_served: AtomicBool::new(false),
            has_postponed: AtomicBool::new(false),
            last_report: Mutex::new(Instant::now()),
            manager,
        }
    }

    /// The mount answers: from now on no check is postponed. Returns whether any was.
    fn mount_answers(&self) -> bool {
        self.is_served.store(true, Ordering::Relaxed);
        self.has_postponed.load(Ordering::Relaxed)
    }

    /// Ends the running check, and all that would come.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn report(&self, namespace: &Namespace, read: u64, of: u64) {
        let mut last_report = self
            .last_report
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last_report.elapsed() < REPORT_EVERY {
            return;
        }
        *last_report = Instant::now();
        let status = format!(
            "Checking namespace '{namespace}', which was not closed in order: {} of {} MiB read",
            read >> 20,
            of >> 20
        );
        log::info!("{status}");
        if !self.is_served.load(Ordering::Relaxed) {
            self.manager.still_starting(&status, MORE_TIME);
        }
    }
}

impl Opening for Checks {
    fn goes_on(&self, namespace: &Namespace, read: u64, of: u64) -> Next {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Next::Stop;
        }
        self.report(namespace, read, of);
        if read > CHECKED_AT_ONCE_BYTES && !self.is_served.load(Ordering::Relaxed) {
            log::info!(
                "namespace '{namespace}' was not closed in order, or its index is missing: it is checked when the others are \
                 mounted"
            );
            self.has_postponed.store(true, Ordering::Relaxed);
            return Next::Postpone;
        }
        Next::Check
    }
}

/// Starts the postponed checks, while the mount answers. Returns their thread; `None` when there are none.
///
/// # Errors
/// When there can be no more threads.
pub(crate) fn check_the_rest(
    fs: &Arc<Fs<Kernel>>,
    checks: &Checks,
) -> Result<Option<JoinHandle<()>>, String> {
    if !checks.mount_answers() {
        return Ok(None);
    }
    let fs = fs.clone();
    std::thread::Builder::new()
        .name("check".into())
        .spawn(move || fs.open_postponed())
        .map(Some)
        .map_err(cannot_start_thread)
}
