//! Listing directories: streamed, at constant memory, however many records there are.

use super::unopened::ERROR;
use crate::fs::errno::Errno;
use crate::fs::forms::{DECIMAL_DIGITS, decimal};
use crate::fs::fs::Fs;
use crate::fs::transport::Transport;
use crate::fs::tree::{ABOUT, ABOUT_FILES, FILES, Node, NodeType};
use immuta::Namespace;

/// The places of `.` and `..` in a listing, before every other name's.
const DOTS: u64 = 2;
/// The place of the first namespace that is not open in a listing of the root: behind those of all ids.
const UNOPENED: u64 = 1 << 32;

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
    /// Opens a directory for listing.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub fn opendir(&self, ino: u64) -> Result<u64, Errno> {
        let count = self.records_to_list(Node::from_ino(ino)?)?;
        Ok(self.open.directories.open(count))
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        self.open.directories.close(fh);
    }

    fn records_to_list(&self, node: Node) -> Result<u64, Errno> {
        match node {
            Node::Root | Node::About => Ok(0),
            Node::Unopened(number) => self.list_unopened(number).map(|()| 0),
            Node::Namespace(id) => Ok(self.namespace(id)?.log.state().count),
            Node::File(_, file) if file.shows.is_directory() => Ok(0),
            Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..)
            | Node::Error(_)
            | Node::AboutFile(_) => Err(Errno::ENOTDIR),
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
                self.open.directories.rewind(fh, count);
                count
            }
            _ => self.open.directories.records(fh),
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
        let parent = match node {
            Node::File(id, _) => Node::Namespace(id),
            _ => Node::Root,
        };
        for (position, (name, node)) in [(".", node), ("..", parent)].into_iter().enumerate() {
            if offset <= position as u64 && add(node, NodeType::Directory, name)? {
                return Ok(());
            }
        }
        let first = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        match node {
            Node::Root => {
                // In the place of a namespace with the id 0.
                if first == 0 && add(Node::About, NodeType::Directory, ABOUT)? {
                    return Ok(());
                }
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
                self.list_those_not_open(first as u64, &mut list)?;
            }
            Node::Unopened(number) => {
                if first == 0 && add(Node::Error(number), NodeType::File, ERROR)? {
                    return Ok(());
                }
            }
            Node::Namespace(id) => {
                for file in FILES.iter().skip(first) {
                    let node_type = if file.shows.is_directory() {
                        NodeType::Directory
                    } else {
                        NodeType::File
                    };
                    if add(Node::File(id, file), node_type, file.name)? {
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
            Node::About => {
                for (name, about) in ABOUT_FILES.iter().skip(first) {
                    if add(Node::AboutFile(*about), NodeType::File, name)? {
                        return Ok(());
                    }
                }
            }
            // Any start is there, so none is listed: `cp -r` would wait in the first one.
            Node::File(_, file) if file.shows.is_directory() => {}
            Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..)
            | Node::Error(_)
            | Node::AboutFile(_) => {
                return Err(Errno::ENOTDIR);
            }
        }
        Ok(())
    }

    /// Lists the namespaces that are not open, from the place `first` on. Each has its number in its place.
    fn list_those_not_open(
        &self,
        first: u64,
        list: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        for (number, name) in self.unopened() {
            let place = UNOPENED + u64::from(number);
            if place < first {
                continue;
            }
            let full = list(DirEntry {
                ino: Node::Unopened(number).ino()?,
                next_offset: place + DOTS + 1,
                node_type: NodeType::Directory,
                name: name.as_str(),
            });
            if full {
                break;
            }
        }
        Ok(())
    }

    /// The namespaces whose id is `first` or above, in the order of their ids.
    fn namespaces_from(&self, first: u64) -> Vec<(u32, Namespace)> {
        let mut listed: Vec<_> = (self.names.namespaces.all().iter())
            .filter(|namespace| u64::from(namespace.id()) >= first)
            .map(|namespace| (namespace.id(), namespace.log.namespace().clone()))
            .collect();
        listed.sort_unstable_by_key(|(id, _)| *id);
        listed
    }
}
