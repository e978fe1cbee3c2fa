//! What waits for its turn to append to a log.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::mounted::MountedLog;
use crate::fs::locks::lock;

/// The line of one namespace.
#[derive(Default)]
pub(crate) struct Turns(pub(crate) Mutex<Line>);

#[derive(Default)]
pub(crate) struct Line {
    /// Somebody is inside, or on the way there, and looks into the line before it is done.
    pub(crate) taken: bool,
    pub(crate) waiting: VecDeque<Waiting>,
    /// How many of those that wait, or are done just now, take long.
    pub(crate) long: usize,
}

/// What is to be done in its turn.
pub(crate) struct Waiting {
    pub(crate) takes: Takes,
    pub(crate) job: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// As long as a small write to a disk that works.
    Moments,
    /// A sync of the disk, or a copy of gigabytes: never on a thread that serves the mount.
    Long,
}

impl MountedLog {
    /// Whether something that takes long is being stored, or waits for that.
    pub(crate) fn stores_long(&self) -> bool {
        lock(&self.turns.0).long > 0
    }
}
