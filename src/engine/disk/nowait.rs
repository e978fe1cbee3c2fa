//! Reads that do not wait for the disk: they give what is in memory, or fail with
//! [`WouldBlock`](io::ErrorKind::WouldBlock).

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::system_calls::read_what_is_in_memory;
use crate::error::Error;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(true) };
}

/// Whether a read on this thread may wait for the disk. Inside [`without_waiting`] it may not: a
/// [`DiskFile`](crate::DiskFile) that would have to wait fails with `WouldBlock`, if it can tell.
pub fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// Calls `f` on this thread. No read in it waits for the disk: a read that would have to ends with an error that
/// [`Error::would_wait`](crate::Error::would_wait) recognises. A thread that serves others asks so whether it can answer at
/// once.
pub fn without_waiting<R>(f: impl FnOnce() -> R) -> R {
    /// Restores the setting, also when `f` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MAY_WAIT.set(self.0);
        }
    }
    let _before = Before(MAY_WAIT.replace(false));
    f()
}

impl Error {
    /// Whether this is the answer of a read inside [`without_waiting`](crate::without_waiting) that would have had to wait.
    pub fn would_wait(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Whether the file system of a file can tell what is in memory. The first read tries it. Where it cannot (FUSE, NFS,
/// OverlayFS), every read may wait.
#[derive(Debug)]
pub(crate) struct CanTell(AtomicBool);

impl Default for CanTell {
    fn default() -> Self {
        CanTell(AtomicBool::new(true))
    }
}

impl CanTell {
    /// Reads as this thread may: waiting or not.
    pub(crate) fn read(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if may_wait() {
            return file.read_at(buf, offset);
        }
        if self.0.load(Ordering::Relaxed) {
            match read_what_is_in_memory(file, buf, offset) {
                Err(e) if is_unsupported(&e) => self.0.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Whether the file system, or the kernel, has no reads that do not wait.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_read_without_waiting() {
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, b"in memory").expect("written");
        let (can_tell, mut buf) = (CanTell::default(), [0; 20]);
        let got = without_waiting(|| {
            assert!(!may_wait());
            can_tell.read(&file, &mut buf, 3)
        });
        assert_eq!(got.expect("read"), 6);
        assert_eq!(&buf[..6], b"memory");
        assert!(may_wait());
    }

    /// Such a file was read as if it did not wait.
    #[test]
    fn regression_a_file_that_cannot_tell_what_is_in_memory_is_read_by_who_may_wait() {
        let file = File::open("/proc/self/stat").expect("opened");
        let (can_tell, mut buf) = (CanTell::default(), [0; 20]);
        for _ in 0..2 {
            let got = without_waiting(|| can_tell.read(&file, &mut buf, 0));
            assert_eq!(got.expect_err("refused").kind(), io::ErrorKind::WouldBlock);
        }
        assert!(can_tell.read(&file, &mut buf, 0).expect("read") > 0);
    }
}
