//! Somebody who watches while logs are opened: a log that was not closed in order is read, and that can take long.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::disk::DiskFile;
use crate::error::Error;
use crate::namespace::Namespace;

/// How many bytes are read between two questions, at most about that.
const ASK_EVERY_BYTES: u64 = 1 << 20;

/// Watches the checking of logs, and decides whether it goes on. See [`Options::opening`](crate::Options::opening).
pub trait Opening: Send + Sync + Debug {
    /// The log of `namespace`, whose file has `of` bytes, is checked, and `read` bytes have been read for it so far. That
    /// may become more than `of`, since parts are read twice. Called before the first read, and then about every MiB.
    fn goes_on(&self, namespace: &Namespace, read: u64, of: u64) -> Next;
}

/// What is to be done with a log that takes long to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Check,
    /// Leave it for [`Storage::open_postponed`](crate::Storage::open_postponed), and open the others.
    Postpone,
    /// Stop opening. What was written so far to mend a log is no worse than before.
    Stop,
}

/// How far the check of one log is.
#[derive(Debug)]
pub(crate) struct Checking {
    namespace: Namespace,
    opening: Arc<dyn Opening>,
    read: AtomicU64,
    asked_at: AtomicU64,
    of: AtomicU64,
    /// 0: it goes on.
    next: AtomicU8,
}

const POSTPONED: u8 = 1;
const STOPPED: u8 = 2;

impl Checking {
    pub(crate) fn new(namespace: &Namespace, opening: Arc<dyn Opening>) -> Arc<Self> {
        Arc::new(Checking {
            namespace: namespace.clone(),
            opening,
            read: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            of: AtomicU64::new(0),
            next: AtomicU8::new(0),
        })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Before the check begins, and before it is taken up again.
    pub(crate) fn begin(&self) {
        self.read.store(0, Ordering::Relaxed);
        self.asked_at.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_postponed(&self) -> bool {
        self.next.load(Ordering::Relaxed) == POSTPONED
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.next.load(Ordering::Relaxed) == STOPPED
    }

    /// Why the log is not open.
    pub(crate) fn error(&self) -> Error {
        Error::BeingChecked {
            namespace: self.namespace.to_string(),
            read: self.read.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed),
        }
    }

    fn ask(&self, more: u64) -> io::Result<()> {
        let read = self.read.fetch_add(more, Ordering::Relaxed) + more;
        if more > 0 && read < self.asked_at.load(Ordering::Relaxed) + ASK_EVERY_BYTES {
            return Ok(());
        }
        self.asked_at.store(read, Ordering::Relaxed);
        let of = self.of.load(Ordering::Relaxed);
        let next = match self.opening.goes_on(&self.namespace, read, of) {
            Next::Check => return Ok(()),
            Next::Postpone => POSTPONED,
            Next::Stop => STOPPED,
        };
        self.next.store(next, Ordering::Relaxed);
        Err(io::Error::other("the check was stopped"))
    }
}

/// A log that is read while somebody watches.
#[derive(Debug)]
pub(crate) struct Watched {
    file: Arc<dyn DiskFile>,
    checking: Arc<Checking>,
}

impl Watched {
    pub(crate) fn new(file: Arc<dyn DiskFile>, checking: Arc<Checking>) -> io::Result<Self> {
        checking.of.store(file.len()?, Ordering::Relaxed);
        checking.ask(0)?;
        Ok(Watched { file, checking })
    }
}

impl DiskFile for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.file.read_at(buf, offset)?;
        self.checking.ask(bytes as u64)?;
        Ok(bytes)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_vectored_at(bufs, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
