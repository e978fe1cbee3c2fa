//! All that the engine asks of a disk: two traits, small enough that a test can write a disk which fails, delays or cuts any
//! call.
//!
//! `docs/format.md` says what is assumed of a real disk.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a file is opened. No mode follows a symbolic link in the last part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading.
    Read,
    /// For reading a file that another program may have put there. What is not an ordinary file is an error; nothing waits
    /// for the other end of a pipe.
    ReadForeign,
    /// For reading and writing; the file must be there.
    Write,
    /// For reading and writing; the file must not be there (`AlreadyExists`).
    Create,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// Whether it is an ordinary file; a symbolic link to one is not.
    pub is_file: bool,
}

/// What tells one file from another, and whether it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// The number of its file system, and its number there. No other file has both while this one is open.
    pub identity: (u64, u64),
    /// Its length in bytes.
    pub bytes: u64,
    /// When its bytes changed last: seconds and nanoseconds.
    pub modified: (i64, i64),
}

impl FileStat {
    /// When its bytes changed last; `None`: the system cannot express it.
    pub fn modified_time(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second = match seconds {
            0.. => UNIX_EPOCH.checked_add(whole),
            _ => UNIX_EPOCH.checked_sub(whole),
        };
        second?.checked_add(Duration::from_nanos(nanoseconds.unsigned_abs()))
    }
}

/// Whose a file is, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRights {
    /// User id of the owner.
    pub owner: u32,
    /// Group id.
    pub group: u32,
    /// Permission bits.
    pub mode: u16,
}

/// Files by path.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a directory and those above it, and returns when their names are on the disk. No error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Removes the name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same directory. A file that has this name loses it. At every moment, also after a
    /// crash, the name leads to one of the two files.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The file that a path leads to; `None`, the default: such a disk cannot tell.
    fn stat(&self, _path: &Path) -> io::Result<Option<FileStat>> {
        Ok(None)
    }
    /// The rights of the file that a path leads to; `None`, the default: such a disk keeps none.
    fn rights(&self, _path: &Path) -> io::Result<Option<FileRights>> {
        Ok(None)
    }
    /// Returns when the names in a directory are on the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// A number that changes whenever unsynced writes may have been lost: with each boot of the machine. 0, the default: not
    /// known, so they may have been lost at any time.
    fn boot_id(&self) -> u64 {
        0
    }
}

/// One open file. Reads and writes at an offset, from any number of threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`. Only 0 bytes mean the end of the file. On a thread that must not wait
    /// ([`may_wait`](crate::may_wait)), a read that would have to fails with `WouldBlock`, if the file can tell.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bufs` at `offset`, at least one byte. Returns how many bytes.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Which file it is; `None`, the default: such a disk cannot tell.
    fn stat(&self) -> io::Result<Option<FileStat>> {
        Ok(None)
    }
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Sets when its bytes changed last. By default nothing happens: such a disk keeps no times.
    fn set_modified(&self, _time: SystemTime) -> io::Result<()> {
        Ok(())
    }
    /// Returns when the bytes that were written, and the length, are on the disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Called before a change begins. An error that can be found before anything is written is found here. By default there is
    /// none.
    fn ready(&self) -> io::Result<()> {
        Ok(())
    }
    /// Whether [`DiskFile::ready`] returns without waiting for the disk, now and for a while. By default it does.
    fn is_ready(&self) -> bool {
        true
    }
}
