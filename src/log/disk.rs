//! All that the engine asks of a disk, small enough to be written again by a test that cuts, fails or delays
//! any call.
//!
//! What is assumed of a real one is in `docs/format.md`.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::open_files;

/// How a file is opened. None of them follows a symbolic link in the last part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing; it must not be there (`AlreadyExists`).
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
    /// The file system it is in, and its number there. No other file has them as long as this one is open.
    pub identity: (u64, u64),
    /// Its length in bytes.
    pub bytes: u64,
    /// When its bytes changed last: seconds and nanoseconds.
    pub modified: (i64, i64),
}

impl From<std::fs::Metadata> for FileStat {
    fn from(metadata: std::fs::Metadata) -> Self {
        FileStat {
            identity: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Files by path.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and those above it, their names on the disk; no error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The file that a path leads to; `None`, the default: such a disk cannot tell.
    fn stat(&self, _path: &Path) -> io::Result<Option<FileStat>> {
        Ok(None)
    }
    /// Returns when the names in a directory are on the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// A number that changes whenever writes that were not synced may have been lost: with each boot of the
    /// machine. 0, the default: not known, so every time may be such a time.
    fn boot_id(&self) -> u64 {
        0
    }
}

/// One open file. Reads and writes at an offset, from any number of threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; fewer than that does not mean the end, 0 does. On a thread that must not
    /// wait ([`may_wait`](super::may_wait)) a file that would have to says `WouldBlock`, if it can tell.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bufs` at `offset`, at least one byte, and says how many.
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
    /// Returns when what was written, and the length, are on the disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Before a change is begun: what can fail before anything is written fails here. By default nothing can.
    fn ready(&self) -> io::Result<()> {
        Ok(())
    }
    /// Whether [`DiskFile::ready`] returns without waiting for the disk, now and for a while. By default it does.
    fn is_ready(&self) -> bool {
        true
    }
}

/// The most buffers one write takes (`IOV_MAX` on Linux).
pub(crate) const MAX_BUFFERS: usize = 1024;
/// What [`write_again`] holds in memory.
const AGAIN_BYTES: u64 = 256 << 10;

/// Reads until `buf` is full or the file ends, and says how much there was.
pub(crate) fn read_up_to(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Fills `buf`, or says `UnexpectedEof`.
pub(crate) fn read_exact(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    if read_up_to(file, buf, offset)? == buf.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes all of `bytes`.
pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all_vectored(file, &mut [IoSlice::new(bytes)], offset)
}

/// Writes all of `bufs`, however many they are and however little each call takes.
pub(crate) fn write_all_vectored(
    file: &dyn DiskFile,
    mut bufs: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0); // drops leading empty ones
    while !bufs.is_empty() {
        match file.write_vectored_at(&bufs[..bufs.len().min(MAX_BUFFERS)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `buf` unless the reader ends before.
pub(crate) fn read_full(reader: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match reader.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes the bytes from `from` to `to` once more, as they are.
pub(crate) fn write_again(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let piece = to.saturating_sub(from).min(AGAIN_BYTES);
    let (mut bytes, mut at) = (vec![0; piece as usize], from);
    while at < to {
        let wanted = (to - at).min(piece) as usize;
        read_exact(file, &mut bytes[..wanted], at)?;
        write_all(file, &bytes[..wanted], at)?;
        at += wanted as u64;
    }
    Ok(())
}

/// The machine's own disk. Of its files, a quarter of what the process may have open are kept open; the others are opened
/// again when they are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDisk;

impl Disk for StdDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(open_files::open(path, mode)?)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = std::path::absolute(dir)?;
        let missing = dir.ancestors().take_while(|path| !path.exists()).count();
        std::fs::create_dir_all(&dir)?;
        dir.ancestors()
            .skip(1)
            .take(missing)
            .try_for_each(|parent| self.sync_dir(parent))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        std::fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirEntry {
                    is_file: entry.file_type()?.is_file(),
                    name: entry.file_name(),
                })
            })
            .collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        Ok(Some(std::fs::symlink_metadata(path)?.into()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn boot_id(&self) -> u64 {
        // No process lives through a boot.
        static BOOT_ID: OnceLock<u64> = OnceLock::new();
        *BOOT_ID.get_or_init(|| {
            let Ok(text) = std::fs::read("/proc/sys/kernel/random/boot_id") else {
                return 0;
            };
            let (front, back) = text.split_at(text.len() / 2);
            u64::from(crc32c::crc32c(front)) << 32 | u64::from(crc32c::crc32c(back))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes at most three bytes and two buffers a call, and is interrupted every other time.
    #[derive(Debug, Default)]
    struct Reluctant(Mutex<(Vec<u8>, u32)>);

    impl DiskFile for Reluctant {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut inner = self.0.lock().expect("not poisoned");
            inner.1 += 1;
            if inner.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = &inner.0[(offset as usize).min(inner.0.len())..];
            let n = rest.len().min(buf.len()).min(3);
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            assert!(bufs.len() <= MAX_BUFFERS);
            let mut inner = self.0.lock().expect("not poisoned");
            inner.1 += 1;
            if inner.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let bytes: Vec<u8> = bufs
                .iter()
                .take(2)
                .flat_map(|b| b.iter().copied())
                .take(3)
                .collect();
            assert!(offset as usize <= inner.0.len());
            inner.0.truncate(offset as usize);
            inner.0.extend_from_slice(&bytes);
            Ok(bytes.len())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_and_interrupted_calls_are_carried_on() {
        let file = Reluctant::default();
        let parts: Vec<Vec<u8>> = (0..3000u32)
            .map(|i| vec![i as u8; (i % 5) as usize])
            .collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        write_all_vectored(&file, &mut slices, 0).expect("written");
        let whole = parts.concat();
        let mut back = vec![0; whole.len()];
        read_exact(&file, &mut back, 0).expect("read");
        assert_eq!(back, whole);
        assert!(read_exact(&file, &mut [0; 2], whole.len() as u64 - 1).is_err());
    }
}
