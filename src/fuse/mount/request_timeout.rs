//! How long the kernel waits for the answer to a request. After that it ends the whole mount, as if the daemon were
//! dead. So a read that waits for a record has to be answered in time.

use std::time::Duration;

/// Two settings, in seconds; 0 is no limit. The first one is for mounts that ask for no limit themselves, the second one
/// for all mounts.
const DEFAULT_TIMEOUT: &str = "fs.fuse.default_request_timeout";
const MAX_TIMEOUT: &str = "fs.fuse.max_request_timeout";

/// A limit that the kernel sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimeout {
    /// The name of the setting.
    pub setting: &'static str,
    /// The time after which the kernel ends the mount.
    pub timeout: Duration,
}

impl RequestTimeout {
    /// The limit for a mount that is made now; `None` without a limit.
    pub fn of_kernel() -> Option<RequestTimeout> {
        [DEFAULT_TIMEOUT, MAX_TIMEOUT]
            .into_iter()
            .filter_map(|setting| {
                let path = format!("/proc/sys/{}", setting.replace('.', "/"));
                let seconds: u64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
                let timeout = Duration::from_secs(seconds);
                (seconds > 0).then_some(RequestTimeout { setting, timeout })
            })
            .min_by_key(|limit| limit.timeout)
    }

    /// How long a read may wait: half of the limit.
    pub fn max_block(self) -> Duration {
        self.timeout / 2
    }
}
