//! The choices of a program that opens a storage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, StdDisk};
use crate::format::Format;
use crate::progress::Opening;

/// When the engine syncs appended records to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the append returns, and before a reader sees the record. Concurrent writers share syncs.
    Always,
    /// Within this interval, by threads of the storage. A crash of the process loses nothing; a power cut loses at most the
    /// records that were appended in the interval.
    Every(Duration),
    /// When the system writes its cache back, and on close.
    Never,
}

impl Default for Durability {
    /// Every second.
    fn default() -> Self {
        Durability::Every(Duration::from_secs(1))
    }
}

/// The default of [`Options::max_record_bytes`]: 64 MiB. An append holds its record in memory.
pub const DEFAULT_MAX_RECORD_BYTES: u64 = 64 << 20;

/// How to open a [`Storage`](crate::Storage).
///
/// ```
/// use immuta::{Options, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let logs_dir = dir.path();
/// let storage = Storage::open(Options::new(logs_dir).namespaces(["events"]))?;
/// let (index, size) = storage.append("events", &b"hello world"[..])?;
/// assert_eq!((index.0, size), (8, 11));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) logs_dir: PathBuf,
    pub(crate) namespaces: Vec<String>,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) format: Format,
    pub(crate) assume_format: Option<Format>,
    pub(crate) sync: Durability,
    pub(crate) max_record_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) repair: bool,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) opening: Option<Arc<dyn Opening>>,
}

impl Options {
    /// The default options for the logs in `logs_dir`, which is made if it is not there.
    pub fn new(logs_dir: impl Into<PathBuf>) -> Self {
        Options {
            logs_dir: logs_dir.into(),
            namespaces: Vec::new(),
            only: None,
            format: Format::default(),
            assume_format: None,
            sync: Durability::default(),
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            read_only: false,
            repair: false,
            disk: Arc::new(StdDisk),
            opening: None,
        }
    }

    pub(crate) fn opens(&self, namespace: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|name| name == namespace))
    }

    /// Namespaces to create if they are not there. Every namespace in the directory is opened in any case.
    #[must_use]
    pub fn namespaces<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.namespaces = names.into_iter().map(Into::into).collect();
        self
    }

    /// Opens only these of the namespaces in the directory.
    /// [`Storage::create`](crate::Storage::create) refuses the others.
    #[must_use]
    pub fn only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The format of new namespaces; [`Format::Count8`] by default. A log that is there keeps its format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The format to assume for a log without an index whose bytes fit more than one format, or none. Without this option such a
    /// log is refused with [`Error::UnclearFormat`](crate::Error::UnclearFormat), unless one format is far more likely than the
    /// others. A log whose bytes fit one format only is opened in that format all the same, so that the option does no harm to
    /// the other logs of a directory.
    #[must_use]
    pub fn assume_format(mut self, format: Format) -> Self {
        self.assume_format = Some(format);
        self
    }

    /// When records are synced to the disk; every second by default.
    #[must_use]
    pub fn sync(mut self, sync: Durability) -> Self {
        self.sync = sync;
        self
    }

    /// As the option of the Go library: `false` is [`Durability::Always`], `true` the default.
    #[must_use]
    pub fn fast_write(self, fast: bool) -> Self {
        self.sync(if fast {
            Durability::default()
        } else {
            Durability::Always
        })
    }

    /// The largest record that an append takes from memory, in bytes; 64 MiB by default. It does not limit
    /// [`Log::append_from`](crate::Log::append_from), which streams.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: u64) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Opens for reading only: takes no lock, so that it works beside a writer, and changes no byte. A log shows the records
    /// that it had when it was opened; [`Log::refresh`](crate::Log::refresh) adds those that were appended since.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The way out for a log that [`Error::Damaged`](crate::Error::Damaged) keeps from opening: it keeps every
    /// record before the damage and cuts off the bytes behind. Copy the log first.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }

    /// Watches the opening of logs: `opening` may stop it, or put off logs whose check takes long. By default, opening checks
    /// every log to its end.
    #[must_use]
    pub fn opening(mut self, opening: Arc<dyn Opening>) -> Self {
        self.opening = Some(opening);
        self
    }

    /// Another disk than the machine's own, for tests.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }
}
