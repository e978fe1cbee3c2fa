//! The engine alone: bytes, append, commit, recovery and streams, with no mount and no program.

#![allow(clippy::unwrap_used)]

mod r#async;
mod bench;
mod copies;
mod crash;
mod disk;
mod follower;
mod formats;
mod model;
mod storage;
mod transaction;
