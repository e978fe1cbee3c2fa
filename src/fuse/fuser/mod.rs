//! The session with the kernel, by the crate fuser, which is named here alone: the calls (`calls`) and what they say
//! (`request`), the answers (`reply`), a mount that answers (`session`), interrupts of reads that wait (`interrupt`), and
//! answers that come too late (`late_replies`).

mod calls;
pub mod interrupt;
mod late_replies;
mod reply;
mod request;
mod session;

pub use calls::MAX_WRITE_BYTES;
pub use late_replies::LateRepliesAreNoErrors;
pub use reply::Kernel;
pub use session::{How, Session, Users, mount_at, serve_passed};
