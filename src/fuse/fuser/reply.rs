//! Answers the kernel: converts the file system's answers to fuser's types, and logs the errors that an errno value does not
//! explain.

use std::sync::Weak;

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, OpenFlags, PollEvents,
    PollNotifier, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use crate::fs::errno::Errno;
use crate::fs::{
    Attr, DiskSpace, Fs, NodeType, Opened, PollState, PollWaker, Reply, Transport, XattrReply,
};

/// `st_blksize`: programs such as `cat` read this many bytes at a time.
const PREFERRED_READ_BYTES: u32 = 128 << 10;

/// The kernel as the file system's transport.
pub struct Kernel;

impl Transport for Kernel {
    type Read = KernelReply<ReplyData>;
    type Write = KernelReply<ReplyWrite>;
    type Done = KernelReply<ReplyEmpty>;
    type Attr = KernelReply<ReplyAttr>;
    type Poll = KernelPoll;
}

/// The reply to one call, which tells the log of the program what an errno value does not.
pub struct KernelReply<R> {
    reply: R,
    operation: &'static str,
    /// The inode that the call is about.
    ino: u64,
    fs: Weak<Fs<Kernel>>,
}

impl<R: Refuse> KernelReply<R> {
    /// `operation` is for messages, as in `read of 'orders/follow'`.
    pub(super) fn new(
        reply: R,
        operation: &'static str,
        ino: INodeNo,
        fs: Weak<Fs<Kernel>>,
    ) -> Self {
        KernelReply {
            reply,
            operation,
            ino: ino.0,
            fs,
        }
    }

    /// Refuses the call, or has `give` answer it.
    pub(super) fn give<A>(self, result: Result<A, Errno>, give: impl FnOnce(R, A)) {
        match result {
            Ok(answer) => give(self.reply, answer),
            Err(errno) => {
                if let Some(why) = errno.unexplained() {
                    self.log(&errno, &why);
                }
                self.reply.refuse(to_fuser(&errno));
            }
        }
    }

    /// fuser's reply, to be filled before it is answered.
    pub(super) fn reply(&mut self) -> &mut R {
        &mut self.reply
    }

    fn log(&self, errno: &Errno, why: &str) {
        let name = nix::errno::Errno::from_raw(errno.number());
        let path = self.fs.upgrade().and_then(|fs| fs.path_of(self.ino));
        let path = path.unwrap_or_else(|| format!("inode {}", self.ino));
        log::error!("{why} ({} of '{path}': {name:?})", self.operation);
    }
}

/// A reply of fuser's that can be an errno value.
pub trait Refuse {
    /// Answers with an errno value.
    fn refuse(self, errno: fuser::Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: fuser::Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyData,
    ReplyDirectory,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyPoll,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

impl Reply<&[u8]> for KernelReply<ReplyData> {
    fn answer(self, result: Result<&[u8], Errno>) {
        self.give(result, ReplyData::data);
    }
}

impl Reply<u32> for KernelReply<ReplyWrite> {
    fn answer(self, result: Result<u32, Errno>) {
        self.give(result, ReplyWrite::written);
    }
}

impl Reply<()> for KernelReply<ReplyEmpty> {
    fn answer(self, result: Result<(), Errno>) {
        self.give(result, |reply, ()| reply.ok());
    }
}

impl Reply<()> for KernelReply<ReplyDirectory> {
    fn answer(self, result: Result<(), Errno>) {
        self.give(result, |reply, ()| reply.ok());
    }
}

impl Reply<Attr> for KernelReply<ReplyAttr> {
    fn answer(self, result: Result<Attr, Errno>) {
        self.give(result, |reply, attr| {
            reply.attr(&attr.attr_ttl, &file_attr(&attr))
        });
    }
}

impl Reply<Attr> for KernelReply<ReplyEntry> {
    fn answer(self, result: Result<Attr, Errno>) {
        self.give(result, |reply, attr| {
            reply.entry_with_ttls(
                &attr.attr_ttl,
                &attr.entry_ttl,
                &file_attr(&attr),
                Generation(0),
            );
        });
    }
}

impl Reply<Opened> for KernelReply<ReplyOpen> {
    fn answer(self, result: Result<Opened, Errno>) {
        self.give(result, |reply, opened| {
            let mut how = FopenFlags::empty();
            how.set(FopenFlags::FOPEN_KEEP_CACHE, opened.cached);
            how.set(FopenFlags::FOPEN_DIRECT_IO, !opened.cached);
            how.set(FopenFlags::FOPEN_STREAM, opened.stream);
            how.set(FopenFlags::FOPEN_NOFLUSH, !opened.needs_flush);
            reply.opened(FileHandle(opened.fh), how);
        });
    }
}

impl Reply<PollState> for KernelReply<ReplyPoll> {
    fn answer(self, result: Result<PollState, Errno>) {
        self.give(result, |reply, state| {
            let mut events = PollEvents::empty();
            events.set(PollEvents::POLLIN | PollEvents::POLLRDNORM, state.readable);
            events.set(PollEvents::POLLOUT | PollEvents::POLLWRNORM, state.writable);
            reply.poll(events);
        });
    }
}

impl Reply<DiskSpace> for KernelReply<ReplyStatfs> {
    fn answer(self, result: Result<DiskSpace, Errno>) {
        self.give(result, |reply, s| {
            reply.statfs(
                s.blocks,
                s.blocks_free,
                s.blocks_available,
                s.files,
                s.files_free,
                s.block_bytes,
                s.name_bytes,
                s.block_bytes,
            );
        });
    }
}

impl Reply<XattrReply> for KernelReply<ReplyXattr> {
    fn answer(self, result: Result<XattrReply, Errno>) {
        self.give(result, |reply, value| match value {
            XattrReply::Size(size) => reply.size(size),
            XattrReply::Data(bytes) => reply.data(&bytes),
        });
    }
}

impl Reply<i64> for KernelReply<ReplyLseek> {
    fn answer(self, result: Result<i64, Errno>) {
        self.give(result, ReplyLseek::offset);
    }
}

/// Wakes a poller.
pub struct KernelPoll(pub(super) PollNotifier);

impl PollWaker for KernelPoll {
    fn wake(self) {
        // The poller may have closed the file meanwhile.
        if let Err(e) = self.0.notify() {
            log::debug!("a poller was not woken: {e}");
        }
    }
}

/// The error of an `open` that was called with `flags`.
///
/// FS_IOC_GETFLAGS: for this ioctl the kernel opens the file itself, without any flag. No open(2) of a program comes without
/// a flag, as the kernel adds O_LARGEFILE. ENOTTY tells the program that files here have no such attributes.
pub(super) fn open_error(flags: OpenFlags, errno: Errno) -> Errno {
    if flags.0 == 0 && errno == Errno::EACCES {
        Errno::new(libc::ENOTTY)
    } else {
        errno
    }
}

pub(super) fn to_fuser(errno: &Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.number())
}

pub(super) fn file_type(node_type: NodeType) -> FileType {
    match node_type {
        NodeType::Directory => FileType::Directory,
        NodeType::File => FileType::RegularFile,
    }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.modified,
        mtime: attr.modified,
        ctime: attr.changed,
        crtime: attr.modified,
        kind: file_type(attr.node_type),
        perm: attr.mode,
        nlink: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: PREFERRED_READ_BYTES,
        flags: 0,
    }
}
