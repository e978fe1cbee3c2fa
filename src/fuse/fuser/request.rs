//! Converts the parameters of fuser's requests to the file system's types.

use std::ffi::OsStr;

use crate::fs::errno::Errno;
use crate::fs::{Access, Asked, Caller};
use fuser::{INodeNo, OpenAccMode, OpenFlags, Request};

/// The largest write in one message, in bytes: as much as the kernel sends with its default page limit.
pub const MAX_WRITE_BYTES: u32 = 1 << 20;

/// The thread and the user that make the call.
pub(super) fn caller(req: &Request) -> Caller {
    Caller {
        thread: req.pid(),
        uid: req.uid(),
        gid: req.gid(),
    }
}

/// The request as a question about a node.
pub(super) fn asked(req: &Request, ino: INodeNo) -> Asked {
    Asked {
        unique: req.unique().0,
        thread: req.pid(),
        ino: ino.0,
    }
}

/// What the flags of `open` ask for.
pub(super) fn access(flags: OpenFlags) -> Access {
    let truncates = flags.0 & libc::O_TRUNC != 0;
    let only_adds = flags.0 & libc::O_APPEND != 0 && !truncates;
    match flags.acc_mode() {
        OpenAccMode::O_RDONLY if truncates => Access::ReadTruncate,
        OpenAccMode::O_RDONLY => Access::Read,
        OpenAccMode::O_WRONLY if only_adds => Access::Append,
        OpenAccMode::O_WRONLY => Access::Write,
        OpenAccMode::O_RDWR if only_adds => Access::ReadAppend,
        OpenAccMode::O_RDWR => Access::ReadWrite,
    }
}

/// The permission bits of a mode, without the type of the file.
pub(super) fn permissions(mode: u32) -> u16 {
    const PERMISSIONS: u32 = 0o7777;
    (mode & PERMISSIONS) as u16
}

/// A name as UTF-8: the tree has no other names.
pub(super) fn utf8(name: &OsStr) -> Result<String, Errno> {
    name.to_str().map(str::to_owned).ok_or(Errno::EINVAL)
}
