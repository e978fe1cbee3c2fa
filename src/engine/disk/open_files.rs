//! The machine's own files. The pool closes those that are not in use when there are too many; a file that was closed is
//! opened again when it is used.
//!
//! A file that was written to is synced before it is closed, since the kernel tells of a failed write-back only those that have
//! the file open. The error of such a sync is kept for the next sync of the file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use super::descriptors::with_room;
use super::nowait::{CanTell, may_wait};
use super::pool::{Closable, Closing, POOL};
use super::seam::{DiskFile, FileStat, OpenMode};
use super::system_calls::write_vectored_at;
use crate::locks::lock;

/// Opens a file, and closes others if there are too many.
pub(crate) fn open(path: &Path, mode: OpenMode) -> io::Result<Arc<StdFile>> {
    // The working directory may have changed when the file is opened again.
    let path = std::path::absolute(path)?;
    let file = with_room(|| open_now(&path, mode))?;
    let metadata = file.metadata()?;
    if mode == OpenMode::ReadForeign && !metadata.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    let id = Identity::from(&metadata);
    let file = Arc::new_cyclic(|myself| StdFile {
        myself: myself.clone(),
        path,
        mode: match mode {
            OpenMode::Create => OpenMode::Write,
            mode => mode,
        },
        id,
        open: Mutex::new(Some(Arc::new(file))),
        opening: Mutex::new(()),
        used: AtomicBool::new(true),
        written: AtomicU64::new(0),
        synced: AtomicU64::new(0),
        lost: AtomicI32::new(0),
        can_tell: CanTell::default(),
    });
    POOL.opened(file.myself.clone());
    Ok(file)
}

fn open_now(path: &Path, mode: OpenMode) -> io::Result<File> {
    let nonblock = match mode {
        OpenMode::ReadForeign => libc::O_NONBLOCK,
        OpenMode::Read | OpenMode::Write | OpenMode::Create => 0,
    };
    OpenOptions::new()
        .read(true)
        .write(matches!(mode, OpenMode::Write | OpenMode::Create))
        .create_new(mode == OpenMode::Create)
        .custom_flags(libc::O_NOFOLLOW | nonblock)
        .open(path)
}

/// Which file it is. When a file is gone, another one may get its number, so the time when it was made counts, too, where the
/// file system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    made: Option<SystemTime>,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            made: metadata.created().ok(),
        }
    }
}

/// One file, open or not.
#[derive(Debug)]
pub(crate) struct StdFile {
    myself: Weak<StdFile>,
    path: PathBuf,
    mode: OpenMode,
    /// Its path has to lead to this file when it is opened again.
    id: Identity,
    open: Mutex<Option<Arc<File>>>,
    /// Held while it is being opened.
    opening: Mutex<()>,
    /// Whether it was used since the pool has looked at it.
    used: AtomicBool,
    /// How many writes have begun, and how many of them are known to be on the disk.
    written: AtomicU64,
    synced: AtomicU64,
    /// The error of a sync by the pool that no caller has got yet; 0: none.
    lost: AtomicI32,
    can_tell: CanTell,
}

impl StdFile {
    /// The file, if it is open. Takes a lock that is held for moments.
    fn file_if_open(&self) -> Option<Arc<File>> {
        self.used.store(true, Ordering::Relaxed);
        lock(&self.open).clone()
    }

    /// The open file. Waits only when it has to be opened.
    fn file(&self) -> io::Result<Arc<File>> {
        if let Some(file) = self.file_if_open() {
            return Ok(file);
        }
        if !may_wait() {
            // Opening it takes the disk, and perhaps another file has to be synced and closed first.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let _opening = lock(&self.opening);
        if let Some(file) = self.file_if_open() {
            return Ok(file); // Another thread has opened it.
        }
        let file = with_room(|| open_now(&self.path, self.mode))?;
        if Identity::from(&file.metadata()?) != self.id {
            return Err(io::Error::other(
                "it is another file than it was: somebody has replaced it",
            ));
        }
        let file = Arc::new(file);
        *lock(&self.open) = Some(Arc::clone(&file));
        POOL.opened(self.myself.clone());
        Ok(file)
    }

    /// The open file, for a write. The write is counted first, so that `close` sees it.
    fn file_to_write(&self) -> io::Result<Arc<File>> {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.file()
    }

    fn may_close(&self, open: &Option<Arc<File>>) -> Closing {
        match open {
            Some(file) if Arc::strong_count(file) == 1 => {}
            _ => return Closing::InUse,
        }
        if self.written.load(Ordering::SeqCst) == self.synced.load(Ordering::SeqCst) {
            Closing::Closed
        } else {
            Closing::WrittenTo
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let written = self.written.load(Ordering::SeqCst);
        file.sync_data()?;
        self.synced.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }
}

impl Closable for StdFile {
    fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn close(&self) -> Closing {
        match self.may_close(&lock(&self.open)) {
            Closing::Closed => {}
            other => return other,
        }
        // With no lock held, since this asks the disk.
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if Identity::from(&found) == self.id => {}
            // It was renamed or removed. It can be used as long as it stays open.
            _ => return Closing::InUse,
        }
        let mut open = lock(&self.open);
        let closing = self.may_close(&open);
        let closed = match closing {
            Closing::Closed => open.take(),
            Closing::InUse | Closing::WrittenTo => None,
        };
        drop(open);
        drop(closed);
        closing
    }

    // Does not open the file: the caller may be opening another one, and wait for room.
    fn sync_to_close(&self) -> bool {
        let Some(file) = lock(&self.open).clone() else {
            return false;
        };
        match self.sync(&file) {
            Ok(()) => true,
            Err(e) => {
                let errno = e.raw_os_error().unwrap_or(libc::EIO);
                self.lost.store(errno, Ordering::SeqCst);
                false
            }
        }
    }
}

impl Drop for StdFile {
    fn drop(&mut self) {
        if lock(&self.open).is_some() {
            POOL.closed();
        }
    }
}

impl DiskFile for StdFile {
    fn stat(&self) -> io::Result<Option<FileStat>> {
        let open = lock(&self.open).clone();
        if let Some(file) = open {
            return Ok(Some(file.metadata()?.into()));
        }
        // A question is no reason to open it.
        Ok(Some(match std::fs::symlink_metadata(&self.path) {
            Ok(found) if Identity::from(&found) == self.id => found.into(),
            _ => FileStat {
                identity: (0, 0),
                bytes: 0,
                modified: (0, 0),
            },
        }))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file()?;
        self.can_tell.read(&file, buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let file = self.file_to_write()?;
        if let [one] = bufs {
            return file.write_at(one, offset);
        }
        write_vectored_at(&file, bufs, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file_to_write()?.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn ready(&self) -> io::Result<()> {
        self.file().map(drop)
    }

    fn is_ready(&self) -> bool {
        // This counts as a use, so that it is not closed next.
        self.file_if_open().is_some()
    }

    fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file_to_write()?.set_modified(time)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.lost.swap(0, Ordering::SeqCst) {
            0 => self.sync(&*self.file()?),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "open_files_tests.rs"]
mod tests;
