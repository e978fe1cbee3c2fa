//! Real programs on a real mount, ordered by what a user does there.

#![allow(clippy::unwrap_used)]

mod attack;
mod life;
mod read;
mod rights;
mod tree;
mod write;
