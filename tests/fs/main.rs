//! The file system without a kernel: each call on it, and what is answered in which order.

#![allow(clippy::unwrap_used)]

mod append_file;
mod crowd;
mod durability;
mod gate;
mod json_lines;
mod late_replies;
mod made;
mod parked;
mod pieces;
mod properties;
mod queued;
mod receipts;
mod records;
mod rights;
mod rights_on_disk;
mod stall;
mod stalled;
mod starts;
mod storing;
mod transport;
mod views;
mod waiting;
