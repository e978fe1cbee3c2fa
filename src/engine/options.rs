//! What is chosen when a storage is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, StdDisk};
use crate::format::Format;
use crate::progress::Opening;

/// When appended records are made to reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the append returns, and before a reader sees the record. Writers at the same time share syncs.
    Always,
    /// Within this interval, by one thread for the whole storage. A crash of the process loses nothing; a
    /// power cut loses at most what was appended in the interval.
    Every(Duration),
    /// When the system gets to it, and on close.
    Never,
}

impl Default for Durability {
    /// Every second.
    fn default() -> Self {
        Durability::Every(Duration::from_secs(1))
    }
}

/// The default of [`Options::max_record_bytes`]: 64 MiB, as an append holds its record in memory.
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
    /// Everything at its default, for the logs in `logs_dir`, which is made if it is not there.
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

    /// Namespaces to create if they are not there. All that are in the directory are opened in any case.
    #[must_use]
    pub fn namespaces<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.namespaces = names.into_iter().map(Into::into).collect();
        self
    }

    /// Opens these namespaces alone, whatever else is in the directory.
    /// [`Storage::create`](crate::Storage::create) refuses the others.
    #[must_use]
    pub fn only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The format of the namespaces to be created; [`Format::Count8`] by default. A log that is there keeps
    /// the format that it has.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The format of a log that has no index and whose bytes fit more than one format, or none. Without this option such a
    /// log is refused with [`Error::UnclearFormat`](crate::Error::UnclearFormat), unless far more speaks for one format
    /// than for the others. A log whose bytes fit one format only is opened in that one all the same, so that the option
    /// does no harm to the other logs of a directory.
    #[must_use]
    pub fn assume_format(mut self, format: Format) -> Self {
        self.assume_format = Some(format);
        self
    }

    /// When records reach the disk; every second by default.
    #[must_use]
    pub fn sync(mut self, sync: Durability) -> Self {
        self.sync = sync;
        self
    }

    /// The Go library's option: `false` is [`Durability::Always`], `true` the default.
    #[must_use]
    pub fn fast_write(self, fast: bool) -> Self {
        self.sync(if fast {
            Durability::default()
        } else {
            Durability::Always
        })
    }

    /// The largest record, in bytes, that is taken from memory; 64 MiB by default.
    /// [`Log::append_from`](crate::Log::append_from) streams and is not bound by it.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: u64) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Opens for reading only: takes no lock, so that it works beside a writer, and changes no byte. A log is
    /// seen as it was when it was opened; [`Log::refresh`](crate::Log::refresh) picks up what came since.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The way out for a log that [`Error::Damaged`](crate::Error::Damaged) keeps from opening: keep every
    /// record before the damage and cut off what is behind it. Copy the log first.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }

    /// Who watches while logs are opened, and may stop it or put off what takes long. By default nobody does.
    #[must_use]
    pub fn opening(mut self, opening: Arc<dyn Opening>) -> Self {
        self.opening = Some(opening);
        self
    }

    /// Another disk than the machine's own: a test's.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }
}
