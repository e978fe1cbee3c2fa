//! Three system calls that the standard library lacks, and all unsafe code of the engine.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// `preadv2(2)` with RWF_NOWAIT: reads what is in memory, or fails with `WouldBlock`.
pub(crate) fn read_what_is_in_memory(
    file: &File,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let into = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // Two halves where a long has 32 bits. Where it has 64, `low` is the whole offset, and the kernel ignores `high`.
    let (low, high) = (offset as libc::c_long, (offset >> 32) as libc::c_long);
    // SAFETY: the descriptor is open as long as `file` is borrowed; `into` is one buffer, which is valid for writes of
    // its length and borrowed by this call alone.
    let got = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.as_raw_fd(),
            &raw const into,
            1 as libc::c_long,
            low,
            high,
            libc::RWF_NOWAIT,
        )
    };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// `pwritev(2)`: writes some of `bufs`, 1024 at most, at `offset`.
pub(crate) fn write_vectored_at(
    file: &File,
    bufs: &[IoSlice<'_>],
    offset: u64,
) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let count = libc::c_int::try_from(bufs.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open as long as `file` is borrowed; an `IoSlice` is laid out as an `iovec` (its
    // documentation promises that), `bufs` are `count` of them or more, and the kernel only reads what they point to, which
    // they borrow.
    let wrote = unsafe { libc::pwritev64(file.as_raw_fd(), bufs.as_ptr().cast(), count, offset) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

/// `getrlimit(2)`: how many descriptors this process may have; `None` if the call fails.
pub(crate) fn most_descriptors() -> Option<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for the one structure that the kernel writes.
    let failed = unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) };
    (failed == 0).then_some(limit.rlim_cur)
}
