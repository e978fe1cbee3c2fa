//! The checks of logs that were not closed in order: what is said of them, what waits until the mount answers, and what a
//! signal ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use immuta::{Namespace, Next, Opening};
use immuta_fs::fs::Fs;
use immuta_fs::fuse::Kernel;

use crate::open_logs::cannot_start_thread;
use crate::service_manager::ServiceManager;

/// A log that needs more than this to be read, in bytes, is checked when the mount answers. Reading it takes a fraction
/// of a second.
const CHECKED_AT_ONCE_BYTES: u64 = 32 << 20;
/// How often a check that goes on is told.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// What the service manager is asked for each time: more than until it is asked again.
const LONGER: Duration = Duration::from_secs(30);

/// Watches the opening of logs.
#[derive(Debug)]
pub(crate) struct Checks {
    is_stopped: AtomicBool,
    /// The mount answers.
    is_served: AtomicBool,
    /// A log was left for later.
    has_postponed: AtomicBool,
    told: Mutex<Instant>,
    manager: Arc<ServiceManager>,
}

impl Checks {
    pub(crate) fn new(manager: Arc<ServiceManager>) -> Self {
        Checks {
            is_stopped: AtomicBool::new(false),
            is_served: AtomicBool::new(false),
            has_postponed: AtomicBool::new(false),
            told: Mutex::new(Instant::now()),
            manager,
        }
    }

    /// The mount answers: from now on checks take as long as they take. Returns whether any is left to be made.
    pub(crate) fn serve(&self) -> bool {
        self.is_served.store(true, Ordering::Relaxed);
        self.has_postponed.load(Ordering::Relaxed)
    }

    /// Ends the check that goes on, and all others.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn tell(&self, namespace: &Namespace, read: u64, of: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < TELL_EVERY {
            return;
        }
        *told = Instant::now();
        let status = format!(
            "Checking namespace '{namespace}', which was not closed in order: {} of {} MiB read",
            read >> 20,
            of >> 20
        );
        log::info!("{status}");
        if !self.is_served.load(Ordering::Relaxed) {
            self.manager.still_starting(&status, LONGER);
        }
    }
}

impl Opening for Checks {
    fn goes_on(&self, namespace: &Namespace, read: u64, of: u64) -> Next {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Next::Stop;
        }
        self.tell(namespace, read, of);
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

/// Checks, while the mount answers, the logs that take long. Nothing: there are none.
///
/// # Errors
/// When there can be no more threads.
pub(crate) fn check_the_rest(
    fs: &Arc<Fs<Kernel>>,
    checks: &Checks,
) -> Result<Option<JoinHandle<()>>, String> {
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
