//! System calls on an open file, as any program may make them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::null_mut;

use nix::errno::Errno;

/// The most that one call asks for.
pub(crate) const MOST: usize = 16 << 10;
const PAGE: usize = 4096;

/// Ways to get bytes out of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Read,
    Pread,
    Readv,
    Splice,
    Sendfile,
    CopyFileRange,
    Direct,
    Map,
}

pub(crate) const WAYS: [Way; 8] = [
    Way::Read,
    Way::Pread,
    Way::Readv,
    Way::Splice,
    Way::Sendfile,
    Way::CopyFileRange,
    Way::Direct,
    Way::Map,
];

/// Opens a file for reading that must not wait.
pub(crate) fn open(path: &Path, way: Way) -> std::io::Result<File> {
    let direct = if let Way::Direct = way {
        libc::O_DIRECT
    } else {
        0
    };
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK | direct);
    options.open(path)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// What one call gives from an offset on. Of a mapping: of so many bytes at most, which the file has to have.
pub(crate) fn bytes(file: &File, way: Way, offset: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0xEE; most.min(MOST)];
    let got = match way {
        Way::Read => (&*file)
            .seek(SeekFrom::Start(offset))
            .and_then(|_| (&*file).read(&mut buffer)),
        Way::Pread => file.read_at(&mut buffer, offset),
        Way::Readv => {
            let (a, b) = buffer.split_at_mut(most.min(MOST) / 3);
            let pieces = [a, b].map(|piece| libc::iovec {
                iov_base: piece.as_mut_ptr().cast(),
                iov_len: piece.len(),
            });
            // SAFETY: two pieces of one buffer that nobody else holds, with their lengths.
            let got = unsafe { libc::preadv(file.as_raw_fd(), pieces.as_ptr(), 2, offset as i64) };
            usize::try_from(got).map_err(|_| std::io::Error::last_os_error())
        }
        Way::Direct => return direct(file, offset),
        Way::Map => return map(file, most.min(MOST)),
        Way::Splice | Way::Sendfile | Way::CopyFileRange => {
            return moved(file, way, offset, buffer.len());
        }
    };
    match got {
        Ok(got) => {
            buffer.truncate(got);
            Ok(buffer)
        }
        Err(e) => Err(errno(&e)),
    }
}

/// With O_DIRECT, into a buffer that begins on a page.
fn direct(file: &File, offset: u64) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0xEE; MOST + PAGE];
    let start = buffer.as_ptr().align_offset(PAGE);
    let aligned = &mut buffer[start..start + MOST];
    let offset = offset / PAGE as u64 * PAGE as u64;
    let got = file.read_at(aligned, offset).map_err(|e| errno(&e))?;
    Ok(aligned[..got].to_vec())
}

/// Through a mapping of the beginning of a file that has so many bytes.
fn map(file: &File, bytes: usize) -> Result<Vec<u8>, Errno> {
    let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let mapped = unsafe { libc::mmap(null_mut(), bytes, read, shared, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping that was just made; nobody changes what it shows. Were the file shorter, the signal would end
    // the test.
    let seen = unsafe { std::slice::from_raw_parts(mapped.cast::<u8>(), bytes).to_vec() };
    // SAFETY: nothing points into it any more.
    unsafe { libc::munmap(mapped, bytes) };
    Ok(seen)
}

/// By a call that has the kernel move the bytes.
fn moved(file: &File, way: Way, offset: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let mut at = offset as i64;
    let from = file.as_raw_fd();
    let (mut target, sent) = if let Way::Splice = way {
        let (read, write) = std::io::pipe().unwrap();
        // SAFETY: both descriptors are open, and `at` is an offset.
        let sent = unsafe {
            let nonblock = libc::SPLICE_F_NONBLOCK;
            libc::splice(
                from,
                &raw mut at,
                write.as_raw_fd(),
                null_mut(),
                most,
                nonblock,
            )
        };
        (File::from(std::os::fd::OwnedFd::from(read)), sent)
    } else {
        // SAFETY: a name that ends in a NUL; the new descriptor is this one's alone.
        let memory = unsafe { File::from_raw_fd(libc::memfd_create(c"moved".as_ptr(), 0)) };
        // SAFETY: both descriptors are open, and `at` is an offset.
        let sent = unsafe {
            match way {
                Way::Sendfile => libc::sendfile(memory.as_raw_fd(), from, &raw mut at, most),
                _ => {
                    let to = memory.as_raw_fd();
                    libc::copy_file_range(from, &raw mut at, to, null_mut(), most, 0)
                }
            }
        };
        (memory, sent)
    };
    let sent = Errno::result(sent)? as usize;
    if !matches!(way, Way::Splice) {
        target.seek(SeekFrom::Start(0)).unwrap();
    }
    let mut bytes = vec![0; sent];
    target.read_exact(&mut bytes).unwrap();
    Ok(bytes)
}

/// Looks at a file in one of the ways that tell no byte; the number says in which, and where.
pub(crate) fn look(file: &File, which: u64, offset: u64) {
    let fd = file.as_raw_fd();
    let advice = [
        libc::POSIX_FADV_WILLNEED,
        libc::POSIX_FADV_DONTNEED,
        libc::POSIX_FADV_RANDOM,
        libc::POSIX_FADV_SEQUENTIAL,
    ];
    // SAFETY: the descriptor is open, and `poll` has one entry. Whether it can be done is for the kernel to say.
    unsafe {
        match which % 4 {
            0 => {
                libc::posix_fadvise(
                    fd,
                    offset as i64,
                    MOST as i64,
                    advice[which as usize / 4 % 4],
                );
            }
            1 => {
                libc::readahead(fd, offset as i64, MOST);
            }
            2 => {
                let events = libc::POLLIN;
                let mut poll = libc::pollfd {
                    fd,
                    events,
                    revents: 0,
                };
                libc::poll(&raw mut poll, 1, 0);
            }
            _ => {
                libc::lseek(fd, offset as i64, libc::SEEK_DATA);
            }
        }
    }
}
