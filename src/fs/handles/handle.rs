//! Open files: what each remembers between calls.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::opener::Opener;
use super::receipts::Receipts;
use super::spool::Spool;
use super::start::Start;
use crate::fs::budget::Waiting;
use crate::fs::errno::Errno;
use crate::fs::forms::{Frames, Lines, Position, View, json_lines};
use crate::fs::locks::lock;
use crate::fs::namespace::{MountedLog, Need};
use immuta::{Log, RecordNo, to_ns};

/// An open file. Kept small: ten thousand of them may wait at once.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) namespace: Arc<MountedLog>,
    /// What a read gets.
    pub(crate) output: Output,
    /// What becomes of a write; `None` when it was not opened for writing.
    pub(crate) input: Option<Input>,
    /// It has asked where the end is (`lseek(SEEK_END)`): it gets end of file there instead of waiting.
    ends_at_eof: AtomicBool,
    /// Where its last read ended, in bytes: poll comes without an offset.
    read_end: AtomicU64,
    /// The last read did not begin where the one before it ended: it may have been a `pread`, and the next one may
    /// begin anywhere.
    in_doubt: AtomicBool,
}

/// How the bytes that are written become records.
#[derive(Debug)]
pub(crate) enum Input {
    /// One write is one record.
    Writes {
        /// How many bytes the last write had, if it was the beginning of one.
        before: AtomicU64,
    },
    /// One line is one record.
    Lines {
        lines: Mutex<Lines>,
        opener: Arc<Opener>,
        /// The file is `log`, where a write without O_APPEND is refused: it has an offset to write at.
        only_appended: bool,
    },
    /// One frame is one record.
    Frames {
        frames: Mutex<Frames>,
        opener: Arc<Opener>,
    },
    /// All of it is one record.
    File(Box<Spool>),
}

impl Input {
    pub(crate) fn lines(opener: Arc<Opener>, only_appended: bool, waiting: Waiting) -> Input {
        Input::Lines {
            lines: Mutex::new(Lines::new(waiting)),
            opener,
            only_appended,
        }
    }

    pub(crate) fn frames(opener: Arc<Opener>, waiting: Waiting) -> Input {
        Input::Frames {
            frames: Mutex::new(Frames::new(waiting)),
            opener,
        }
    }

    /// Whether it has to know of each `close(2)`, not only of the last.
    pub(crate) fn needs_flush(&self) -> bool {
        match self {
            Input::Writes { .. } => false,
            Input::Lines { .. } | Input::Frames { .. } | Input::File(_) => true,
        }
    }
}

/// `count` has not been read: no log has this number of records.
pub(crate) const NOT_READ: u64 = u64::MAX;

/// What is read from an open file, with the state that only it needs.
#[derive(Debug)]
pub(crate) enum Output {
    /// Nothing: it is not open for reading.
    Nothing,
    /// What was appended through the same open file.
    Receipts(Mutex<Receipts>),
    View(OpenView),
    Lines(OpenLines),
    /// The number that was given last to a read from the beginning, which one that reads on gets the rest of;
    /// [`NOT_READ`]: none yet.
    Count(AtomicU64),
    /// A record, and whether this handle has verified its checksum.
    Record {
        n: u64,
        verified: AtomicBool,
        /// It was written when its name was looked up: its inode never had another size.
        fixed: bool,
    },
}

/// An open view of the log: `follow`, `log`, `frames`, `from/7` ...
#[derive(Debug)]
pub(crate) struct OpenView {
    pub(crate) view: View,
    /// At the end it waits for the next record.
    pub(crate) waits: bool,
    pub(crate) position: Mutex<Position>,
    /// Its path in the namespace, for inotify; `None` if that does not always mean the same.
    pub(crate) path: Option<Cow<'static, str>>,
    start: Start,
    /// Where it begins in the view, once that is known.
    base: OnceLock<u64>,
}

/// An open `log.jsonl` or `follow.jsonl`.
#[derive(Debug)]
pub(crate) struct OpenLines {
    /// At the end it waits for the next record.
    pub(crate) waits: bool,
    /// Its name, for inotify.
    pub(crate) name: &'static str,
    /// Locked for moments: it is looked at while others wait.
    pub(crate) position: Mutex<json_lines::Position>,
}

