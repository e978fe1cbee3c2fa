//! The kernel's calls, as fuser brings them. Nothing is decided here: each call converts its parameters, calls the file
//! system, and has the answer converted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::reply::{Kernel, KernelPoll, KernelReply, Refuse, file_type, open_error, to_fuser};
use super::request::{MAX_WRITE_BYTES, access, asked, caller, permissions, utf8};
use crate::fs::{Fs, Opened, ReadMode, ReadRequest, Reply, SetAttr, WriteMode};

/// The file system behind a FUSE session.
pub(super) struct FuseFs(pub(super) Arc<Fs<Kernel>>);

impl FuseFs {
    /// The reply to a call: `operation` of `ino`.
    fn reply<R: Refuse>(&self, reply: R, operation: &'static str, ino: INodeNo) -> KernelReply<R> {
        KernelReply::new(reply, operation, ino, Arc::downgrade(&self.0))
    }
}

impl Filesystem for FuseFs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // `>` on an append file is one call instead of two.
        if config
            .add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC)
            .is_err()
        {
            log::debug!("the kernel truncates in a call of its own");
        }
        // Only asynchronous reads (io_uring, aio) count against this limit: a few that wait must not hold up the others.
        let _previous = config.set_max_background(u16::MAX);
        config.set_max_write(MAX_WRITE_BYTES).map_err(|max| {
            std::io::Error::other(format!(
                "the kernel takes writes of {max} bytes at most, {MAX_WRITE_BYTES} are needed"
            ))
        })?;
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(name) = name.to_str().map(str::to_owned) else {
            return reply.error(fuser::Errno::ENOENT);
        };
        let caller = caller(req);
        let reply = self.reply(reply, "lookup", parent);
        self.0.ask(
            asked(req, parent),
            move |fs| fs.lookup_by(caller, parent.0, &name),
            |fs, found| fs.forget(found.ino, 1),
            |found| reply.answer(found),
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.0.forget(ino.0, nlookup);
    }

    fn getattr(&self, req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let reply = self.reply(reply, "getattr", ino);
        self.0.ask(
            asked(req, ino),
            move |fs| fs.getattr(ino.0, fh.map(|fh| fh.0)),
            |_, _| {},
            |attr| reply.answer(attr),
        );
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = SetAttr {
            mode: mode.map(permissions),
            uid,
            gid,
            size,
            times: atime.is_some() || mtime.is_some(),
            fh: fh.map(|fh| fh.0),
        };
        let reply = self.reply(reply, "setattr", ino);
        self.0.setattr(caller(req), ino.0, change, reply);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32, // The kernel has applied it.
        reply: ReplyEntry,
    ) {
        let (caller, name, mode) = (caller(req), utf8(name), permissions(mode));
        let reply = self.reply(reply, "mkdir", parent);
        self.0.apart(None, move |fs| {
            reply.answer(name.and_then(|name| fs.mkdir(caller, parent.0, &name, mode)));
        });
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (name, reply) = (utf8(name), self.reply(reply, "rmdir", parent));
        self.0.apart(None, move |fs| {
            reply.answer(name.and_then(|name| fs.rmdir(parent.0, &name)));
        });
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (caller, access) = (caller(req), access(flags));
        let open = move |fs: &Fs<Kernel>| fs.open(caller, ino.0, access);
        let undo = |fs: &Fs<Kernel>, opened: Opened| fs.release(opened.fh);
        let reply = self.reply(reply, "open", ino);
        self.0.ask(asked(req, ino), open, undo, move |opened| {
            reply.answer(opened.map_err(|errno| open_error(flags, errno)));
        });
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mode = ReadMode {
            nonblock: flags.0 & libc::O_NONBLOCK != 0,
            // A read that a program has called has an owner; a read for the page cache has none.
            for_page_cache: lock_owner.is_none(),
        };
        let request = ReadRequest {
            unique: req.unique().0,
            offset,
            size,
            mode,
        };
        self.0.read(fh.0, request, self.reply(reply, "read", ino));
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mode = WriteMode {
            uid: req.uid(),
            durable: flags.0 & libc::O_DSYNC != 0, // O_SYNC includes it.
            append: flags.0 & libc::O_APPEND != 0,
            offset,
        };
        self.0
            .write(fh.0, data, mode, self.reply(reply, "write", ino));
    }

    fn flush(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.0
            .flush(caller(req), fh.0, self.reply(reply, "close", ino));
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.release(fh.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.0.fsync(fh.0, self.reply(reply, "fsync", ino));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let reply = self.reply(reply, "opendir", ino);
        reply.give(self.0.opendir(ino.0), |reply, fh| {
            reply.opened(FileHandle(fh), FopenFlags::empty());
        });
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let mut reply = self.reply(reply, "readdir", ino);
        let listed = self.0.readdir(ino.0, fh.0, offset, |e| {
            reply.reply().add(
                INodeNo(e.ino),
                e.next_offset,
                file_type(e.node_type),
                e.name,
            )
        });
        reply.answer(listed);
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        // A namespace is on the disk when mkdir returns.
        reply.ok();
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let reply = self.reply(reply, "statfs", ino);
        self.0.apart(None, move |fs| reply.answer(fs.statfs()));
    }

    fn poll(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        ph: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let waker = flags
            .contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY)
            .then_some(KernelPoll(ph));
        self.reply(reply, "poll", ino)
            .answer(self.0.poll(fh.0, waker));
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_owned();
        let reply = self.reply(reply, "getxattr", ino);
        self.0.ask(
            asked(req, ino),
            move |fs| fs.getxattr(ino.0, &name, size),
            |_, _| {},
            |value| reply.answer(value),
        );
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let reply = self.reply(reply, "listxattr", ino);
        self.0.ask(
            asked(req, ino),
            move |fs| fs.listxattr(ino.0, size),
            |_, _| {},
            |list| reply.answer(list),
        );
    }

    fn lseek(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let reply = self.reply(reply, "lseek", ino);
        self.0.ask(
            asked(req, ino),
            move |fs| fs.seek_data_or_hole(ino.0, offset, whence),
            |_, _| {},
            |found| reply.answer(found),
        );
    }

    // Calls that would change what is written, or make anything but a namespace. They are refused at once, to root too.

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(to_fuser(&self.0.refusal()));
    }

    // Calls that the tree has no answer to. fuser's defaults would print a warning for each.

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // On every error, the program reads and writes itself. After ENOSYS the kernel would copy instead, and only up to the
        // file's size at that moment: `cat follow > ../other/append-lines` would not wait.
        reply.error(fuser::Errno::EINVAL);
    }
}
