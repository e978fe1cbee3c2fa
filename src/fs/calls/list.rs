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
    /// the log grows. Memory is constant. Long because each kind of directory lists something else.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub fn readdir(
        &self,
        ino: u64,
        fh: u64,
        offset: u64,
        list: impl FnMut(DirEntry<'_>) -> bool,
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
        let mut listing = Listing { at: offset, list };
        let parent = match node {
            Node::File(id, _) => Node::Namespace(id),
            _ => Node::Root,
        };
        for (position, (name, node)) in [(".", node), ("..", parent)].into_iter().enumerate() {
            if offset <= position as u64 && listing.add(node, NodeType::Directory, name)? {
                return Ok(());
            }
        }
        let first = offset.saturating_sub(DOTS);
        match node {
            Node::Root => self.list_root(first, &mut listing),
            Node::Unopened(number) if first == 0 => {
                let error = Node::Error(number);
                listing.add(error, NodeType::File, ERROR).map(drop)
            }
            Node::Unopened(_) => Ok(()),
            Node::Namespace(id) => list_namespace(id, first, listed, &mut listing),
            Node::About => {
                let skipped = usize::try_from(first).unwrap_or(usize::MAX);
                for (name, about) in ABOUT_FILES.iter().skip(skipped) {
                    if listing.add(Node::AboutFile(*about), NodeType::File, name)? {
                        break;
                    }
                }
                Ok(())
            }
            // Any start is there, so none is listed: `cp -r` would wait in the first one.
            Node::File(_, file) if file.shows.is_directory() => Ok(()),
            Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..)
            | Node::Error(_)
            | Node::AboutFile(_) => Err(Errno::ENOTDIR),
        }
    }

    /// Lists what is in the root, from the place `first` on. A namespace's own id is its place: it does not move when another
    /// one comes or goes. `.immuta` is in the place of a namespace with the id 0.
    fn list_root(
        &self,
        first: u64,
        listing: &mut Listing<impl FnMut(DirEntry<'_>) -> bool>,
    ) -> Result<(), Errno> {
        if first == 0 && listing.add(Node::About, NodeType::Directory, ABOUT)? {
            return Ok(());
        }
        for (id, name) in self.namespaces_from(first) {
            if listing.add_namespace(u64::from(id), Node::Namespace(id), &name)? {
                return Ok(());
            }
        }
        // The namespaces that are not open. Each has its number in its place.
        for (number, name) in self.unopened() {
            let place = UNOPENED + u64::from(number);
            if place >= first && listing.add_namespace(place, Node::Unopened(number), &name)? {
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

/// Lists what is in a namespace, from the place `first` on: its fixed files, and the records before `records`.
fn list_namespace(
    id: u32,
    first: u64,
    records: u64,
    listing: &mut Listing<impl FnMut(DirEntry<'_>) -> bool>,
) -> Result<(), Errno> {
    let skipped = usize::try_from(first).unwrap_or(usize::MAX);
    for file in FILES.iter().skip(skipped) {
        let node_type = if file.shows.is_directory() {
            NodeType::Directory
        } else {
            NodeType::File
        };
        if listing.add(Node::File(id, file), node_type, file.name)? {
            return Ok(());
        }
    }
    let mut digits = [0; DECIMAL_DIGITS];
    for n in first.saturating_sub(FILES.len() as u64)..records {
        if listing.add(Node::Record(id, n), NodeType::File, decimal(n, &mut digits))? {
            break;
        }
    }
    Ok(())
}

/// A listing that goes on. `list` takes a name, and says whether there is no more room.
struct Listing<F> {
    /// How many names are before the next one.
    at: u64,
    list: F,
}

impl<F: FnMut(DirEntry<'_>) -> bool> Listing<F> {
    /// Lists the next name. Returns whether there is no more room.
    fn add(&mut self, node: Node, node_type: NodeType, name: &str) -> Result<bool, Errno> {
        self.at += 1;
        let next_offset = self.at;
        self.list(node, next_offset, node_type, name)
    }

    /// Lists a namespace in its place.
    fn add_namespace(&mut self, place: u64, node: Node, name: &Namespace) -> Result<bool, Errno> {
        let next_offset = place + DOTS + 1;
        self.list(node, next_offset, NodeType::Directory, name.as_str())
    }

    fn list(
        &mut self,
        node: Node,
        next_offset: u64,
        node_type: NodeType,
        name: &str,
    ) -> Result<bool, Errno> {
        Ok((self.list)(DirEntry {
            ino: node.ino()?,
            next_offset,
            node_type,
            name,
        }))
    }
}
