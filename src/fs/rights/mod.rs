//! Who may use a namespace.
//!
//! - `rights`: owner, group and mode, and how long the kernel may believe them.
//! - `files`: how they are kept.

mod files;
#[allow(clippy::module_inception)] // the rights themselves
mod rights;

pub(crate) use files::{RightsFiles, cannot_keep, file_name};
pub(crate) use rights::{CurrentRights, LEASE, Rights, RightsSince};
