//! What would change a node: rights, sizes and times.

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::Input;
use crate::fs::transport::{Caller, Reply, Transport};
use crate::fs::tree::{Attr, Direction, Node, SetAttr};

impl<T: Transport> Fs<T> {
    /// Changes attributes, as far as the tree allows: rights of the root and of namespaces, and an append file
    /// may be "truncated" to nothing, which changes nothing, so that `>` and `>>` mean the same there. A change
    /// of rights is answered when nobody believes the old ones any more.
    ///
    /// The answer is `EPERM` for everything else, for everybody.
    pub fn setattr(&self, caller: Caller, ino: u64, change: SetAttr, reply: T::Attr) {
        let node = match Node::from_ino(ino) {
            Ok(node) => node,
            Err(errno) => return reply.answer(Err(errno)),
        };
        let is_input = matches!(node, Node::File(_, f) if f.direction() == Direction::In);
        let rights = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        let changes_nothing = match change {
            SetAttr { size: Some(0), .. } => is_input && !self.settings.read_only,
            SetAttr { size: Some(_), .. } => false,
            SetAttr { times: true, .. } => self.is_nudge(caller),
            _ => !rights,
        };
        if changes_nothing {
            let answer = move |attr: Result<Attr, Errno>| {
                reply.answer(attr.map(|attr| Attr { ino, ..attr }));
            };
            match self.at_once(|| self.attr(node)) {
                Err(errno) if errno == Errno::WOULD_WAIT => {
                    self.apart(node.namespace(), move |fs| answer(fs.attr(node)))
                }
                attr => answer(attr),
            }
        } else if rights && change.size.is_none() && !change.times && !self.settings.read_only {
            self.ask_for_rights(node, change, reply);
        } else {
            self.refuse_size(change);
            reply.answer(Err(self.refusal()));
        }
    }

    /// Why nothing in the tree is changed.
    pub fn refusal(&self) -> Errno {
        if self.settings.read_only {
            Errno::EROFS
        } else {
            Errno::EPERM
        }
    }

    /// A change of an open file's size is refused. Of an `append-file` nothing is stored then: a program that
    /// copies a file which ends in a hole would leave a part of it.
    pub(super) fn refuse_size(&self, change: SetAttr) {
        let handle = change
            .size
            .and(change.fh)
            .and_then(|fh| self.open.handles.get(fh));
        if let Some(Input::File(spool)) = handle.as_ref().and_then(|h| h.input.as_ref()) {
            spool.fail(Errno::EPERM);
        }
    }
}
