//! Lookups: names become inodes, and the kernel forgets them.

use std::cmp::Ordering;
use std::sync::atomic;
use std::time::Duration;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::Start;
use crate::fs::locks::{lock, read};
use crate::fs::namespace::WatchedName;
use crate::fs::transport::{Caller, Transport};
use crate::fs::tree::{
    ABOUT, ABOUT_FILES, Attr, Direction, File, Node, Takes, file_named, ino_of_lookup,
    number_of_next, parse_record,
};
use immuta::{Error, MAX_NAMESPACE_BYTES};

impl<T: Transport> Fs<T> {
    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` when `parent` is a file; `ENAMETOOLONG` for a name longer than any can be; `EBUSY` in a namespace
    /// whose log is still being checked, `EIO` in one whose log cannot be opened.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Errno> {
        if name.len() > MAX_NAMESPACE_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let node = match Node::from_ino(parent)? {
            Node::Root if name == ABOUT => Node::About,
            Node::Root => match self.storage.log(name) {
                Ok(log) => Node::Namespace(self.namespace(log.id())?.id()),
                Err(Error::BeingChecked { .. } | Error::Unopened { .. }) => {
                    self.unopened_node(name)?
                }
                Err(e) => return Err(e.into()),
            },
            Node::Unopened(number) => self.look_up_unopened(number, name)?,
            Node::About => {
                let file = ABOUT_FILES.iter().find(|(n, _)| *n == name);
                Node::AboutFile(file.ok_or(Errno::ENOENT)?.1)
            }
            Node::Namespace(id) => match file_named(name) {
                Some(file) => Node::File(id, file),
                None => self.record_named(id, name)?,
            },
            Node::File(id, directory) if directory.shows.is_directory() => {
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
            Err(errno) if errno == Errno::ESTALE && !matches!(node, Node::Unopened(_)) => {
                return Err(Errno::ENOENT);
            }
            other => other?,
        };
        match node {
            // Its own inode: a program that writes gigabytes holds up no other, and the descriptors of one open are told
            // from those of another.
            Node::File(_, file)
                if file.direction() == Direction::In
                    && (self.settings.sync_always || file.takes == Takes::WholeFiles) =>
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
        let running = self.names.lookups.fetch_add(1, atomic::Ordering::Relaxed);
        Ok(Attr {
            ino: ino_of_lookup(id, file, running)?,
            entry_ttl: Duration::ZERO,
            ..attr
        })
    }

    /// The path of a node from the mount point on, for messages; `None` if what it stands for is gone.
    pub fn path_of(&self, ino: u64) -> Option<String> {
        let node = Node::from_ino(ino).ok()?;
        let directory = match node {
            Node::Root => return Some(".".to_owned()),
            Node::About | Node::AboutFile(_) => return Some(ABOUT.to_owned()),
            Node::Unopened(number) | Node::Error(number) => {
                self.names.unopened.namespace(number)?.to_string()
            }
            Node::Namespace(id)
            | Node::File(id, _)
            | Node::Record(id, _)
            | Node::Next(id, _)
            | Node::Start(id, _) => self.namespace(id).ok()?.log.namespace().to_string(),
        };
        let file = match node {
            Node::File(_, file) => file.name.to_owned(),
            Node::Record(_, n) => n.to_string(),
            Node::Next(id, low) => {
                let count = self.namespace(id).ok()?.log.state().count;
                number_of_next(low, count)?.to_string()
            }
            // What was looked up below `from` or `since` is not known any more.
            _ => return Some(directory),
        };
        Some(format!("{directory}/{file}"))
    }

    /// A record, or the one that comes next.
    fn record_named(&self, id: u32, name: &str) -> Result<Node, Errno> {
        let n = parse_record(name).ok_or(Errno::ENOENT)?;
        let namespace = self.namespace(id).map_err(|_| Errno::ENOENT)?;
        match n.cmp(&namespace.log.state().count) {
            Ordering::Less => Ok(Node::Record(id, n)),
            Ordering::Equal => Ok(Node::Next(id, n as u32)),
            Ordering::Greater => Err(Errno::ENOENT),
        }
    }

    fn look_up_start(&self, id: u32, directory: &File, name: &str) -> Result<Attr, Errno> {
        let namespace = self.namespace(id)?;
        let (start, lasting) = Start::parse(directory.shows, name, &namespace.log)?;
        let path = lasting.then(|| format!("{}/{name}", directory.name));
        let number = lock(&self.names.starts).look_up(id, start, path);
        let attr = self.attr(Node::Start(id, number));
        let mut attr = attr.inspect_err(|_| lock(&self.names.starts).forget(number, 1))?;
        if !lasting {
            attr.entry_ttl = Duration::ZERO;
        }
        Ok(attr)
    }

    /// The transport has forgotten this number of lookups of a node.
    pub fn forget(&self, ino: u64, lookups: u64) {
        match Node::from_ino(ino) {
            Ok(Node::Start(_, number)) => lock(&self.names.starts).forget(number, lookups),
            Ok(node) => self.note_forget(node, lookups),
            Err(_) => {}
        }
    }

    /// Finds a name in a directory, for a thread that may be about to open it.
    ///
    /// # Errors
    /// Those of [`Fs::lookup`].
    pub fn lookup_by(&self, caller: Caller, parent: u64, name: &str) -> Result<Attr, Errno> {
        let found = self.lookup(parent, name)?;
        if self.open.second.wants_its_own(caller.thread, found.ino) {
            self.with_its_own_ino(found)
        } else {
            Ok(self.note_lookup(caller, found))
        }
    }

    /// Notes that the kernel knows a name from now on. Returns what it is to be told of it.
    pub(super) fn note_lookup(&self, caller: Caller, found: Attr) -> Attr {
        let Some((id, name)) = Node::from_ino(found.ino).ok().and_then(WatchedName::of) else {
            return found;
        };
        let is_nudge = self.is_nudge(caller);
        if let Ok(namespace) = self.namespace(id) {
            namespace.watched.looked_up(name, !is_nudge);
        }
        Attr {
            // The next lookup is to be seen: it may be a program's.
            entry_ttl: if is_nudge {
                Duration::ZERO
            } else {
                found.entry_ttl
            },
            ..found
        }
    }

    /// Notes that the kernel has forgotten this number of lookups of a node.
    pub(super) fn note_forget(&self, node: Node, lookups: u64) {
        if let Some((id, name)) = WatchedName::of(node)
            && let Ok(namespace) = self.namespace(id)
        {
            namespace.watched.forgot(name, lookups);
        }
    }

    /// Whether a call is made by a thread that tells inotify watchers of growth.
    pub(super) fn is_nudge(&self, caller: Caller) -> bool {
        read(&self.nudge.threads).contains(&caller.thread)
    }
}
