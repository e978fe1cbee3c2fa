//! Names, attributes and what is refused.

mod about;
mod immutable;
mod names;
mod open_modes;
mod posix;
mod stats;
mod walkers;
mod xattr;
