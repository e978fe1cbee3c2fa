//! The attributes of a node, and what a caller may want to change of them.

use std::time::{Duration, SystemTime};

/// How long the kernel may believe what never changes: a committed record, the name of a fixed file.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// How long it may believe what changes rarely and harmlessly: a directory's times. Of its rights it learns
/// with the answer to their change.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// Unit of `st_blocks`, in bytes, as in `stat(2)`.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// What kind of node a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// The attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Directory or file.
    pub node_type: NodeType,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks.
    pub blocks: u64,
    /// Links: 2 and one for each subdirectory, for a directory; 1 for a file.
    pub links: u32,
    /// Last change of what is in it.
    pub modified: SystemTime,
    /// Last change of that or of its rights.
    pub changed: SystemTime,
    /// How long the attributes may be cached.
    pub attr_ttl: Duration,
    /// How long the name may be cached.
    pub entry_ttl: Duration,
}

/// What a caller wants to change about a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// New permission bits.
    pub mode: Option<u16>,
    /// A new owner.
    pub uid: Option<u32>,
    /// A new group.
    pub gid: Option<u32>,
    /// A new size, in bytes.
    pub size: Option<u64>,
    /// Times.
    pub times: bool,
    /// Of this open file: `ftruncate(2)`, not `truncate(2)`.
    pub fh: Option<u64>,
}
