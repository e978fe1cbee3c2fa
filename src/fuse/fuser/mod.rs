//! The session with the kernel, through the crate fuser.
//!
//! - `calls`: the kernel's calls.
//! - `request`: converts their parameters.
//! - `reply`: converts their answers.
//! - `session`: mounts, and answers calls until the mount ends.
//! - `interrupt`: takes the interrupts of waiting reads out of the kernel's messages.
//! - `late_replies`: quiets fuser's messages about replies that come too late.

mod calls;
pub mod interrupt;
mod late_replies;
mod reply;
mod request;
mod session;

pub use late_replies::LateReplyFilter;
pub use reply::Kernel;
pub use request::MAX_WRITE_BYTES;
pub use session::{MountParameters, Session, Users, mount_at, serve_passed};
