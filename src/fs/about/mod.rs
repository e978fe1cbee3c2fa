//! What is told of a mount.
//!
//! - `status`: the mount and its namespaces at one moment, and how that is written as JSON.
//! - `metrics`: the same for Prometheus.
//! - `stats`: what is told of one namespace, as JSON.

pub(crate) mod metrics;
pub(crate) mod stats;
mod status;

pub(crate) use status::sync_option;
pub use status::{NamespaceStatus, Status, StatusOptions, UnopenedNamespace};
