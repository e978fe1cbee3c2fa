//! What is asked about files, and what would change them: lookup, the end, directories, and the refusals.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic;
use std::time::{Duration, SystemTime};

use super::attr::Attr;
use super::errno::Errno;
use super::handle::{Output, lock};
use super::offsets::Size;
use super::start::Start;
use super::tree::{self, Direction, File, Kind, Node};
use super::{AttrReply, Caller, Fs, PoisonError, Transport};
use crate::log;

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
    /// `ENOENT`; `ENOTDIR` when `parent` is a file; `ENAMETOOLONG` for a name longer than any can be; `EBUSY` in a namespace
    /// whose log is still being checked, `EIO` in one whose log cannot be opened.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
        if name.len() > log::MAX_NAMESPACE_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let node = match Node::from_ino(parent)? {
            Node::Root if name == tree::ABOUT => Node::About,
            Node::Root => match self.storage.log(name) {
                Ok(log) => Node::Namespace(self.namespace(log.id())?.id()),
                Err(log::Error::BeingChecked { .. } | log::Error::Unopened { .. }) => {
                    self.unopened_node(name)?
                }
                Err(e) => return Err(e.into()),
            },
            Node::Unopened(number) => self.look_up_unopened(number, name)?,
            Node::About => {
                let file = tree::ABOUT_FILES.iter().find(|(n, _)| *n == name);
                Node::AboutFile(file.ok_or(Errno::ENOENT)?.1)
            }
            Node::Namespace(id) => match tree::file_named(name) {
                Some(file) => Node::File(id, file),
                None => self.record_named(id, name)?,
            },
            Node::File(id, directory) if directory.kind.is_directory() => {
                return self.look_up_start(id, directory, name);
            }
            Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..)
            | Node::Error(_)
            | Node::AboutFile(_) => {
                return Err(Errno::ENOTDIR);
            }
        };
        let attr = match self.attr(node) {
            // The kernel asks again: its log has just been opened.
            Err(Errno::ESTALE) if !matches!(node, Node::Unopened(_)) => return Err(Errno::ENOENT),
            other => other?,
        };
        match node {
            // Whoever writes gigabytes holds up nobody else, and the descriptors of one open are told from
            // those of another.
            Node::File(_, file)
                if file.direction == Direction::In
                    && (self.settings.sync_always || file.kind == Kind::AppendFile) =>
            {
                self.with_its_own_ino(attr)
            }
            _ => Ok(attr),
        }
    }

    /// What a lookup of a fixed file gets, with an inode that no other lookup gets.
    pub(super) fn with_its_own_ino(&self, attr: Attr) -> Result<Attr, Errno> {
        let Node::File(id, file) = Node::from_ino(attr.ino)? else {
            return Ok(attr);
        };
        let running = self.lookups.fetch_add(1, atomic::Ordering::Relaxed);
        Ok(Attr {
            ino: tree::ino_of_lookup(id, file, running)?,
            entry_ttl: Duration::ZERO,
            ..attr
        })
    }

    /// A record, or the one that comes next.
    fn record_named(&self, id: u32, name: &str) -> Result<Node, Errno> {
        let n = tree::parse_record(name).ok_or(Errno::ENOENT)?;
        let namespace = self.namespace(id).map_err(|_| Errno::ENOENT)?;
        match n.cmp(&namespace.log.state().count) {
            Ordering::Less => Ok(Node::Record(id, n)),
            Ordering::Equal => Ok(Node::Next(id, n as u32)),
            Ordering::Greater => Err(Errno::ENOENT),
        }
    }

    /// Whether a file ends at its size: else that is not known, as in `/proc`, or a read there waits.
    fn ends_where_it_says(&self, node: Node) -> Result<bool, Errno> {
        Ok(match node {
            Node::File(id, file) => {
                let is_json = matches!(file.kind, Kind::JsonLog | Kind::JsonFollow);
                let is_unknown = || {
                    let size = self.namespace(id)?.lines_size(file.name)?;
                    Ok::<_, Errno>(matches!(size, Size::Unknown))
                };
                !(file.kind.waits() || is_json && is_unknown()?)
            }
            Node::Start(..) => false,
            Node::Next(id, low) => {
                let log = &self.namespace(id)?.log;
                let count = log.state().count;
                tree::number_of_next(low, count).is_some_and(|n| n < count)
            }
            _ => true,
        })
    }

    fn look_up_start(&self, id: u32, directory: &File, name: &str) -> Result<Attr, Errno> {
        let namespace = self.namespace(id)?;
        let (start, lasting) = Start::parse(directory.kind, name, &namespace.log)?;
        let path = lasting.then(|| format!("{}/{name}", directory.name));
        let number = lock(&self.starts).look_up(id, start, path);
        let attr = self.attr(Node::Start(id, number));
        let mut attr = attr.inspect_err(|_| lock(&self.starts).forget(number, 1))?;
        if !lasting {
            attr.entry_ttl = Duration::ZERO;
        }
        Ok(attr)
    }

    /// The transport has forgotten so many lookups of a node.
    pub fn forget(&self, ino: u64, lookups: u64) {
        match Node::from_ino(ino) {
            Ok(Node::Start(_, number)) => lock(&self.starts).forget(number, lookups),
            Ok(node) => self.note_forget(node, lookups),
            Err(_) => {}
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
            && !matches!(handle.namespace.lines_size(lines.name)?, Size::Exact(_))
        {
            return Err(Errno::EINVAL);
        }
        let attr = self.attr(Node::from_ino(ino)?)?;
        Ok(Attr { ino, ..attr })
    }

    /// Where data (`SEEK_DATA`) or a hole (`SEEK_HOLE`) is next, from `offset` on: a file is data up to its
    /// end, and the rest is a hole. Not a question for the end: `grep` asks it in the middle of a long file
    /// and reads on.
    ///
    /// # Errors
    /// `ENXIO` from the end on; `EINVAL` for another `whence`, and where the end is not known; `ESTALE`.
    pub fn seek_data_or_hole(&self, ino: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let node = Node::from_ino(ino)?;
        let size = self.attr(node)?.size as i64;
        match whence {
            _ if size == 0 && !self.ends_where_it_says(node)? => Err(Errno::EINVAL),
            libc::SEEK_DATA | libc::SEEK_HOLE if !(0..size).contains(&offset) => Err(Errno::ENXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
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
        let rights = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        let changes_nothing = match change {
            SetAttr { size: Some(0), .. } => is_input && !self.settings.read_only,
            SetAttr { size: Some(_), .. } => false,
            SetAttr { times: true, .. } => self.is_nudge(caller),
            _ => !rights,
        };
        if changes_nothing {
            let answer = move |attr: Result<Attr, Errno>| match attr {
                Ok(attr) => reply.attr(&Attr { ino, ..attr }),
                Err(errno) => reply.error(errno),
            };
            match self.at_once(|| self.attr(node)) {
                Err(Errno::WOULD_WAIT) => {
                    self.apart(node.namespace(), move |fs| answer(fs.attr(node)))
                }
                attr => answer(attr),
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
        Ok(self.note_lookup(caller, self.attr(Node::Namespace(id))?))
    }

    /// Removes a namespace without records. Whoever reads from it gets end of file.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it holds records, or one is being stored, or nobody can tell as its log cannot be opened;
    /// `ENOENT`; `EPERM` or `ENOTDIR` below the root.
    pub fn rmdir(&self, parent: u64, name: &str) -> Result<(), Errno> {
        match Node::from_ino(parent)? {
            Node::Root => {}
            Node::Namespace(_) if tree::file_named(name).is_some_and(|f| f.kind.is_directory()) => {
                return Err(self.refusal());
            }
            Node::Namespace(_) => return Err(Errno::ENOTDIR),
            Node::Unopened(_)
            | Node::Error(_)
            | Node::About
            | Node::AboutFile(_)
            | Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..) => return Err(self.refusal()),
        }
        if name == tree::ABOUT {
            return Err(self.refusal());
        }
        let namespace = match self.storage.log(name) {
            Err(log::Error::Unopened { .. }) => return Err(Errno::ENOTEMPTY),
            log => self.namespace(log?.id())?,
        };
        if namespace.stores_long() {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove_namespace(namespace.log.namespace())?;
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
