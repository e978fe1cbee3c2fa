//! What the file system asks of a transport, which brings it calls: FUSE, or a test.

use crate::fs::errno::Errno;
use crate::fs::namespace::Grown;
use crate::fs::tree::Attr;

/// What carries calls to the file system and answers back: FUSE, or a test.
pub trait Transport: 'static {
    /// Answers a read with its bytes; none is end of file.
    type Read: for<'a> Reply<&'a [u8]>;
    /// Answers a write with the number of bytes that were taken: all of them.
    type Write: Reply<u32>;
    /// Answers a call that gives nothing back.
    type Done: Reply<()>;
    /// Answers a call that gives attributes back: as they are now.
    type Attr: Reply<Attr>;
    /// Tells a poller once that something changed. It answers no call.
    type Poll: PollWaker;
}

/// Answers one call, from any thread.
pub trait Reply<A>: Send + 'static {
    /// Gives what was asked for, or says why not.
    fn answer(self, result: Result<A, Errno>);
}

/// Wakes a poller, which then asks again.
pub trait PollWaker: Send + 'static {
    /// Wakes it.
    fn wake(self);
}

/// The thread that makes a call, and its user.
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

/// A read of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The transport's number of the request, by which a signal finds it.
    pub unique: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes it takes at most.
    pub size: u32,
    /// How it comes.
    pub mode: ReadMode,
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
    /// The user who writes: a write that waits for its turn counts as that user's memory.
    pub uid: u32,
    /// With O_DSYNC or O_SYNC: its records are to be on the disk before the answer.
    pub durable: bool,
    /// With O_APPEND, as the open file has it now.
    pub append: bool,
    /// The offset that it comes with. Of a file that has none it is 0, and only the rest of a write that the kernel
    /// has split comes with another.
    pub offset: u64,
}
