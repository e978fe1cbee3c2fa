//! Append-only logs as files: a file system over the log engine [`immuta`].
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
//! - The engine is a package of its own, [`immuta`]: bytes, index, append, commit, recovery, streams. It knows nothing of
//!   files in the sense above.
//! - [`fs`] is the tree: names, open files, text and frames, and reads that wait without a thread. It knows no FUSE: a
//!   transport brings it calls and carries its answers.
//! - [`fuse`] is the transport to the kernel, and the mount point; [`host`] is what the system tells; [`cli`] is what the
//!   two programs have in common of command lines. `immuta-fs` is the life of a mount. `immuta` works on the logs without
//!   one, and looks after mounts.

pub mod cli;
pub mod fs;
pub mod fuse;
pub mod host;
