//! The engine: append-only logs with one writer and many readers, in files that the Go library immuta reads and writes too.
//!
//! `format` is the bytes and does no I/O; `disk` is all that the engine asks of a disk, and `index` the file beside the log. `log` is the only
//! writer; `syncer` is the thread that brings its records to the disk at an interval. Readers look at `signal` for what is
//! committed and read with `scan`; `stream` follows. `recovery` opens a log whatever has happened to it, `verify` looks at every byte,
//! and `storage` is the directory. Imports run from the later to the earlier.

mod commit;
mod disk;
mod error;
mod format;
mod index;
#[allow(clippy::module_inception)] // the log itself
mod log;
mod name;
mod options;
mod recovery;
mod refresh;
mod scan;
mod signal;
mod storage;
mod stream;
mod syncer;
mod verify;

pub use disk::{DirEntry, Disk, DiskFile, OpenMode, StdDisk};
pub use error::{Error, Result};
pub use format::{Format, SIZE_FIELD_BYTES};
pub use log::{Appended, Log};
pub use name::{ByteIndex, MAX_NAMESPACE_BYTES, Namespace, RecordNo};
pub use options::{DEFAULT_MAX_RECORD_BYTES, Options, Sync};
pub use recovery::{Cut, Recovery};
pub use scan::{Entry, MAX_RUN_BYTES, Records, Run, Scratch};
pub use signal::{Signal, State, Subscription, WaitOutcome};
pub use storage::{LOCK_FILE, Storage};
pub use stream::{Record, Stream};
pub use verify::{Damage, Details, MAX_LISTED_DAMAGES, Report};
