//! Times as people write them.

use std::time::{Duration, SystemTime};

/// Reads a time as people write it, and as it is a name in `since/`: a point in time, `2026-11-21T10:00:00Z`, or a while
/// ago, `10m`, `2h`, `3d`. `None` for anything else.
pub fn parse_time(text: &str) -> Option<SystemTime> {
    time(text).map(|(time, _)| time)
}

/// Reads a time. Returns it, and whether the text always means the same time.
pub(crate) fn time(text: &str) -> Option<(SystemTime, bool)> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some((time, true));
    }
    let ago: Duration = humantime::parse_duration(text).ok()?;
    let then = SystemTime::now()
        .checked_sub(ago)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    Some((then.max(SystemTime::UNIX_EPOCH), false))
}