impl OpenView {
    pub(crate) fn new(
        view: View,
        waits: bool,
        start: Start,
        path: Option<Cow<'static, str>>,
    ) -> OpenView {
        OpenView {
            view,
            waits,
            position: Mutex::default(),
            path,
            start,
            base: OnceLock::new(),
        }
    }

    /// What has to be there before a read at `offset` of the file has something to give. As long as it is not
    /// known where the file begins, what has to be there at least: reads nothing from the disk.
    pub(crate) fn need(&self, log: &Log, offset: u64) -> Need {
        let base = match (self.base.get(), self.start) {
            (Some(base), _) => *base,
            (None, Start::Record(0)) => 0,
            (None, Start::Record(n)) => return Need::Records(n.saturating_add(1)),
            // As the index holds times: those before 1970 count as 1970.
            (None, Start::Time(time)) => return Need::Time(to_ns(time).max(0)),
        };
        let behind = base.saturating_add(offset).saturating_add(1);
        match self.view {
            View::Text => Need::Text(behind),
            View::Frames => Need::Log(log.format().header_bytes().saturating_add(behind)),
        }
    }

    /// The offset in the view at which the file begins; `None` as long as its first record is not there.
    ///
    /// # Errors
    /// Those of the index.
    pub(crate) fn base(&self, log: &Log) -> Result<Option<u64>, Errno> {
        if let Some(base) = self.base.get() {
            return Ok(Some(*base));
        }
        let base = self.start.offset(self.view, log)?;
        Ok(base.map(|base| *self.base.get_or_init(|| base)))
    }
}

impl Output {
    /// Whether its bytes are all there and never change, so that the kernel may cache it. What grows is never read
    /// through the page cache: the kernel shows NULs there that nobody wrote, and ends where the file ended
    /// when somebody last looked.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Output::Record { fixed: true, .. })
    }

    /// A record that is written.
    pub(crate) fn record(n: u64) -> Output {
        Output::Record {
            n,
            verified: AtomicBool::new(false),
            fixed: true,
        }
    }

    /// A record that was the next one when its name was looked up.
    pub(crate) fn next_record(n: u64) -> Output {
        Output::Record {
            n,
            verified: AtomicBool::new(false),
            fixed: false,
        }
    }
}

impl Handle {
    pub(crate) fn new(namespace: Arc<MountedLog>, output: Output, input: Option<Input>) -> Handle {
        Handle {
            namespace,
            output,
            input,
            ends_at_eof: AtomicBool::new(false),
            read_end: AtomicU64::new(0),
            in_doubt: AtomicBool::new(false),
        }
    }

    /// The path in the namespace by which an inotify watcher knows the file.
    pub(crate) fn nudge_path(&self) -> Option<&str> {
        match &self.output {
            Output::View(view) => view.path.as_deref(),
            Output::Lines(lines) => Some(lines.name),
            Output::Nothing | Output::Receipts(_) | Output::Count(_) | Output::Record { .. } => {
                None
            }
        }
    }

    /// Notes that `count` records, at least one, were appended through the open file, from `first` on.
    pub(crate) fn appended(&self, first: RecordNo, count: usize) {
        if let Output::Receipts(receipts) = &self.output {
            lock(receipts).add(first.0, count as u64);
        }
    }

    /// Whether a line waits for its newline.
    pub(crate) fn has_open_line(&self) -> bool {
        matches!(&self.input, Some(Input::Lines { lines, .. }) if lock(lines).has_partial())
    }

    /// Returns whether this is the first time.
    pub(crate) fn mark_ends(&self) -> bool {
        !self.ends_at_eof.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn ends_at_eof(&self) -> bool {
        self.ends_at_eof.load(Ordering::Relaxed)
    }

    pub(crate) fn read_end(&self) -> u64 {
        self.read_end.load(Ordering::Relaxed)
    }

    /// Whether the next read may begin somewhere else than where the last one ended.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// A read has given `bytes` bytes from `offset` on; none where there is nothing yet.
    pub(crate) fn has_read(&self, offset: u64, bytes: usize) {
        let end = offset + bytes as u64;
        let before = self.read_end.swap(end, Ordering::Relaxed);
        self.in_doubt.store(before != offset, Ordering::Relaxed);
    }
}
