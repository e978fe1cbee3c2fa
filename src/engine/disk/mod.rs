//! What the engine asks of a disk.
//!
//! `seam` is the two traits, small enough to be written again by a test; `std_disk` is the machine's own disk, with
//! `open_files`, which of its files are open, `nowait`, reads that do not wait, and
//! `system_calls`, those that the standard library has not. `whole` reads and writes whole buffers,
//! `window` is a buffer over one file, and `replace` reads and replaces small files.

mod nowait;
mod open_files;
mod replace;
mod seam;
mod std_disk;
mod system_calls;
mod whole;
mod window;

#[doc(hidden)]
pub use nowait::{may_wait, without_waiting};
#[doc(hidden)]
pub use open_files::{
    are_descriptors_scarce, is_out_of_descriptors, what_holds_descriptors, with_room,
};
#[doc(hidden)]
pub use replace::{SmallFile, read_small_file, replace_small_file};
pub use seam::{DirEntry, Disk, DiskFile, FileRights, FileStat, OpenMode};
pub use std_disk::StdDisk;
pub(crate) use whole::{
    read_exact, read_full, read_up_to, write_again, write_all, write_all_vectored,
};
pub(crate) use window::{WINDOW_BYTES, Window};
