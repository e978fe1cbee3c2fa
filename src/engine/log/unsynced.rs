//! How far a log is written, and how long the oldest unsynced record has waited.

use std::time::{Duration, Instant};

use crate::segment::LogEnd;

/// A copy of the writer's tail for syncs and for queries, which must not wait for a long append; and since when the tail has
/// been ahead of the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// The end of the records that are whole in the files.
    pub(crate) tail: LogEnd,
    /// When the first record was written that the running sync, if any, does not cover.
    waiting_since: Option<Instant>,
    /// When the first record was written that the running sync covers, or that a failed sync has left unsynced.
    syncing_since: Option<Instant>,
}

impl Written {
    /// A log with every record on the disk.
    pub(crate) fn new(tail: LogEnd) -> Self {
        Written {
            tail,
            waiting_since: None,
            syncing_since: None,
        }
    }

    /// Notes that records were written, up to `tail`. Returns when the first record was written that the running sync, if any,
    /// does not cover.
    pub(crate) fn append(&mut self, tail: LogEnd) -> Instant {
        debug_assert!(self.tail.count <= tail.count, "fewer records are written");
        self.tail = tail;
        *self.waiting_since.get_or_insert_with(Instant::now)
    }

    /// Notes that a sync begins. Returns the end of the records that it covers.
    pub(crate) fn begin_sync(&mut self) -> LogEnd {
        let waiting = self.waiting_since.take();
        self.syncing_since = self.syncing_since.or(waiting);
        self.tail
    }

    /// Notes that the running sync has succeeded.
    pub(crate) fn end_sync(&mut self) {
        self.syncing_since = None;
    }

    /// When the first record was written that the running sync, if any, does not cover; `None`: there is no such record.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// How long ago the first record was written that is not known to be on the disk.
    pub(crate) fn lag(&self) -> Duration {
        let since = self.syncing_since.or(self.waiting_since);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    #[test]
    fn a_sync_that_hangs_or_fails_does_not_hide_how_long_its_records_wait() {
        let mut written = Written::new(LogEnd::empty(Format::Count8));
        assert_eq!(written.lag(), Duration::ZERO);
        let first = written.append(written.tail);
        written.begin_sync();
        assert!(written.waiting_since().is_none());
        let second = written.append(written.tail);
        assert_eq!(written.waiting_since(), Some(second));
        // The first sync has failed, and the next one begins.
        written.begin_sync();
        assert_eq!(written.syncing_since, Some(first));
        written.end_sync();
        assert_eq!(written.lag(), Duration::ZERO);
    }
}
