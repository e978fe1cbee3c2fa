//! The attributes of a node, and the changes of them that a caller may ask for.

use std::time::{Duration, SystemTime};

/// How long the kernel may cache what never changes: a committed record, the name of a fixed file.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// How long the kernel may cache what changes rarely and does no harm when it is old: the times of a directory. A change of
/// the directory's rights reaches the kernel with the answer to that change.
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
    /// Links: for a directory, 2 and one for each subdirectory; for a file, 1.
    pub links: u32,
    /// Last change of the contents.
    pub modified: SystemTime,
    /// Last change of the contents or of the rights.
    pub changed: SystemTime,
    /// How long the attributes may be cached.
    pub attr_ttl: Duration,
    /// How long the name may be cached.
    pub entry_ttl: Duration,
}

/// The changes of a node that a caller asks for.
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
    /// Whether times are to be set.
    pub times: bool,
    /// The open file, for `ftruncate(2)`; `None` for `truncate(2)`.
    pub fh: Option<u64>,
}
