//! Changes of owner, group and mode, on one thread: each is written to the disk, and answered when nobody believes the old
//! rights any more. The threads that serve the mount wait for neither, however often rights are changed.
//!
//! This thread waits for the disk and the time, and for nothing that a call to the mount may hold: so it ends
//! each wait, in whatever order processes take the kernel's locks.

use std::time::Instant;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::pool::Job;
use crate::fs::rights::{cannot_keep, file_name};
use crate::fs::transport::{Reply, Transport};
use crate::fs::tree::{Attr, Node, SetAttr};
use immuta::Namespace;

impl<T: Transport> Fs<T> {
    /// Has owner, group or mode of the root or of a namespace changed, and answers.
    pub(super) fn ask_for_rights(&self, node: Node, change: SetAttr, reply: T::Attr) {
        match node {
            Node::Root | Node::Namespace(_) => {}
            Node::Unopened(number) => return reply.answer(Err(self.why_unopened(number))),
            _ => return reply.answer(Err(Errno::EPERM)),
        }
        let fs = self.myself.clone();
        let change: Job = Box::new(move || {
            let Some(fs) = fs.upgrade() else {
                return reply.answer(Err(Errno::ESTALE));
            };
            match fs.change_rights(node, &change) {
                Ok((attr, Some(over))) => fs.answer_at(over, attr, reply),
                Ok((attr, None)) => reply.answer(Ok(attr)),
                Err(errno) => reply.answer(Err(errno)),
            }
        });
        // The mount is on its way out, and what is still open goes on.
        if let Err(change) = self.waiting.rights.push(change) {
            change();
        }
    }

    /// Answers when nobody believes the old rights any more; at once when the mount is on its way out.
    fn answer_at(&self, over: Instant, attr: Attr, reply: T::Attr) {
        let answer: Job = Box::new(move || reply.answer(Ok(attr)));
        if let Err(answer) = self.waiting.rights.push_at(over, answer) {
            answer();
        }
    }

    /// Changes owner, group or mode of the root or of a namespace. Returns the new attributes, and when nobody
    /// holds the old ones any more; `None`: nobody does. Whether the caller may is the kernel's affair.
    ///
    /// # Errors
    /// `EPERM` for a file: it follows its directory. `ESTALE`; `ENOSPC` and `EIO` when they cannot be kept.
    pub(super) fn change_rights(
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
        let held = namespace
            .as_deref()
            .map_or(&self.root_rights, |ns| &ns.rights);
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
            self.root_rights.set(self.rights_files.load(None));
        }
        for namespace in self.names.namespaces.all() {
            let name = Some(namespace.log.namespace());
            if named(name) {
                namespace.rights.set(self.rights_files.load(name));
            }
        }
    }
}
