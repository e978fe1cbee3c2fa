//! The machine's own files, of which a bounded number is kept open: ten thousand logs need no twenty thousand descriptors.
//!
//! A file that nobody uses just now is closed when there are too many, the one first that was not used for longest
//! (nearly: one bit tells what was used since the last look), and opened again when it is used. A file that was written
//! to is synced before it is closed: the kernel tells a failed write-back to those who have the file open. What such a
//! sync says is kept for the next one who asks.

use std::collections::VecDeque;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use super::nowait::{CanTell, may_wait};
use super::seam::{DiskFile, FileStat, OpenMode};
use super::system_calls::{most_descriptors, write_vectored_at};
use crate::locks::lock;

/// The part of the process's descriptors that files of logs may take. The others are for readers, records that are still
/// written, and the program around.
const PART: u64 = 4;
const FEWEST_FILES: u64 = 8;
/// The most descriptors that are kept free for files of logs and for looks at `/proc`.
const MOST_RESERVED: u64 = 64;
/// How many files that were written to are synced and closed at a time.
const SYNCED_AT_ONCE: usize = 8;

static POOL: Pool = Pool {
    queue: Mutex::new(VecDeque::new()),
    open: AtomicUsize::new(0),
};

/// The files that are open, the one first that is looked at next.
struct Pool {
    queue: Mutex<VecDeque<Weak<StdFile>>>,
    open: AtomicUsize,
}

/// What holds the descriptors of this process, for a message about their limit.
pub fn what_holds_descriptors() -> String {
    format!(
        "of the {} descriptors that this process may have, files of logs hold {}; each record that is still written to an \
         'append-file' holds one (raise the limit: LimitNOFILE= of the service, or ulimit -n)",
        most_descriptors().unwrap_or(0),
        POOL.open.load(Ordering::Relaxed),
    )
}

/// Whether so few descriptors are left that they are for files of logs alone: an append must not fail half-way.
///
/// # Errors
/// When there is none left.
pub fn are_descriptors_scarce() -> io::Result<bool> {
    let soft = most_descriptors().unwrap_or(u64::MAX);
    let reserve = (soft / PART / 2).min(MOST_RESERVED);
    // The kernel gives the lowest number that is free.
    let number = File::open("/dev/null")?.as_raw_fd();
    Ok(u64::try_from(number).unwrap_or(0) + reserve >= soft)
}

/// Whether an error says that there can be no more descriptors.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// How many files of logs are kept open.
fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let soft = most_descriptors().unwrap_or(0);
        usize::try_from((soft / PART).max(FEWEST_FILES)).unwrap_or(usize::MAX)
    })
}

/// Opens a file, and closes others if there are too many.
pub(crate) fn open(path: &Path, mode: OpenMode) -> io::Result<Arc<StdFile>> {
    // The working directory may be another one when it is opened again.
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

/// Which file it is. The number of one that is gone can be another's later, so the time when it was made counts, too,
/// where the file system tells it.
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

/// Does what takes a descriptor, and closes files of logs when the process has none left for it.
pub fn with_room<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut result = open();
    for _ in 0..3 {
        match &result {
            Err(e) if is_out_of_descriptors(e) => {
                let open = POOL.open.load(Ordering::Relaxed);
                POOL.make_room(open - (open / 8 + 1).min(open));
            }
            _ => break,
        }
        result = open();
    }
    result
}

impl Pool {
    fn opened(&self, file: Weak<StdFile>) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut queue = lock(&self.queue);
        if queue.len() > 2 * open + 64 {
            // What is gone is in the queue until somebody looks at it.
            queue.retain(|file| file.strong_count() > 0);
        }
        queue.push_back(file);
        drop(queue);
        self.make_room(limit());
    }

    /// Closes files until no more than `limit` are open, or as many as can be closed.
    fn make_room(&self, limit: usize) {
        if self.open.load(Ordering::Relaxed) <= limit {
            return;
        }
        let mut written_to = Vec::new();
        let mut queue = lock(&self.queue);
        for _ in 0..2 * queue.len() {
            if self.open.load(Ordering::Relaxed) <= limit || written_to.len() == SYNCED_AT_ONCE {
                break;
            }
            let Some(next) = queue.pop_front() else { break };
            let Some(file) = next.upgrade() else { continue };
            if file.used.swap(false, Ordering::Relaxed) {
                queue.push_back(next);
                continue;
            }
            match file.close() {
                Closing::Closed => {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                }
                Closing::InUse => queue.push_back(next),
                Closing::WrittenTo => written_to.push(file),
            }
        }
        drop(queue);
        for file in written_to {
            if self.open.load(Ordering::Relaxed) > limit
                && file.sync_to_close()
                && matches!(file.close(), Closing::Closed)
            {
                self.open.fetch_sub(1, Ordering::Relaxed);
            } else {
                lock(&self.queue).push_back(file.myself.clone());
            }
        }
    }
}

/// One file, open or not.
#[derive(Debug)]
pub(crate) struct StdFile {
    myself: Weak<StdFile>,
    path: PathBuf,
    mode: OpenMode,
    /// By its path it has to be the same file again.
    id: Identity,
    open: Mutex<Option<Arc<File>>>,
    /// Held by who opens it.
    opening: Mutex<()>,
    /// Since the pool has looked at it.
    used: AtomicBool,
    /// How many writes have begun, and how many of them are known to be on the disk.
    written: AtomicU64,
    synced: AtomicU64,
    /// What a sync by the pool has failed with, that nobody has been told of; 0: nothing.
    lost: AtomicI32,
    can_tell: CanTell,
}

enum Closing {
    Closed,
    InUse,
    WrittenTo,
}

impl StdFile {
    /// The file, if it is open. Costs a lock that is held for moments.
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
            // To open it takes the disk, and another file may have to be synced first, to be closed.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let _opening = lock(&self.opening);
        if let Some(file) = self.file_if_open() {
            return Ok(file); // Somebody else has opened it.
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

    /// Before the file is taken for a write: so whoever closes it sees that.
    fn file_to_write(&self) -> io::Result<Arc<File>> {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.file()
    }

    /// Closes it, unless it is in use, or was written to, or could not be found again.
    fn close(&self) -> Closing {
        match self.may_close(&lock(&self.open)) {
            Closing::Closed => {}
            other => return other,
        }
        // With no lock held: the disk is asked.
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if Identity::from(&found) == self.id => {}
            // Renamed, or removed: as long as it is open it goes on.
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

    fn may_close(&self, open: &Option<Arc<File>>) -> Closing {
        match open {
            Some(file) if Arc::strong_count(file) == 1 => {}
            _ => return Closing::InUse,
        }
        match self.written.load(Ordering::SeqCst) == self.synced.load(Ordering::SeqCst) {
            true => Closing::Closed,
            false => Closing::WrittenTo,
        }
    }

    /// Returns whether all that was written is on the disk. Does not open it: whoever calls may be opening another.
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

    fn sync(&self, file: &File) -> io::Result<()> {
        let written = self.written.load(Ordering::SeqCst);
        file.sync_data()?;
        self.synced.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for StdFile {
    fn drop(&mut self) {
        if lock(&self.open).is_some() {
            POOL.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl DiskFile for StdFile {
    fn stat(&self) -> io::Result<Option<FileStat>> {
        let open = lock(&self.open).clone();
        if let Some(file) = open {
            return Ok(Some(file.metadata()?.into()));
        }
        // It is no reason to open it.
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
        // It counts as used: so it is not the next one to be closed.
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
