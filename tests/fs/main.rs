//! The file system without a kernel: each call on it, and what is answered in which order.

#![allow(missing_docs, clippy::unwrap_used)]

mod append_file;
mod crowd;
mod durability;
#[path = "../common/files.rs"]
mod files;
mod gate;
#[path = "../common/hooked_disk.rs"]
mod hooked_disk;
mod json_lines;
mod made;
mod pieces;
mod properties;
mod queued;
mod receipts;
mod records;
mod rights;
mod stall;
mod stalled;
mod starts;
mod storing;
mod transport;
mod waiting;
