//! What a caller is told: the engine's errors and the tree's refusals as errno values.

use std::fmt;
use std::sync::Arc;

use immuta::{Error, is_out_of_descriptors, may_wait, system_words, what_holds_descriptors};

/// Why a call is refused: an errno value, as in `errno(3)`, and the error of the engine that it stands for.
#[derive(Clone, Debug)]
pub struct Errno {
    number: i32,
    cause: Option<Arc<Error>>,
}

/// Two are equal when their numbers are: a caller is told no more.
impl PartialEq for Errno {
    fn eq(&self, other: &Errno) -> bool {
        self.number == other.number
    }
}

impl Eq for Errno {}

impl Errno {
    /// Not allowed for anybody: the tree is immutable there.
    pub const EPERM: Errno = Errno::new(libc::EPERM);
    /// No such name.
    pub const ENOENT: Errno = Errno::new(libc::ENOENT);
    /// A signal came.
    pub const EINTR: Errno = Errno::new(libc::EINTR);
    /// The disk failed, or the record is damaged.
    pub const EIO: Errno = Errno::new(libc::EIO);
    /// No such place in the file.
    pub const ENXIO: Errno = Errno::new(libc::ENXIO);
    /// No such open file.
    pub const EBADF: Errno = Errno::new(libc::EBADF);
    /// Would wait.
    pub const EAGAIN: Errno = Errno::new(libc::EAGAIN);
    /// The file goes in the other direction.
    pub const EACCES: Errno = Errno::new(libc::EACCES);
    /// Not now: the log is being checked.
    pub const EBUSY: Errno = Errno::new(libc::EBUSY);
    /// The name is taken.
    pub const EEXIST: Errno = Errno::new(libc::EEXIST);
    /// Not a directory.
    pub const ENOTDIR: Errno = Errno::new(libc::ENOTDIR);
    /// A directory.
    pub const EISDIR: Errno = Errno::new(libc::EISDIR);
    /// No such extended attribute.
    pub const ENODATA: Errno = Errno::new(libc::ENODATA);
    /// The buffer is too small.
    pub const ERANGE: Errno = Errno::new(libc::ERANGE);
    /// Not a valid value or name.
    pub const EINVAL: Errno = Errno::new(libc::EINVAL);
    /// More was to be kept for a reader than is kept, or of what waits for its end than there may be memory for.
    pub const ENOBUFS: Errno = Errno::new(libc::ENOBUFS);
    /// The name is longer than any.
    pub const ENAMETOOLONG: Errno = Errno::new(libc::ENAMETOOLONG);
    /// The disk is full.
    pub const ENOSPC: Errno = Errno::new(libc::ENOSPC);
    /// The namespace holds records.
    pub const ENOTEMPTY: Errno = Errno::new(libc::ENOTEMPTY);
    /// The record is too large for this file.
    pub const EMSGSIZE: Errno = Errno::new(libc::EMSGSIZE);
    /// A number beyond what can be represented.
    pub const EOVERFLOW: Errno = Errno::new(libc::EOVERFLOW);
    /// The namespace was removed, or another mount's inode.
    pub const ESTALE: Errno = Errno::new(libc::ESTALE);
    /// What the file needs cannot be had here.
    pub const EOPNOTSUPP: Errno = Errno::new(libc::EOPNOTSUPP);
    /// The process that wrote was killed: what it wrote is given up.
    pub const ECANCELED: Errno = Errno::new(libc::ECANCELED);
    /// Larger than a file can be.
    pub const EFBIG: Errno = Errno::new(libc::EFBIG);
    /// Never given to a caller: the thread that asks must not wait, and the answer takes a disk. A thread that may wait asks
    /// again.
    pub(crate) const WOULD_WAIT: Errno = Errno::new(-1);
    /// Opened for reading only.
    pub const EROFS: Errno = Errno::new(libc::EROFS);

    /// An errno value without a cause.
    pub const fn new(number: i32) -> Errno {
        Errno {
            number,
            cause: None,
        }
    }

    /// The value, as in `errno(3)`.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Logs what an errno value does not explain, where no call is left to be answered.
    pub(crate) fn report_unanswered(&self) {
        if let Some(why) = self.unexplained() {
            log::error!("{why}");
        }
    }

    /// What the log of the program has to tell of this refusal, because the errno value tells neither record nor file. `None`
    /// if the value says enough, or the log of the program has told it already.
    pub fn unexplained(&self) -> Option<String> {
        let cause = self.cause.as_deref()?;
        match cause {
            // Told when it happened.
            Error::Failed { .. } | Error::Unopened { .. } => None,
            Error::Io { source, .. } if is_out_of_descriptors(source) => {
                Some(format!("{cause}: {}", what_holds_descriptors()))
            }
            _ if *self == Errno::EIO => Some(cause.to_string()),
            _ => None,
        }
    }
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
                Errno::new(source.raw_os_error().unwrap_or(libc::EMFILE))
            }
            Error::Failed { .. }
            | Error::Unopened { .. }
            | Error::Damaged { .. }
            | Error::Io { .. } => Errno::EIO,
        };
        Errno {
            cause: Some(Arc::new(error)),
            ..errno
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&system_words(&std::io::Error::from_raw_os_error(
            self.number,
        )))
    }
}
