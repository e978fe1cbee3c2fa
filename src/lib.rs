//! Append-only logs as files: a log engine with one writer and many readers, and a file system that shows its
//! logs as files.
//!
//! Mounted, a log is a directory. One `write` to its file `append` is one record; `follow` is the whole log
//! as text, and a read at its end waits for the next record; `log` is the same bytes in a file that ends; the
//! file `N` is record N:
//!
//! ```text
//! $ mkdir /mnt/log/orders
//! $ echo hello >> /mnt/log/orders/log
//! $ cat /mnt/log/orders/0
//! hello
//! $ tail -f /mnt/log/orders/follow
//! ```
//!
//! A reader meets bytes, then files, then the kernel:
//!
//! - [`log`] is the engine, and a library of its own: bytes, index, append, commit, recovery, streams. It knows nothing
//!   of files in the sense above.
//! - [`fs`] is the tree: names, open files, text and frames, and reads that wait without a thread. It knows no FUSE: a
//!   transport brings it calls and carries its answers.
//! - [`fuse`] is the transport to the kernel, and the mount point; [`host`] is what the system tells; [`cli`] is what the
//!   two programs have in common of command lines. `immuta-fs` is the life of a mount. `immuta` works on the logs without
//!   one, and looks after mounts.
//!
//! The engine's names are here at the root, so that this is a whole program:
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

pub mod cli;
pub mod fs;
pub mod fuse;
pub mod host;
pub mod log;

pub use log::*;
