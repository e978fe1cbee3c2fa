//! What a caller is told: the engine's errors and the tree's refusals as errno values.

use std::fmt;

use immuta::{Error, is_out_of_descriptors, may_wait, system_words, what_holds_descriptors};

/// An errno value, as in `errno(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Not allowed for anybody: the tree is immutable there.
    pub const EPERM: Errno = Errno(libc::EPERM);
    /// No such name.
    pub const ENOENT: Errno = Errno(libc::ENOENT);
    /// A signal came.
    pub const EINTR: Errno = Errno(libc::EINTR);
    /// The disk failed, or the record is damaged.
    pub const EIO: Errno = Errno(libc::EIO);
    /// No such place in the file.
    pub const ENXIO: Errno = Errno(libc::ENXIO);
    /// No such open file.
    pub const EBADF: Errno = Errno(libc::EBADF);
    /// Would wait.
    pub const EAGAIN: Errno = Errno(libc::EAGAIN);
    /// The file goes in the other direction.
    pub const EACCES: Errno = Errno(libc::EACCES);
    /// Not now: the log is being checked.
    pub const EBUSY: Errno = Errno(libc::EBUSY);
    /// The name is taken.
    pub const EEXIST: Errno = Errno(libc::EEXIST);
    /// Not a directory.
    pub const ENOTDIR: Errno = Errno(libc::ENOTDIR);
    /// A directory.
    pub const EISDIR: Errno = Errno(libc::EISDIR);
    /// No such extended attribute.
    pub const ENODATA: Errno = Errno(libc::ENODATA);
    /// The buffer is too small.
    pub const ERANGE: Errno = Errno(libc::ERANGE);
    /// Not a valid value or name.
    pub const EINVAL: Errno = Errno(libc::EINVAL);
    /// More was to be kept for a reader than is kept, or of what waits for its end than there may be memory for.
    pub const ENOBUFS: Errno = Errno(libc::ENOBUFS);
    /// The name is longer than any.
    pub const ENAMETOOLONG: Errno = Errno(libc::ENAMETOOLONG);
    /// The disk is full.
    pub const ENOSPC: Errno = Errno(libc::ENOSPC);
    /// The namespace holds records.
    pub const ENOTEMPTY: Errno = Errno(libc::ENOTEMPTY);
    /// The record is too large for this file.
    pub const EMSGSIZE: Errno = Errno(libc::EMSGSIZE);
    /// A number beyond what can be represented.
    pub const EOVERFLOW: Errno = Errno(libc::EOVERFLOW);
    /// The namespace was removed, or another mount's inode.
    pub const ESTALE: Errno = Errno(libc::ESTALE);
    /// What the file needs cannot be had here.
    pub const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
    /// The process that wrote was killed: what it wrote is given up.
    pub const ECANCELED: Errno = Errno(libc::ECANCELED);
    /// Larger than a file can be.
    pub const EFBIG: Errno = Errno(libc::EFBIG);
    /// Never given to a caller: the thread that asks must not wait, and the answer takes a disk. A thread that may wait asks
    /// again.
    pub(crate) const WOULD_WAIT: Errno = Errno(-1);
    /// Opened for reading only.
    pub const EROFS: Errno = Errno(libc::EROFS);
}

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        if error.would_wait() && !may_wait() {
            return Errno::WOULD_WAIT;
        }
        let errno = match &error {
            Error::InvalidNamespace { .. } => Errno::EINVAL,
            Error::NotFound { .. } | Error::NoSuchRecord { .. } => Errno::ENOENT,
            Error::Exists { .. } => Errno::EEXIST,
            // It will be there when its check has ended.
            Error::BeingChecked { .. } => Errno::EBUSY,
            Error::NotEmpty { .. } => Errno::ENOTEMPTY,
            Error::ReadOnly => Errno::EROFS,
            Error::TooLarge { .. } => Errno::EMSGSIZE,
            // Quota and disk are one thing to a writer: make room. A limit of this process's own is another.
            Error::NoSpace { source, .. } => match source.raw_os_error() {
                Some(libc::EFBIG) => Errno::EFBIG,
                _ => Errno::ENOSPC,
            },
            // The namespace was removed, or the daemon is ending, under an open file.
            Error::Closed => Errno::ESTALE,
            // Cannot come from a call on the tree; if it does, the daemon's log says what it was.
            Error::Locked { .. } | Error::UnclearFormat { .. } | Error::Input { .. } => Errno::EIO,
            Error::Io { source, .. } if is_out_of_descriptors(source) => {
                log::error!("{error}: {}", what_holds_descriptors());
                return Errno(source.raw_os_error().unwrap_or(libc::EMFILE));
            }
            Error::Failed { .. }
            | Error::Unopened { .. }
            | Error::Damaged { .. }
            | Error::Io { .. } => Errno::EIO,
        };
        // An errno is a poor message, and this one names neither record nor file: the daemon's log does. Of a
        // log that has failed, or could not be opened, it has said so, once.
        let is_told = matches!(error, Error::Failed { .. } | Error::Unopened { .. });
        if errno == Errno::EIO && !is_told {
            log::error!("{error}");
        }
        errno
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&system_words(&std::io::Error::from_raw_os_error(self.0)))
    }
}
