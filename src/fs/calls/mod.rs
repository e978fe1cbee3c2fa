//! The calls of a transport, and what is done for them: everything that is `impl Fs`.
//!
//! - `life`: a mount begins and ends. `namespaces`: they come and go.
//! - `lookup`, `getattr`, `setattr`, `list`, `xattr`: what is asked of names. `unopened`: of a namespace whose log is not
//!   open. `about`: of the whole mount. `rights`: changes of owner, group and mode.
//! - `open`, `read`, `write`, `close`: what is done with an open file. `append_file`: from a closed `append-file` to a record.
//! - `ask`: calls that may take a disk. `wake`: readers and pollers wait, and are answered.

mod about;
mod append_file;
mod ask;
mod close;
mod getattr;
mod life;
mod list;
mod lookup;
mod namespaces;
mod open;
mod read;
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
