//! Append-only logs: one writer, many readers, and files that the Go library immuta reads and writes too.
//!
//! ```
//! use std::time::Duration;
//! use immuta::{Options, Storage};
//!
//! # let dir = tempfile::tempdir()?;
//! # let logs_dir = dir.path();
//! let storage = Storage::open(Options::new(logs_dir).namespaces(["events"]))?;
//! storage.append("events", &b"hello world"[..])?;
//!
//! let mut stream = storage.stream("events", 0)?;
//! while let Some(record) = stream.next(Some(Duration::ZERO))? {
//!     println!("record {} at byte {}: {} bytes", record.record, record.index, record.size);
//! }
//! storage.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rooms, from the top down; each uses only those below it:
//!
//! - `storage` is a directory of logs: opening it, and creating, finding and removing logs.
//! - `log` is one log: appending, syncing, reading, and waiting for more.
//! - `recovery` opens a log, whatever has happened to it.
//! - `segment` is the two files of a log, and the records that can be read and found in them.
//! - `disk` is all that the engine asks of a disk.
//! - `options`, `progress`, `error`, `namespace`, `ids`, `format` (the bytes; no I/O) and `locks` are used by all rooms.

mod disk;
mod error;
mod format;
mod ids;
mod locks;
mod log;
mod namespace;
mod options;
mod progress;
mod recovery;
mod segment;
mod storage;

pub use disk::{DirEntry, Disk, DiskFile, FileRights, FileStat, OpenMode, StdDisk};
// The descriptors of the process, which files of logs share with the program around them.
pub use disk::{are_descriptors_scarce, is_out_of_descriptors, what_holds_descriptors, with_room};
// Small files beside the logs, read and replaced as a whole through the same disk.
pub use disk::{SmallFile, read_small_file, replace_small_file};
// For a thread that serves others and must not wait for a disk.
pub use disk::{may_wait, without_waiting};
pub use error::{Error, Holder, Result, WayOut, repair_command, system_words};
pub use format::{Format, SIZE_FIELD_BYTES};
pub use ids::{ByteIndex, RecordNo};
pub use log::{
    AppendOptions, Damage, Details, Log, MAX_LISTED_DAMAGES, Payloads, Record, Report, Signal,
    Stream, Subscription, Transaction, WaitOutcome,
};
pub use namespace::{MAX_NAMESPACE_BYTES, Namespace};
pub use options::{DEFAULT_MAX_RECORD_BYTES, Durability, Options};
pub use progress::{Next, Opening};
pub use recovery::{Cut, Recovery};
pub use segment::{Appended, Entry, MAX_RUN_BYTES, Records, Run, Scratch, State, to_ns};
pub use storage::{LOCK_FILE, Repair, Storage, lock_holder, repair};
