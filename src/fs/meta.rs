//! What is asked about files, and what would change them: lookup, attributes, directories, and the refusals.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::errno::Errno;
use super::handle::{Output, lock};
use super::offsets::Size;
use super::rights::{Given, LEASE, Rights};
use super::start::Start;
use super::tree::{self, Direction, File, Kind, Node};
use super::view::View;
use super::{AttrReply, Caller, Fs, Namespace, PoisonError, Transport};
use crate::log::{self, RecordNo};

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
    /// The size is 0, and that is not the end: it is not known, as in `/proc`, or a read there waits.
    pub endless: bool,
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

impl<T: Transport> Fs<T> {
    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` when `parent` is a file; `ENAMETOOLONG` for a name longer than any can be.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
        if name.len() > log::MAX_NAMESPACE_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let node = match Node::from_ino(parent)? {
            Node::Root if name == tree::ABOUT => Node::About,
            Node::Root => Node::Namespace(self.namespace_named(name)?.id()),
            Node::About => {
                let file = tree::ABOUT_FILES.iter().find(|(n, _)| *n == name);
                Node::AboutFile(file.ok_or(Errno::ENOENT)?.1)
            }
            Node::Namespace(id) => match tree::file_named(name) {
                Some(file) => Node::File(id, file),
                None => Node::Record(id, tree::parse_record(name).ok_or(Errno::ENOENT)?),
            },
            Node::File(id, directory) if directory.kind.is_directory() => {
                return self.look_up_start(id, directory, name);
            }
            Node::File(..) | Node::Record(..) | Node::Start(..) | Node::AboutFile(_) => {
                return Err(Errno::ENOTDIR);
            }
        };
        let mut attr = match self.attr(node) {
            Err(Errno::ESTALE) => return Err(Errno::ENOENT),
            other => other?,
        };
        if let Node::File(id, file) = node
            && file.direction == Direction::In
            // Whoever writes gigabytes holds up nobody else, and the descriptors of one open are told from
            // those of another.
            && (self.settings.sync_always || file.kind == Kind::AppendFile)
        {
            attr.ino = tree::ino_of_lookup(id, file, self.lookups.fetch_add(1, Ordering::Relaxed))?;
            attr.entry_ttl = Duration::ZERO;
        }
        Ok(attr)
    }

    fn look_up_start(&self, id: u32, directory: &File, name: &str) -> Result<Attr, Errno> {
        let namespace = self.namespace(id)?;
        let (start, lasting) = Start::parse(directory.kind, name, &namespace.log)?;
        let path = lasting.then(|| format!("{}/{name}", directory.name));
        let number = lock(&self.starts).look_up(id, start, path);
        let mut attr = self.attr(Node::Start(id, number))?;
        if !lasting {
            attr.entry_ttl = Duration::ZERO;
        }
        Ok(attr)
    }

    /// The transport has forgotten so many lookups of a node.
    pub fn forget(&self, ino: u64, lookups: u64) {
        if let Ok(Node::Start(_, number)) = Node::from_ino(ino) {
            lock(&self.starts).forget(number, lookups);
        }
    }

    /// A node's attributes. With the handle of a reader this is how the kernel asks where the end is, on
    /// behalf of `lseek(SEEK_END)`: from then on that handle ends there.
    ///
    /// # Errors
    /// `ESTALE` for a node that is gone; `EINVAL` for who asks for an end that is not known, as in `/proc`.
    pub fn getattr(&self, ino: u64, fh: Option<u64>) -> Result<Attr, Errno> {
        let handle = fh.and_then(|fh| self.handles.get(fh));
        if let Some(handle) = &handle
            && handle.ask_end()
            && let Some(path) = handle.nudge_path()
        {
            handle.namespace.end_askers.add(path);
        }
        if let Some(handle) = &handle
            && let Output::Lines(lines) = &handle.output
            && !matches!(lines_size(&handle.namespace, lines.name), Size::Exact(_))
        {
            return Err(Errno::EINVAL);
        }
        let attr = self.attr(Node::from_ino(ino)?)?;
        Ok(Attr {
            ino,
            // Who asks for the end gets it there, whatever comes later.
            endless: attr.endless && handle.is_none(),
            ..attr
        })
    }

    /// Where data (`SEEK_DATA`) or a hole (`SEEK_HOLE`) is next, from `offset` on: a file is data up to its
    /// end, and the rest is a hole. Not a question for the end: `grep` asks it in the middle of a long file
    /// and reads on.
    ///
    /// # Errors
    /// `ENXIO` from the end on; `EINVAL` for another `whence`, and where the end is not known; `ESTALE`.
    pub fn seek_data_or_hole(&self, ino: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let attr = self.attr(Node::from_ino(ino)?)?;
        let size = attr.size as i64;
        match whence {
            _ if attr.endless => Err(Errno::EINVAL),
            libc::SEEK_DATA | libc::SEEK_HOLE if !(0..size).contains(&offset) => Err(Errno::ENXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn attr(&self, node: Node) -> Result<Attr, Errno> {
        match node {
            Node::Root => {
                let (given, links) = (self.rights.now(), self.root_links());
                directory_attr(node, given, links, *lock(&self.names_changed), SHORT)
            }
            Node::About | Node::AboutFile(_) => self.about_attr(node),
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
                let mut endless = file.kind.waits();
                let (size, attr_ttl) = match file.kind {
                    Kind::Append | Kind::AppendLines | Kind::AppendFrames | Kind::AppendFile => {
                        (0, FOREVER)
                    }
                    Kind::Follow | Kind::Log => (View::Text.end(log, &state), Duration::ZERO),
                    Kind::Frames | Kind::FollowFrames => {
                        (View::Frames.end(log, &state), Duration::ZERO)
                    }
                    Kind::JsonLog | Kind::JsonFollow => match lines_size(&namespace, file.name) {
                        Size::Exact(bytes) | Size::AtLeast(bytes) => (bytes, Duration::ZERO),
                        Size::Unknown => {
                            endless = true;
                            (0, Duration::ZERO)
                        }
                    },
                    Kind::From | Kind::Since => (0, SHORT),
                    Kind::Stats => (self.stats(&namespace)?.len() as u64, Duration::ZERO),
                    Kind::Count => (count_text(state.count).len() as u64, Duration::ZERO),
                };
                let direction = file.direction;
                let modified = state.last_time.unwrap_or(self.started);
                Ok(Attr {
                    endless: endless && size == 0,
                    ..namespace.file_attr(node, direction, size, modified, attr_ttl, FOREVER)?
                })
            }
            Node::Start(id, number) => {
                let namespace = self.namespace(id)?;
                let (log, state) = (&namespace.log, namespace.log.state());
                let (start, _) = lock(&self.starts).get(number)?;
                let base = start.offset(View::Text, log)?;
                let size = base.map_or(0, |base| state.text_end.saturating_sub(base));
                let modified = state.last_time.unwrap_or(self.started);
                let out = Direction::Out;
                Ok(Attr {
                    endless: size == 0,
                    ..namespace.file_attr(node, out, size, modified, Duration::ZERO, FOREVER)?
                })
            }
            Node::Record(id, n) => {
                let namespace = self.namespace(id)?;
                let direction = Direction::Out;
                let state = namespace.log.state();
                if n < state.count {
                    let entry = namespace.log.entry(RecordNo(n))?;
                    let modified = entry.time.unwrap_or(SystemTime::UNIX_EPOCH);
                    namespace.file_attr(node, direction, entry.size, modified, FOREVER, FOREVER)
                } else if n == state.count {
                    // The next record: a name that can be opened and waited on, and has no size yet.
                    let modified = state.last_time.unwrap_or(self.started);
                    let unkept = Duration::ZERO;
                    Ok(Attr {
                        endless: true,
                        ..namespace.file_attr(node, direction, 0, modified, unkept, unkept)?
                    })
                } else {
                    Err(Errno::ENOENT)
                }
            }
        }
    }

    fn root_links(&self) -> u32 {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        3 + namespaces.len() as u32
    }

    /// Changes attributes, as far as the tree allows: rights of the root and of namespaces, and an append file
    /// may be "truncated" to nothing, which changes nothing, so that `>` and `>>` mean the same there. A change
    /// of rights is answered when nobody believes the old ones any more.
    ///
    /// The answer is `EPERM` for everything else, for everybody.
    pub fn setattr(&self, caller: Caller, ino: u64, change: SetAttr, reply: T::Attr) {
        let node = match Node::from_ino(ino) {
            Ok(node) => node,
            Err(errno) => return reply.error(errno),
        };
        let is_input = matches!(node, Node::File(_, f) if f.direction == Direction::In);
        let is_nudge = caller.thread == self.nudging_thread.load(Ordering::Relaxed);
        let rights = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        let changes_nothing = match change {
            SetAttr { size: Some(0), .. } => is_input && !self.settings.read_only,
            SetAttr { size: Some(_), .. } => false,
            SetAttr { times: true, .. } => is_nudge,
            _ => !rights,
        };
        if changes_nothing {
            match self.attr(node) {
                Ok(attr) => reply.attr(&Attr { ino, ..attr }),
                Err(errno) => reply.error(errno),
            }
        } else if rights && change.size.is_none() && !change.times && !self.settings.read_only {
            self.ask_for_rights(node, change, reply);
        } else {
            self.refuse_size(change);
            reply.error(self.refusal());
        }
    }

    /// Why nothing in the tree is changed.
    pub fn refusal(&self) -> Errno {
        match self.settings.read_only {
            true => Errno::EROFS,
            false => Errno::EPERM,
        }
    }

    /// Creates a namespace that belongs to the caller, with these permission bits.
    ///
    /// # Errors
    /// `EPERM` outside of the root, `EINVAL` for a name that is none and `ENAMETOOLONG` for a longer one,
    /// `EEXIST`, and those of the disk.
    pub fn mkdir(&self, caller: Caller, parent: u64, name: &str, mode: u16) -> Result<Attr, Errno> {
        if Node::from_ino(parent)? != Node::Root {
            return Err(self.refusal());
        }
        if name.len() > log::MAX_NAMESPACE_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = log::Namespace::new(name)?;
        let namespace = self.create_namespace(caller, &name, mode)?;
        let id = namespace.id();
        let mut namespaces = self
            .namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(id, Arc::new(namespace));
        drop(namespaces);
        *lock(&self.names_changed) = SystemTime::now();
        self.attr(Node::Namespace(id))
    }

    /// Removes a namespace without records. Whoever reads from it gets end of file.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it holds records, or one is being stored; `ENOENT`; `EPERM` or `ENOTDIR` below the root.
    pub fn rmdir(&self, parent: u64, name: &str) -> Result<(), Errno> {
        match Node::from_ino(parent)? {
            Node::Root => {}
            Node::Namespace(_) if tree::file_named(name).is_some_and(|f| f.kind.is_directory()) => {
                return Err(self.refusal());
            }
            Node::Namespace(_) => return Err(Errno::ENOTDIR),
            Node::About
            | Node::AboutFile(_)
            | Node::File(..)
            | Node::Record(..)
            | Node::Start(..) => return Err(self.refusal()),
        }
        if name == tree::ABOUT {
            return Err(self.refusal());
        }
        let namespace = self.namespace_named(name)?;
        let turn = namespace.turn().ok_or(Errno::ENOTEMPTY)?;
        self.remove_namespace(namespace.log.namespace())?;
        drop(turn);
        self.namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&namespace.id());
        *lock(&self.names_changed) = SystemTime::now();
        self.grew(&namespace);
        Ok(())
    }

    /// The space of the disk that holds the logs.
    ///
    /// # Errors
    /// Those of `statvfs(3)`.
    pub fn statfs(&self) -> Result<DiskSpace, Errno> {
        let disk =
            nix::sys::statvfs::statvfs(self.storage.logs_dir()).map_err(|e| Errno(e as i32))?;
        Ok(DiskSpace {
            block_bytes: disk.fragment_size() as u32,
            blocks: disk.blocks(),
            blocks_free: disk.blocks_free(),
            blocks_available: disk.blocks_available(),
            files: disk.files(),
            files_free: disk.files_free(),
            name_bytes: log::MAX_NAMESPACE_BYTES as u32,
        })
    }
}

impl Namespace {
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
            endless: false,
            blocks: size.div_ceil(BLOCK_BYTES),
            links: 1,
            modified,
            changed: since.map_or(modified, |since| since.max(modified)),
            attr_ttl: attr_ttl.min(LEASE),
            entry_ttl,
        })
    }
}

fn directory_attr(
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
        endless: false,
        blocks: 0,
        links,
        modified,
        changed: since.map_or(modified, |since| since.max(modified)),
        attr_ttl,
        entry_ttl: FOREVER,
    })
}

/// The space of a disk, as in `statvfs(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Unit of the block counts, in bytes.
    pub block_bytes: u32,
    /// All blocks.
    pub blocks: u64,
    /// Those that are free.
    pub blocks_free: u64,
    /// Those that are free to everybody.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Those that are free.
    pub files_free: u64,
    /// Longest name, in bytes.
    pub name_bytes: u32,
}

/// How long the lines are that a file of a namespace shows.
fn lines_size(namespace: &Namespace, file: &str) -> Size {
    let followed = namespace.end_askers.has(file);
    namespace.offsets.size(&namespace.log, followed)
}

pub(super) fn count_text(count: u64) -> String {
    format!("{count}\n")
}
