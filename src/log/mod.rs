//! The engine: append-only logs with one writer and many readers, in files that the Go library immuta reads
//! and writes too.
//!
//! `format` is the bytes and does no I/O; `disk` is all that the engine asks of a disk, `window` a buffer
//! over one of its files, `open_files` which of them are open, and `index` the file beside the log. `signal` holds what is committed, and wakes
//! those who wait for more. `log` is the only writer, with `tail`, the end that it writes at, and `large` for
//! records of any size; `transaction` holds many appends back until they are visible at once; `copy` appends
//! what another log holds, and `stamp` is the time that each record gets. `commit` brings them to the disk, for
//! a `group` of writers at once, closes the log, and stops it when the disk fails; `syncer` is the thread that
//! does so at an interval. Readers use `scan` for entries and `run`s of records, `search` to find one by text offset or
//! time, `stream` to follow; `refresh` is for those in another process. `recovery` opens a log whatever has
//! happened to it, watched in its `progress`, and says its `outcome`: a `survey` decides what is kept, by a `walk` along it where it must;
//! `detect` tells a log's format where no index does, by the `evidence`, once `files` has found them; `repair` is the way out of what they refuse, and `save`
//! keeps what they cut. `verify` looks at every byte. `sync` names the locks. `storage` is the directory, with its `lock`, the `logs` that are open, what it takes
//! to `create` a log and to `open_all` that are there (ids are given `in_order`), and the logs that `others` make, remove and replace.

mod commit;
mod copy;
mod create;
mod detect;
mod disk;
mod error;
mod evidence;
mod files;
mod format;
mod group;
mod in_order;
mod index;
mod large;
mod lock;
#[allow(clippy::module_inception)] // the log itself
mod log;
mod logs;
mod name;
mod nowait;
mod open_all;
mod open_files;
mod options;
mod others;
mod outcome;
mod progress;
mod recovery;
mod refresh;
mod repair;
mod run;
mod save;
mod scan;
mod search;
mod signal;
mod stamp;
mod storage;
mod stream;
mod survey;
mod sync;
mod syncer;
mod tail;
mod transaction;
mod unsynced;
mod verify;
mod walk;
mod window;

pub use disk::{DirEntry, Disk, DiskFile, FileStat, OpenMode, StdDisk};
pub use error::{Error, Result};
#[doc(hidden)]
pub use error::{repair_command, system_words};
pub use format::{Format, SIZE_FIELD_BYTES};
pub use lock::LOCK_FILE;
pub use log::Log;
pub use name::{ByteIndex, MAX_NAMESPACE_BYTES, Namespace, RecordNo};
#[doc(hidden)]
pub use nowait::may_wait;
pub(crate) use nowait::without_waiting;
pub(crate) use open_files::{
    are_descriptors_scarce, is_out_of_descriptors, what_holds_descriptors, with_room,
};
pub use options::{DEFAULT_MAX_RECORD_BYTES, Options, Sync};
pub use outcome::{Cut, Recovery};
pub use progress::{Next, Opening};
pub use repair::{Repair, repair};
pub use run::{Entry, MAX_RUN_BYTES, Records, Run, Scratch};
pub use signal::{Signal, State, Subscription, WaitOutcome};
pub use storage::Storage;
pub use stream::{Record, Stream};
pub use tail::Appended;
pub(crate) use tail::to_ns;
pub use transaction::Transaction;
pub use verify::{Damage, Details, MAX_LISTED_DAMAGES, Report};
