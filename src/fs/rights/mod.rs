//! Who may use a namespace.
//!
//! - `rights`: owner, group and mode, and how long the kernel may cache them.
//! - `files`: the files that keep them.

mod files;
#[allow(clippy::module_inception)] // the rights themselves
mod rights;

pub(crate) use files::{RightsFiles, cannot_keep, file_name};
pub(crate) use rights::{CurrentRights, LEASE, Rights, RightsSince};
