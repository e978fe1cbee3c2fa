//! What is asked about files, and what would change them: lookup, attributes, directories, and the refusals.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::errno::Errno;
use super::handle::{OpenFile, lock};
use super::tree::{self, Direction, FILES, Kind, Node};
use super::{Caller, Fs, Handle, Namespace, PoisonError, Transport};
use crate::log::{self, RecordNo};

/// How long the kernel may believe what never changes: a committed record, the name of a fixed file.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// How long it may believe what changes rarely and harmlessly: a directory's times.
const SHORT: Duration = Duration::from_secs(1);
/// Unit of `st_blocks`, in bytes, as in `stat(2)`.
const BLOCK_BYTES: u64 = 512;
const DIRECTORY_MODE: u16 = 0o755;
/// The places of `.` and `..` in a listing, before every other name's.
const DOTS: u64 = 2;

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
}

/// One name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: u64,
    /// Where the listing goes on after this name.
    pub next_offset: u64,
    /// Directory or file.
    pub node_type: NodeType,
    /// The name.
    pub name: &'a str,
}

impl<T: Transport> Fs<T> {
    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` when `parent` is a file.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
        let node = match Node::from_ino(parent)? {
            Node::Root => Node::Namespace(self.namespace_named(name)?.id()),
            Node::Namespace(id) => match tree::file_named(name) {
                Some(file) => Node::File(id, file),
                None => Node::Record(id, tree::parse_record(name).ok_or(Errno::ENOENT)?),
            },
            Node::File(..) | Node::Record(..) => return Err(Errno::ENOTDIR),
        };
        match self.attr(node) {
            Err(Errno::ESTALE) => Err(Errno::ENOENT),
            other => other,
        }
    }

    /// A node's attributes. With the handle of a reader this is how the kernel asks where the end is, on
    /// behalf of `lseek(SEEK_END)`: from then on that handle ends there.
    ///
    /// # Errors
    /// `ESTALE` for a node that is gone.
    pub fn getattr(&self, ino: u64, fh: Option<u64>) -> Result<Attr, Errno> {
        if let Some(handle) = fh.and_then(|fh| self.handles.get(fh))
            && handle.ask_end()
            && let OpenFile::Text { kind, .. } = handle.file
            && let Some(askers) = handle.namespace.end_askers(kind)
        {
            askers.fetch_add(1, Ordering::Relaxed);
        }
        self.attr(Node::from_ino(ino)?)
    }

    pub(super) fn attr(&self, node: Node) -> Result<Attr, Errno> {
        match node {
            Node::Root => self.directory_attr(node, self.root_links(), self.started),
            Node::Namespace(id) => {
                let state = self.namespace(id)?.log.state();
                self.directory_attr(node, 2, state.last_time.unwrap_or(self.started))
            }
            Node::File(id, file) => {
                let state = self.namespace(id)?.log.state();
                let (size, attr_ttl) = match file.kind {
                    Kind::Append | Kind::AppendLines => (0, FOREVER),
                    Kind::Follow | Kind::Log => (state.text_end, Duration::ZERO),
                    Kind::Count => (count_text(state.count).len() as u64, Duration::ZERO),
                };
                let mode = DIRECTORY_MODE & file.direction.mask();
                let modified = state.last_time.unwrap_or(self.started);
                self.file_attr(node, mode, size, modified, attr_ttl, FOREVER)
            }
            Node::Record(id, n) => {
                let namespace = self.namespace(id)?;
                let mode = DIRECTORY_MODE & Direction::Out.mask();
                let state = namespace.log.state();
                if n < state.count {
                    let entry = namespace.log.entry(RecordNo(n))?;
                    let modified = entry.time.unwrap_or(SystemTime::UNIX_EPOCH);
                    self.file_attr(node, mode, entry.size, modified, FOREVER, FOREVER)
                } else if n == state.count {
                    // The next record: a name that can be opened and waited on, and has no size yet.
                    let modified = state.last_time.unwrap_or(self.started);
                    self.file_attr(node, mode, 0, modified, Duration::ZERO, Duration::ZERO)
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
        2 + namespaces.len() as u32
    }

    fn directory_attr(&self, node: Node, links: u32, modified: SystemTime) -> Result<Attr, Errno> {
        Ok(Attr {
            ino: node.ino()?,
            node_type: NodeType::Directory,
            mode: DIRECTORY_MODE,
            uid: self.settings.uid,
            gid: self.settings.gid,
            size: 0,
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
            self.attr(node)
        } else {
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
    /// `ENOTEMPTY` when it holds records; `ENOENT`; `EPERM` or `ENOTDIR` below the root.
    pub fn rmdir(&self, parent: u64, name: &str) -> Result<(), Errno> {
        match Node::from_ino(parent)? {
            Node::Root => {}
            Node::Namespace(_) => return Err(Errno::ENOTDIR),
            Node::File(..) | Node::Record(..) => return Err(Errno::EPERM),
        }
        let namespace = self.namespace_named(name)?;
        self.storage.remove(name)?;
        self.namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&namespace.id());
        self.grew(&namespace);
        Ok(())
    }

    /// Opens a directory for listing.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub fn opendir(&self, ino: u64) -> Result<u64, Errno> {
        let count = self.records_to_list(Node::from_ino(ino)?)?;
        let fh = self.directories.last.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.directories.records).insert(fh, count);
        Ok(fh)
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        lock(&self.directories.records).remove(&fh);
    }

    fn records_to_list(&self, node: Node) -> Result<u64, Errno> {
        match node {
            Node::Root => Ok(0),
            Node::Namespace(id) => Ok(self.namespace(id)?.log.state().count),
            Node::File(..) | Node::Record(..) => Err(Errno::ENOTDIR),
        }
    }

    /// Lists a directory from `offset` on (0 at first, then the last name's `next_offset`), until `list` says
    /// that it is full. The records are those that were there when the listing began: it ends, however fast
    /// the log grows. Memory is constant.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub fn readdir(
        &self,
        ino: u64,
        fh: u64,
        offset: u64,
        mut list: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let node = Node::from_ino(ino)?;
        let listed = match offset {
            // At the start, also after rewinddir(3): what is there now.
            0 => {
                let count = self.records_to_list(node)?;
                lock(&self.directories.records).insert(fh, count);
                count
            }
            _ => lock(&self.directories.records)
                .get(&fh)
                .copied()
                .unwrap_or(0),
        };
        let mut at = offset;
        let mut add = |node: Node, node_type: NodeType, name: &str| -> Result<bool, Errno> {
            at += 1;
            Ok(list(DirEntry {
                ino: node.ino()?,
                next_offset: at,
                node_type,
                name,
            }))
        };
        for (position, name) in [".", ".."].into_iter().enumerate() {
            let node = if name == "." { node } else { Node::Root };
            if offset <= position as u64 && add(node, NodeType::Directory, name)? {
                return Ok(());
            }
        }
        let first = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        match node {
            Node::Root => {
                for (id, name) in self.namespaces_from(first as u64) {
                    // Its own id is its place: it does not move when another one comes or goes.
                    let full = list(DirEntry {
                        ino: Node::Namespace(id).ino()?,
                        next_offset: u64::from(id) + DOTS + 1,
                        node_type: NodeType::Directory,
                        name: name.as_str(),
                    });
                    if full {
                        return Ok(());
                    }
                }
            }
            Node::Namespace(id) => {
                for file in FILES.iter().skip(first) {
                    if add(Node::File(id, file), NodeType::File, file.name)? {
                        return Ok(());
                    }
                }
                let mut digits = [0; DECIMAL_DIGITS];
                for n in first.saturating_sub(FILES.len()) as u64..listed {
                    if add(Node::Record(id, n), NodeType::File, decimal(n, &mut digits))? {
                        return Ok(());
                    }
                }
            }
            Node::File(..) | Node::Record(..) => return Err(Errno::ENOTDIR),
        }
        Ok(())
    }

    /// The namespaces whose id is `first` or above, in the order of their ids.
    fn namespaces_from(&self, first: u64) -> Vec<(u32, log::Namespace)> {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut listed: Vec<_> = namespaces
            .iter()
            .filter(|(id, _)| u64::from(**id) >= first)
            .map(|(id, namespace)| (*id, namespace.log.namespace().clone()))
            .collect();
        drop(namespaces);
        listed.sort_unstable_by_key(|(id, _)| *id);
        listed
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

    /// Opens a file. Returns the handle's number, and what the transport has to know of it.
    ///
    /// # Errors
    /// `EACCES` in the wrong direction, for root too; `EISDIR`; `ENOENT` for a record that is not next.
    pub fn open(&self, caller: Caller, ino: u64, access: Access) -> Result<Opened, Errno> {
        let (id, file, direction) = match Node::from_ino(ino)? {
            Node::Root | Node::Namespace(_) => return Err(Errno::EISDIR),
            Node::File(id, file) => (id, self.open_file(caller, file.kind), file.direction),
            Node::Record(id, n) => (id, OpenFile::record(n), Direction::Out),
        };
        match (direction, access) {
            (Direction::In, Access::Write) | (Direction::Out, Access::Read) => {}
            (Direction::In | Direction::Out, _) => return Err(Errno::EACCES),
        }
        let namespace = self.namespace(id)?;
        let mut cached = false;
        if let OpenFile::Record { n, .. } = file {
            let count = namespace.log.state().count;
            if n > count {
                return Err(Errno::ENOENT);
            }
            cached = n < count;
        }
        let needs_flush = matches!(file, OpenFile::AppendLines { .. });
        let fh = self.handles.insert(Handle::new(namespace, file));
        Ok(Opened {
            fh,
            cached,
            stream: direction == Direction::In,
            needs_flush,
        })
    }

    fn open_file(&self, caller: Caller, kind: Kind) -> OpenFile {
        match kind {
            Kind::Append => OpenFile::Append,
            Kind::AppendLines => OpenFile::lines(caller.thread),
            Kind::Follow | Kind::Log => OpenFile::Text {
                kind,
                position: Default::default(),
            },
            Kind::Count => OpenFile::Count,
        }
    }

    /// Closes a file for good. A line that still waits becomes a record.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.handles.remove(fh) else {
            return;
        };
        lock(&self.pollers).remove(&fh);
        if let OpenFile::Text { kind, .. } = handle.file
            && handle.has_asked_end()
            && let Some(askers) = handle.namespace.end_askers(kind)
        {
            askers.fetch_sub(1, Ordering::Relaxed);
        }
        if let Err(errno) = self.finish_lines(&handle) {
            let namespace = handle.namespace.log.namespace();
            ::log::error!(
                "namespace '{namespace}': the last line of a closed file is lost: {errno}"
            );
        }
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

/// Which way a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`
    Read,
    /// `O_WRONLY`
    Write,
    /// `O_RDWR`
    ReadWrite,
}

/// An opened file, and what its transport should know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub fh: u64,
    /// Its bytes are all there and never change: they may be cached.
    pub cached: bool,
    /// Offsets mean nothing.
    pub stream: bool,
    /// It wants to know of each `close(2)`, not only of the last.
    pub needs_flush: bool,
}

pub(super) fn count_text(count: u64) -> String {
    format!("{count}\n")
}

/// Enough for any `u64`.
const DECIMAL_DIGITS: usize = 20;

/// Writes a number without allocating: a listing of a million records makes a million names.
fn decimal(mut n: u64, digits: &mut [u8; DECIMAL_DIGITS]) -> &str {
    let mut start = DECIMAL_DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return std::str::from_utf8(&digits[start..]).unwrap_or_default();
        }
    }
}
