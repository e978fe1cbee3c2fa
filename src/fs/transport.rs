//! What the file system asks of whoever brings it calls: FUSE, or a test.

use super::attr::Attr;
use super::errno::Errno;
use super::watched::Grown;

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
