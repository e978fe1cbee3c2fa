//! What the engine asks of a disk.
//!
//! `seam` is the two traits, small enough that a test can write a disk of its own; `std_disk` is the machine's own disk. Its
//! files are `open_files`: a `pool` keeps a bounded number of them open, `descriptors` shares the process's descriptors with the
//! program, `nowait` reads without waiting, and `system_calls` are those that the standard library lacks. `whole` reads and
//! writes whole buffers, `window` is a buffer over one file, and `replace` reads and replaces small files.

mod descriptors;
mod nowait;
mod open_files;
mod pool;
mod replace;
mod seam;
mod std_disk;
mod system_calls;
mod whole;
mod window;

pub use descriptors::{
    are_descriptors_scarce, is_out_of_descriptors, what_holds_descriptors, with_room,
};
pub use nowait::{may_wait, without_waiting};
pub use replace::{SmallFile, read_small_file, replace_small_file};
pub use seam::{DirEntry, Disk, DiskFile, FileRights, FileStat, OpenMode};
pub use std_disk::StdDisk;
pub(crate) use whole::{
    read_exact, read_full, read_up_to, write_again, write_all, write_all_vectored,
};
pub(crate) use window::{WINDOW_BYTES, Window};
