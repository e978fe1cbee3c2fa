//! What the file system asks of whoever brings it calls: FUSE, or a test.

use crate::fs::errno::Errno;
use crate::fs::namespace::Grown;
use crate::fs::tree::Attr;

/// What carries calls to the file system and answers back: FUSE, or a test.
pub trait Transport: 'static {
    /// Answers one read, from any thread, once.
    type Read: ReadReply;
    /// Answers one write.
    type Write: WriteReply;
    /// Answers one call that gives nothing back.
    type Done: DoneReply;
    /// Answers one call that gives attributes back.
    type Attr: AttrReply;
    /// Tells a poller once that something changed.
    type Poll: PollWaker;
}

/// The answer to a read.
pub trait ReadReply: Send + 'static {
    /// Gives the bytes; none is end of file.
    fn data(self, bytes: &[u8]);
    /// Refuses.
    fn error(self, errno: Errno);
}

/// The answer to a write.
pub trait WriteReply: Send + 'static {
    /// All `bytes` bytes were taken.
    fn written(self, bytes: u32);
    /// Nothing was taken.
    fn error(self, errno: Errno);
}

/// The answer to a call that gives nothing back.
pub trait DoneReply: Send + 'static {
    /// It is done.
    fn done(self);
    /// Refuses, or says what failed.
    fn error(self, errno: Errno);
}

/// The answer to a call that gives attributes back.
pub trait AttrReply: Send + 'static {
    /// It is done, and these are the attributes now.
    fn attr(self, attr: &Attr);
    /// Refuses.
    fn error(self, errno: Errno);
}

/// Wakes a poller, who then asks again.
pub trait PollWaker: Send + 'static {
    /// Wakes it.
    fn wake(self);
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its thread's id, as the mount's process would see it.
    pub thread: u32,
    /// Its user, to whom a namespace belongs that it makes.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Tells inotify watchers of growth of which the kernel tells them nothing.
pub trait Nudge: Send + Sync {
    /// A file has grown. Must not block.
    fn grew(&self, file: Grown);
}

/// How a read comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMode {
    /// It must not wait.
    pub nonblock: bool,
    /// It fills the kernel's page cache, for `sendfile(2)`, `splice(2)` or a mapping.
    pub for_page_cache: bool,
}

/// How a write comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteMode {
    /// The user who writes: what waits for its turn counts as memory of his.
    pub uid: u32,
    /// With O_DSYNC or O_SYNC: its records are to be on the disk before the answer.
    pub durable: bool,
    /// With O_APPEND, as the open file has it now.
    pub append: bool,
    /// The offset that it comes with. Of a file that has none it is 0, and only the rest of a write that the kernel
    /// has split comes with another.
    pub offset: u64,
}
