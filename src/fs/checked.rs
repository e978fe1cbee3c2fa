//! A namespace whose log is still being checked. Its directory is there, so that `mkdir` finds it and `mkdir -p` is
//! content; what is in it cannot be told yet, and is EBUSY.

use std::time::Duration;

use super::attr::{Attr, directory_attr};
use super::errno::Errno;
use super::tree::Node;
use super::{Fs, Transport};
use crate::log::{Namespace, may_wait};

impl Node {
    /// The directory of a namespace that has no id yet: it is known by its name. Two names with one checksum, at a time
    /// when both are checked, share their attributes, and nothing else.
    pub(super) fn checked(name: &str) -> Node {
        Node::Checked(crc32c::crc32c(name.as_bytes()))
    }
}

impl<T: Transport> Fs<T> {
    fn checked_namespace(&self, node: Node) -> Option<Namespace> {
        let mut checked = self.storage.being_checked().into_iter();
        checked.find(|namespace| Node::checked(namespace.as_str()) == node)
    }

    /// Why a node that is [`Node::Checked`] is not what the caller takes it for: its check goes on, or has ended, and
    /// its name leads to another node now.
    pub(super) fn why_not_yet(&self, node: Node) -> Errno {
        match self.checked_namespace(node) {
            Some(_) => Errno::EBUSY,
            None => Errno::ESTALE,
        }
    }

    /// The attributes of the directory, which nobody is to believe for long.
    ///
    /// # Errors
    /// `ESTALE` when the check has ended.
    pub(super) fn checked_attr(&self, node: Node) -> Result<Attr, Errno> {
        let namespace = self.checked_namespace(node).ok_or(Errno::ESTALE)?;
        if !may_wait() {
            return Err(Errno::WOULD_WAIT); // The rights are on the disk.
        }
        let given = self.rights_files.load(Some(&namespace));
        let attr = directory_attr(node, given, 2, self.started, Duration::ZERO)?;
        Ok(Attr {
            entry_ttl: Duration::ZERO,
            ..attr
        })
    }
}
