//! The attributes of each node: how large it is, whose, since when, and how long the kernel may believe it.

use std::time::{Duration, SystemTime};

use super::errno::Errno;
use super::handle::lock;
use super::offsets::Size;
use super::reading::count_text;
use super::rights::{Given, LEASE, Rights};
use super::tree::{self, Direction, Kind, Node};
use super::view::View;
use super::{Fs, Namespace, PoisonError, Transport};
use crate::log::RecordNo;

/// How long the kernel may believe what never changes: a committed record, the name of a fixed file.
pub(super) const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// How long it may believe what changes rarely and harmlessly: a directory's times. Of its rights it learns
/// with the answer to their change.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// Unit of `st_blocks`, in bytes, as in `stat(2)`.
pub(super) const BLOCK_BYTES: u64 = 512;

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

impl<T: Transport> Fs<T> {
    pub(super) fn attr(&self, node: Node) -> Result<Attr, Errno> {
        match node {
            Node::Root => {
                let (given, links) = (self.rights.now(), self.root_links());
                directory_attr(node, given, links, *lock(&self.names_changed), SHORT)
            }
            Node::About | Node::AboutFile(_) => self.about_attr(node),
            Node::Unopened(number) | Node::Error(number) => self.unopened_attr(node, number),
            Node::Namespace(id) => {
                let namespace = self.namespace(id)?;
                let modified = namespace.log.state().last_time.unwrap_or(self.started);
                directory_attr(node, namespace.rights.now(), 2, modified, SHORT)
            }
            Node::File(id, file) if file.kind.is_directory() => {
                let namespace = self.namespace(id)?;
                let modified = namespace.log.state().last_time.unwrap_or(self.started);
                let Given { rights, since } = namespace.rights.lease();
                let mode = rights.directory_mode();
                let rights = Rights { mode, ..rights };
                directory_attr(node, Given { rights, since }, 2, modified, LEASE)
            }
            Node::File(id, file) => {
                let namespace = self.namespace(id)?;
                let (log, state) = (&namespace.log, namespace.log.state());
                let (size, attr_ttl) = match file.kind {
                    Kind::Append | Kind::AppendLines | Kind::AppendFrames | Kind::AppendFile => {
                        (0, FOREVER)
                    }
                    Kind::Follow | Kind::Log => (View::Text.end(log, &state), Duration::ZERO),
                    Kind::Frames | Kind::FollowFrames => {
                        (View::Frames.end(log, &state), Duration::ZERO)
                    }
                    Kind::JsonLog | Kind::JsonFollow => match namespace.lines_size(file.name)? {
                        Size::Exact(bytes) | Size::AtLeast(bytes) => (bytes, Duration::ZERO),
                        Size::Unknown => (0, Duration::ZERO),
                    },
                    Kind::From | Kind::Since => (0, SHORT),
                    Kind::Stats => (self.stats(&namespace)?.len() as u64, Duration::ZERO),
                    Kind::Count => (count_text(state.count).len() as u64, Duration::ZERO),
                };
                let direction = file.direction;
                let modified = state.last_time.unwrap_or(self.started);
                namespace.file_attr(node, direction, size, modified, attr_ttl, FOREVER)
            }
            Node::Start(id, number) => {
                let namespace = self.namespace(id)?;
                let (log, state) = (&namespace.log, namespace.log.state());
                let (start, _) = lock(&self.starts).get(number)?;
                let base = start.offset(View::Text, log)?;
                let size = base.map_or(0, |base| state.text_end.saturating_sub(base));
                let modified = state.last_time.unwrap_or(self.started);
                let out = Direction::Out;
                namespace.file_attr(node, out, size, modified, Duration::ZERO, FOREVER)
            }
            Node::Record(id, n) => {
                let namespace = self.namespace(id)?;
                if n >= namespace.log.state().count {
                    return Err(Errno::ESTALE); // It was there when it was looked up.
                }
                let (size, modified) = namespace.record_size_and_time(n)?;
                namespace.file_attr(node, Direction::Out, size, modified, FOREVER, FOREVER)
            }
            Node::Next(id, low) => {
                let namespace = self.namespace(id)?;
                let state = namespace.log.state();
                let n = tree::number_of_next(low, state.count).ok_or(Errno::ESTALE)?;
                // A name that can be opened and waited on, and has no size yet; or one that was such.
                let (size, modified) = match n < state.count {
                    true => namespace.record_size_and_time(n)?,
                    false => (0, state.last_time.unwrap_or(self.started)),
                };
                let unkept = Duration::ZERO;
                namespace.file_attr(node, Direction::Out, size, modified, unkept, unkept)
            }
        }
    }

    fn root_links(&self) -> u32 {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let unopened = self.storage.failed().len();
        3 + (namespaces.len() + unopened) as u32
    }
}

impl Namespace {
    fn record_size_and_time(&self, n: u64) -> Result<(u64, SystemTime), Errno> {
        let entry = self.log.entry(RecordNo(n))?;
        Ok((entry.size, entry.time.unwrap_or(SystemTime::UNIX_EPOCH)))
    }

    /// The attributes of one of its files. None is believed for longer than the rights in it.
    fn file_attr(
        &self,
        node: Node,
        direction: Direction,
        size: u64,
        modified: SystemTime,
        attr_ttl: Duration,
        entry_ttl: Duration,
    ) -> Result<Attr, Errno> {
        let Given { rights, since } = match attr_ttl {
            Duration::ZERO => self.rights.now(),
            _ => self.rights.lease(),
        };
        Ok(Attr {
            ino: node.ino()?,
            node_type: NodeType::File,
            mode: rights.file_mode(direction),
            uid: rights.owner,
            gid: rights.group,
            size,
            blocks: size.div_ceil(BLOCK_BYTES),
            links: 1,
            modified,
            changed: since.map_or(modified, |since| since.max(modified)),
            attr_ttl: attr_ttl.min(LEASE),
            entry_ttl,
        })
    }
}

pub(super) fn directory_attr(
    node: Node,
    Given { rights, since }: Given,
    links: u32,
    modified: SystemTime,
    attr_ttl: Duration,
) -> Result<Attr, Errno> {
    Ok(Attr {
        ino: node.ino()?,
        node_type: NodeType::Directory,
        mode: rights.mode,
        uid: rights.owner,
        gid: rights.group,
        size: 0,
        blocks: 0,
        links,
        modified,
        changed: since.map_or(modified, |since| since.max(modified)),
        attr_ttl,
        entry_ttl: FOREVER,
    })
}
