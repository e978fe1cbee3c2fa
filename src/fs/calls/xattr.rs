//! Extended attributes: what a record's name and a size cannot tell.
//!
//! | file | attribute | value, in decimal or as a word |
//! | --- | --- | --- |
//! | a record | `user.immuta.record` | its number |
//! | | `user.immuta.index` | where its size field is in the log file, in bytes |
//! | a namespace, and each file that shows all of it | `user.immuta.count` | the number of records |
//! | | `user.immuta.format` | how the log lies on the disk |

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::transport::Transport;
use crate::fs::tree::{Node, number_of_next};
use immuta::RecordNo;

const RECORD: &str = "user.immuta.record";
const INDEX: &str = "user.immuta.index";
const COUNT: &str = "user.immuta.count";
const FORMAT: &str = "user.immuta.format";

/// The answer to a question for an attribute, or for the names of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrReply {
    /// How many bytes it has: the caller asked for no more.
    Size(u32),
    /// The bytes.
    Data(Vec<u8>),
}

impl<T: Transport> Fs<T> {
    /// An attribute, for a caller that has room for `size` bytes; 0: the caller asks how many there are.
    ///
    /// # Errors
    /// `ENODATA` for one that the node has not. `EOPNOTSUPP` for a name outside of `user.`: there are none on
    /// any file, and a program that is told so (`ls -l` looks for access lists on each) need not ask again.
    /// `ERANGE` when there is no room.
    pub fn getxattr(&self, ino: u64, name: &[u8], size: u32) -> Result<XattrReply, Errno> {
        if !name.starts_with(b"user.") {
            return Err(Errno::EOPNOTSUPP);
        }
        let node = Node::from_ino(ino)?;
        let known = names(node).iter().find(|known| known.as_bytes() == name);
        let value = self.xattr(node, known.ok_or(Errno::ENODATA)?)?;
        fit(value.into_bytes(), size)
    }

    /// The names of a node's attributes, each with a NUL behind it, as in `listxattr(2)`.
    ///
    /// # Errors
    /// `ERANGE` when there is no room; `ESTALE`.
    pub fn listxattr(&self, ino: u64, size: u32) -> Result<XattrReply, Errno> {
        let node = Node::from_ino(ino)?;
        let mut list = Vec::new();
        for name in names(node) {
            // The record that comes next is nowhere yet.
            let is_there = match *name {
                INDEX => self.xattr(node, name).map(drop),
                _ => Ok(()),
            };
            if is_there == Err(Errno::WOULD_WAIT) {
                return Err(Errno::WOULD_WAIT);
            }
            if is_there.is_ok() {
                list.extend_from_slice(name.as_bytes());
                list.push(0);
            }
        }
        fit(list, size)
    }

    fn xattr(&self, node: Node, name: &str) -> Result<String, Errno> {
        let log = &self.namespace(node.namespace().ok_or(Errno::ENODATA)?)?.log;
        let node = match node {
            Node::Next(id, low) => {
                let n = number_of_next(low, log.state().count).ok_or(Errno::ESTALE)?;
                Node::Record(id, n)
            }
            node => node,
        };
        match (name, node) {
            (RECORD, Node::Record(_, n)) => Ok(n.to_string()),
            (INDEX, Node::Record(_, n)) if n < log.state().count => {
                Ok(log.entry(RecordNo(n))?.index.to_string())
            }
            (COUNT, _) => Ok(log.state().count.to_string()),
            (FORMAT, _) => Ok(log.format().to_string()),
            _ => Err(Errno::ENODATA),
        }
    }
}

/// The attributes that a node has.
fn names(node: Node) -> &'static [&'static str] {
    match node {
        Node::Record(..) | Node::Next(..) => &[RECORD, INDEX],
        Node::Namespace(_) | Node::Start(..) => &[COUNT, FORMAT],
        Node::File(_, file) if file.shows.is_whole_log() => &[COUNT, FORMAT],
        Node::File(..)
        | Node::Root
        | Node::Unopened(_)
        | Node::Error(_)
        | Node::About
        | Node::AboutFile(_) => &[],
    }
}

fn fit(bytes: Vec<u8>, size: u32) -> Result<XattrReply, Errno> {
    let length = u32::try_from(bytes.len()).map_err(|_| Errno::ERANGE)?;
    match size {
        0 => Ok(XattrReply::Size(length)),
        _ if size < length => Err(Errno::ERANGE),
        _ => Ok(XattrReply::Data(bytes)),
    }
}
