//! Open files.
//!
//! - `handle`: what an open file remembers; `table`: all of them; `snapshots`: those whose text does not change.
//! - `show`: what a read gets; `start`: where a file begins; `take`: what a write becomes.
//! - `directories`: open directories.
//! - `receipts`: what a writer reads back; `spool`: what is written to an `append-file` before it is closed.
//! - `opener`: the process that opened a file; `second_open`: a second open by the same process.

mod directories;
mod handle;
mod opener;
mod receipts;
mod second_open;
mod show;
mod snapshots;
mod spool;
mod start;
mod table;
mod take;

pub(crate) use directories::Directories;
pub(crate) use handle::{Handle, Input, NOT_READ, OpenLines, OpenView, Output};
pub(crate) use opener::{Opener, is_killed};
pub(crate) use second_open::SecondOpens;
pub(crate) use show::{BUFFERS, Found, count_text};
pub(crate) use snapshots::Snapshots;
pub(crate) use spool::{Spool, Unclosed, Verdict, WriteError, errno_of};
pub(crate) use start::{Start, Starts};
pub(crate) use table::Handles;
pub(crate) use take::ANSWER_FIRST;
