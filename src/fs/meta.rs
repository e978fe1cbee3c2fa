//! What is asked about files, and what would change them: lookup, attributes, directories, and the refusals.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::errno::Errno;
use super::handle::{Output, lock};
use super::offsets::Size;
use super::start::Start;
use super::tree::{self, Direction, File, Kind, Node};
use super::view::View;
use super::{Caller, Fs, Namespace, PoisonError, Transport};
use crate::log::{self, RecordNo};

/// How long the kernel may believe what never changes: a committed record, the name of a fixed file.
pub(super) const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// How long it may believe what changes rarely and harmlessly: a directory's times.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// Unit of `st_blocks`, in bytes, as in `stat(2)`.
pub(super) const BLOCK_BYTES: u64 = 512;
const DIRECTORY_MODE: u16 = 0o755;

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
    /// Last change.
    pub modified: SystemTime,
    /// How long the attributes may be cached.
    pub attr_ttl: Duration,
    /// How long the name may be cached.
    pub entry_ttl: Duration,
}

/// What a caller wants to change about a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permissions, owner or group.
    pub rights: bool,
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
    /// `ENOENT`; `ENOTDIR` when `parent` is a file.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
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
            Node::Root => self.directory_attr(node, self.root_links(), self.started),
            Node::About | Node::AboutFile(_) => self.about_attr(node),
            Node::Namespace(id) => {
                let state = self.namespace(id)?.log.state();
                self.directory_attr(node, 2, state.last_time.unwrap_or(self.started))
            }
            Node::File(id, file) if file.kind.is_directory() => {
                let state = self.namespace(id)?.log.state();
                self.directory_attr(node, 2, state.last_time.unwrap_or(self.started))
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
                let mode = file.direction.mode(DIRECTORY_MODE);
                let modified = state.last_time.unwrap_or(self.started);
                Ok(Attr {
                    endless: endless && size == 0,
                    ..self.file_attr(node, mode, size, modified, attr_ttl, FOREVER)?
                })
            }
            Node::Start(id, number) => {
                let namespace = self.namespace(id)?;
                let (log, state) = (&namespace.log, namespace.log.state());
                let (start, _) = lock(&self.starts).get(number)?;
                let base = start.offset(View::Text, log)?;
                let size = base.map_or(0, |base| state.text_end.saturating_sub(base));
                let mode = Direction::Out.mode(DIRECTORY_MODE);
                let modified = state.last_time.unwrap_or(self.started);
                Ok(Attr {
                    endless: size == 0,
                    ..self.file_attr(node, mode, size, modified, Duration::ZERO, FOREVER)?
                })
            }
            Node::Record(id, n) => {
                let namespace = self.namespace(id)?;
                let mode = Direction::Out.mode(DIRECTORY_MODE);
                let state = namespace.log.state();
                if n < state.count {
                    let entry = namespace.log.entry(RecordNo(n))?;
                    let modified = entry.time.unwrap_or(SystemTime::UNIX_EPOCH);
                    self.file_attr(node, mode, entry.size, modified, FOREVER, FOREVER)
                } else if n == state.count {
                    // The next record: a name that can be opened and waited on, and has no size yet.
                    let modified = state.last_time.unwrap_or(self.started);
                    Ok(Attr {
                        endless: true,
                        ..self.file_attr(node, mode, 0, modified, Duration::ZERO, Duration::ZERO)?
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

    fn directory_attr(&self, node: Node, links: u32, modified: SystemTime) -> Result<Attr, Errno> {
        Ok(Attr {
            ino: node.ino()?,
            node_type: NodeType::Directory,
            mode: DIRECTORY_MODE,
            uid: self.settings.uid,
            gid: self.settings.gid,
            size: 0,
            endless: false,
            blocks: 0,
            links,
            modified,
            attr_ttl: SHORT,
            entry_ttl: FOREVER,
        })
    }

    fn file_attr(
        &self,
        node: Node,
        mode: u16,
        size: u64,
        modified: SystemTime,
        attr_ttl: Duration,
        entry_ttl: Duration,
    ) -> Result<Attr, Errno> {
        let (ino, node_type) = (node.ino()?, NodeType::File);
        let (uid, gid) = (self.settings.uid, self.settings.gid);
        let blocks = size.div_ceil(BLOCK_BYTES);
        Ok(Attr {
            ino,
            node_type,
            mode,
            uid,
            gid,
            size,
            endless: false,
            blocks,
            links: 1,
            modified,
            attr_ttl,
            entry_ttl,
        })
    }

    /// Changes attributes, as far as the tree allows: an append file may be "truncated" to nothing, which
    /// changes nothing, so that `>` and `>>` mean the same there.
    ///
    /// # Errors
    /// `EPERM` for everything else, for everybody.
    pub fn setattr(&self, caller: Caller, ino: u64, change: SetAttr) -> Result<Attr, Errno> {
        let node = Node::from_ino(ino)?;
        let is_input = matches!(node, Node::File(_, f) if f.direction == Direction::In);
        let is_nudge = caller.thread == self.nudging_thread.load(Ordering::Relaxed);
        let allowed = match change {
            SetAttr { rights: true, .. } => false,
            SetAttr { size: Some(0), .. } => is_input,
            SetAttr { size: Some(_), .. } => false,
            SetAttr { times: true, .. } => is_nudge,
            _ => true,
        };
        if allowed {
            Ok(Attr {
                ino,
                ..self.attr(node)?
            })
        } else {
            self.refuse_size(change);
            Err(Errno::EPERM)
        }
    }

    /// Creates a namespace.
    ///
    /// # Errors
    /// `EPERM` outside of the root, `EINVAL` for a name that is none, `EEXIST`, and those of the disk.
    pub fn mkdir(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
        if Node::from_ino(parent)? != Node::Root {
            return Err(Errno::EPERM);
        }
        let name = log::Namespace::new(name)?;
        let log = self.storage.create(&name)?;
        let id = log.id();
        let mut namespaces = self
            .namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(id, Arc::new(Namespace::new(log)));
        drop(namespaces);
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
                return Err(Errno::EPERM);
            }
            Node::Namespace(_) => return Err(Errno::ENOTDIR),
            Node::About
            | Node::AboutFile(_)
            | Node::File(..)
            | Node::Record(..)
            | Node::Start(..) => return Err(Errno::EPERM),
        }
        if name == tree::ABOUT {
            return Err(Errno::EPERM);
        }
        let namespace = self.namespace_named(name)?;
        let turn = namespace.turn().ok_or(Errno::ENOTEMPTY)?;
        self.storage.remove(name)?;
        drop(turn);
        self.namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&namespace.id());
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
