//! Changes of owner, group and mode.

use std::sync::PoisonError;
use std::time::Instant;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::rights::{RightsRequest, cannot_keep, file_name};
use crate::fs::transport::{Reply, Transport};
use crate::fs::tree::{Attr, Node, SetAttr};
use immuta::Namespace;

impl<T: Transport> Fs<T> {
    /// Has owner, group or mode of the root or of a namespace changed, and answers.
    pub(crate) fn ask_for_rights(&self, node: Node, change: SetAttr, reply: T::Attr) {
        match node {
            Node::Root | Node::Namespace(_) => {}
            Node::Unopened(number) => return reply.answer(Err(self.why_unopened(number))),
            _ => return reply.answer(Err(Errno::EPERM)),
        }
        let asked = RightsRequest {
            node,
            change,
            reply,
        };
        // The mount is on its way out, and what is still open goes on.
        if let Err(RightsRequest { reply, .. }) = self.changes.push(asked) {
            match self.change_rights(node, &change) {
                Ok((attr, _)) => reply.answer(Ok(attr)),
                Err(errno) => reply.answer(Err(errno)),
            }
        }
    }

    /// Changes owner, group or mode of the root or of a namespace. Returns the new attributes, and when nobody
    /// holds the old ones any more; `None`: nobody does. Whether the caller may is the kernel's affair.
    ///
    /// # Errors
    /// `EPERM` for a file: it follows its directory. `ESTALE`; `ENOSPC` and `EIO` when they cannot be kept.
    pub(crate) fn change_rights(
        &self,
        node: Node,
        change: &SetAttr,
    ) -> Result<(Attr, Option<Instant>), Errno> {
        let changing = self.rights_files.change();
        let namespace = match node {
            Node::Root => None,
            // Looked up under the lock: not one that is being removed.
            Node::Namespace(id) => Some(self.namespace(id)?),
            Node::About
            | Node::AboutFile(_)
            | Node::Unopened(_)
            | Node::Error(_)
            | Node::File(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Start(..) => return Err(Errno::EPERM),
        };
        let held = namespace.as_deref().map_or(&self.rights, |ns| &ns.rights);
        let old = held.now().rights;
        let new = old.changed(change);
        let mut over = None;
        if new != old {
            let name = namespace.as_deref().map(|ns| ns.log.namespace());
            let given = self.rights_files.store(name, new).map_err(|e| {
                let whose = name.map_or("the mount".into(), |name| format!("namespace '{name}'"));
                cannot_keep(&whose, e)
            })?;
            over = held.set(given);
        }
        drop(changing);
        Ok((self.attr(node)?, over))
    }

    /// Another process may have changed the rights that are kept in the file of this name; `None`: any. Only
    /// of use when the storage is open for reading only.
    pub fn refresh_rights(&self, file: Option<&str>) {
        let named =
            |namespace: Option<&Namespace>| file.is_none_or(|file| file == file_name(namespace));
        if named(None) {
            self.rights.set(self.rights_files.load(None));
        }
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for namespace in namespaces.values() {
            let name = Some(namespace.log.namespace());
            if named(name) {
                namespace.rights.set(self.rights_files.load(name));
            }
        }
    }
}
