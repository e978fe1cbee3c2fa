//! How long the kernel lets a request go unanswered. After that it ends the whole mount, as if its daemon were dead: so
//! a read that waits for a record has to be answered before.

use std::time::Duration;

/// Their numbers are seconds; 0 is no limit. The first is for who asks for none itself, the second is for all.
const DEFAULT_TIMEOUT: &str = "fs.fuse.default_request_timeout";
const MAX_TIMEOUT: &str = "fs.fuse.max_request_timeout";

/// A limit that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimeout {
    /// The name of the setting.
    pub setting: &'static str,
    /// The time after which the kernel ends the mount.
    pub timeout: Duration,
}

impl RequestTimeout {
    /// The limit for a mount that is made now. `None`: there is none.
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

    /// How long a read may wait.
    pub fn max_block(self) -> Duration {
        self.timeout / 2
    }
}
