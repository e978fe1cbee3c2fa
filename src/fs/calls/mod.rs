//! The calls of a transport, and what is done for them: everything that is `impl Fs`.
//!
//! - `life`: a mount begins, and its end, in order. `namespaces`: mkdir and rmdir.
//! - `lookup`, `getattr`, `setattr`, `list`, `xattr`: what is asked of names. `unopened`: of a namespace whose log is not
//!   open. `about`: of the whole mount. `rights`: changes of owner, group and mode.
//! - `open`, `read`, `write`, `release` (close(2)): what is done with an open file. `append_file`: from a closed `append-file` to a record.
//! - `ask`: calls that may wait for a disk. `wake`: readers and pollers are parked, and answered when a record comes.

mod about;
mod append_file;
mod ask;
mod getattr;
mod life;
mod list;
mod lookup;
mod namespaces;
mod open;
mod read;
mod release;
mod rights;
mod setattr;
mod unopened;
mod wake;
mod write;
mod xattr;

pub use about::DiskSpace;
pub use ask::Asked;
pub use list::DirEntry;
pub use open::{Access, Opened};
pub use wake::PollState;
pub use xattr::XattrReply;
