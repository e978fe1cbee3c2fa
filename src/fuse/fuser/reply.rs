//! Converts the file system's answers to fuser's types.

use crate::fs::errno::Errno;
use crate::fs::{
    Attr, DiskSpace, NodeType, Opened, PollState, PollWaker, Reply, Transport, XattrReply,
};
use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, OpenFlags, PollEvents,
    PollNotifier, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr,
};

/// `st_blksize`: programs such as `cat` read this many bytes at a time.
const PREFERRED_READ_BYTES: u32 = 128 << 10;

/// The kernel as the file system's transport.
pub struct Kernel;

impl Transport for Kernel {
    type Read = KernelRead;
    type Write = KernelWrite;
    type Done = KernelDone;
    type Attr = KernelAttr;
    type Poll = KernelPoll;
}

/// Answers in fuser's types.
pub struct KernelRead(pub(super) ReplyData);

impl Reply<&[u8]> for KernelRead {
    fn answer(self, result: Result<&[u8], Errno>) {
        match result {
            Ok(bytes) => self.0.data(bytes),
            Err(errno) => self.0.error(to_fuser(errno)),
        }
    }
}

/// Answers in fuser's types.
pub struct KernelWrite(pub(super) ReplyWrite);

impl Reply<u32> for KernelWrite {
    fn answer(self, result: Result<u32, Errno>) {
        match result {
            Ok(bytes) => self.0.written(bytes),
            Err(errno) => self.0.error(to_fuser(errno)),
        }
    }
}

/// Answers in fuser's types.
pub struct KernelDone(pub(super) ReplyEmpty);

impl Reply<()> for KernelDone {
    fn answer(self, result: Result<(), Errno>) {
        reply_empty(self.0, result);
    }
}

/// Answers in fuser's types.
pub struct KernelAttr(pub(super) ReplyAttr);

impl Reply<Attr> for KernelAttr {
    fn answer(self, result: Result<Attr, Errno>) {
        reply_attr(self.0, result);
    }
}

/// Answers in fuser's types.
pub struct KernelPoll(pub(super) PollNotifier);

impl PollWaker for KernelPoll {
    fn wake(self) {
        // The poller may have closed the file meanwhile.
        if let Err(e) = self.0.notify() {
            log::debug!("a poller was not woken: {e}");
        }
    }
}

pub(super) fn to_fuser(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.0)
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

pub(super) fn reply_entry(reply: ReplyEntry, result: Result<Attr, Errno>) {
    match result {
        Ok(a) => reply.entry_with_ttls(&a.attr_ttl, &a.entry_ttl, &file_attr(&a), Generation(0)),
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

pub(super) fn reply_attr(reply: ReplyAttr, result: Result<Attr, Errno>) {
    match result {
        Ok(attr) => reply.attr(&attr.attr_ttl, &file_attr(&attr)),
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

pub(super) fn reply_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

/// Answers `open`, which was called with `flags`.
pub(super) fn reply_open(reply: ReplyOpen, flags: OpenFlags, result: Result<Opened, Errno>) {
    match result {
        Ok(opened) => {
            let mut how = FopenFlags::empty();
            how.set(FopenFlags::FOPEN_KEEP_CACHE, opened.cached);
            how.set(FopenFlags::FOPEN_DIRECT_IO, !opened.cached);
            how.set(FopenFlags::FOPEN_STREAM, opened.stream);
            how.set(FopenFlags::FOPEN_NOFLUSH, !opened.needs_flush);
            reply.opened(FileHandle(opened.fh), how);
        }
        // FS_IOC_GETFLAGS: for this ioctl the kernel opens the file itself, without any flag. No open(2) of a program comes
        // without a flag, as the kernel adds O_LARGEFILE. ENOTTY tells the program that files here have no such attributes.
        Err(errno) if flags.0 == 0 && errno == Errno::EACCES => {
            reply.error(fuser::Errno::ENOTTY);
        }
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

pub(super) fn reply_poll(reply: ReplyPoll, result: Result<PollState, Errno>) {
    match result {
        Ok(state) => {
            let mut events = PollEvents::empty();
            events.set(PollEvents::POLLIN | PollEvents::POLLRDNORM, state.readable);
            events.set(PollEvents::POLLOUT | PollEvents::POLLWRNORM, state.writable);
            reply.poll(events);
        }
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

pub(super) fn reply_statfs(reply: ReplyStatfs, result: Result<DiskSpace, Errno>) {
    match result {
        Ok(s) => reply.statfs(
            s.blocks,
            s.blocks_free,
            s.blocks_available,
            s.files,
            s.files_free,
            s.block_bytes,
            s.name_bytes,
            s.block_bytes,
        ),
        Err(errno) => reply.error(to_fuser(errno)),
    }
}

pub(super) fn reply_xattr(reply: ReplyXattr, result: Result<XattrReply, Errno>) {
    match result {
        Ok(XattrReply::Size(size)) => reply.size(size),
        Ok(XattrReply::Data(bytes)) => reply.data(&bytes),
        Err(errno) => reply.error(to_fuser(errno)),
    }
}
