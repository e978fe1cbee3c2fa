//! What is told of a mount.
//!
//! - `look`: the mount and its namespaces at one moment.
//! - `status`, `metrics`: how it is written, as JSON and for Prometheus.
//! - `stats`: the same of one namespace, as JSON.

mod look;
pub(crate) mod metrics;
pub(crate) mod stats;
pub(crate) mod status;

pub(crate) use look::{MountLook, NamespaceLook, OpenFiles};
