//! How far a log is written, and since when the disk does not have it.

use std::time::{Duration, Instant};

use crate::segment::LogEnd;

/// The writer's tail, as those see it who sync and who ask; and since when it is ahead of the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// The end of what is written.
    pub(crate) tail: LogEnd,
    /// When the first record was written that no sync under way covers.
    waiting_since: Option<Instant>,
    /// The same of the records that the sync under way covers, or that a sync which failed has left.
    syncing_since: Option<Instant>,
}

impl Written {
    /// All of it is on the disk.
    pub(crate) fn new(tail: LogEnd) -> Self {
        Written {
            tail,
            waiting_since: None,
            syncing_since: None,
        }
    }

    /// Records were written, up to `tail`. Returns since when the first one waits that no sync under way covers.
    pub(crate) fn append(&mut self, tail: LogEnd) -> Instant {
        self.tail = tail;
        *self.waiting_since.get_or_insert_with(Instant::now)
    }

    /// A sync begins. Returns how far it comes.
    pub(crate) fn begin_sync(&mut self) -> LogEnd {
        let waiting = self.waiting_since.take();
        self.syncing_since = self.syncing_since.or(waiting);
        self.tail
    }

    /// The sync under way has succeeded.
    pub(crate) fn end_sync(&mut self) {
        self.syncing_since = None;
    }

    /// When the first record was written that no sync under way covers, if there is one.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// How long the first record has been waiting that is not known to be on the disk.
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
        // It has failed, and the next one begins.
        written.begin_sync();
        assert_eq!(written.syncing_since, Some(first));
        written.end_sync();
        assert_eq!(written.lag(), Duration::ZERO);
    }
}
