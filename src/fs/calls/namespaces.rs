//! Namespaces come and go: made and removed by a caller, or by another process.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::namespace::MountedLog;
use crate::fs::rights::{Rights, cannot_keep};
use crate::fs::transport::{Caller, Transport};
use crate::fs::tree::{ABOUT, Attr, Node, file_named};
use immuta::{Error, Log, MAX_NAMESPACE_BYTES, Namespace};

impl<T: Transport> Fs<T> {
    /// Another process may have written to the log of this name, or made it; `None`: to any. Shows what is
    /// new to the readers that wait for it. Only of use when the storage is open for reading only.
    pub fn refresh(&self, name: Option<&str>) {
        let known = name.and_then(|name| self.namespace_named(name).ok());
        if known.is_none() && name.is_none_or(|name| self.storage.may_open_now(name)) {
            self.look_for_new();
        }
        let namespaces = match (known, name) {
            (Some(known), _) => vec![known],
            (None, Some(_)) => Vec::new(),
            (None, None) => self.names.namespaces.all(),
        };
        for namespace in namespaces {
            let before = namespace.log.state().count;
            match namespace.log.refresh() {
                Ok(state) if state.count > before => self.notify_readers(&namespace),
                Ok(_) => {}
                Err(e) => log::error!(
                    "cannot follow namespace '{}': {e}",
                    namespace.log.namespace()
                ),
            }
        }
    }

    /// Shows the logs that another process has made. Only of use when the storage is open for reading only.
    pub fn look_for_new(&self) {
        match self.storage.rescan() {
            Ok(new) => self.show(new),
            Err(e) => log::error!("cannot look for new logs: {e}"),
        }
    }

    /// When [`Fs::look_for_new`] is to be called although nothing has changed any more; `None`: not before something
    /// has.
    pub fn looks_again_in(&self) -> Option<Duration> {
        self.storage.looks_again_in()
    }

    /// Another process may have removed or replaced the log of this name; `None`: any. What is gone is not shown any
    /// more, and its readers get end of file. Only of use when the storage is open for reading only.
    pub fn forget_gone(&self, name: Option<&str>) {
        for log in self.storage.forget_gone(name) {
            let gone = self.names.namespaces.remove(log.id());
            if let Some(namespace) = gone {
                self.notify_readers(&namespace);
            }
        }
    }

    /// Checks the logs whose check was put off, one after the other, and shows each when it is in order. Returns when
    /// none is left, or the storage says that it is enough.
    pub fn open_postponed(&self) {
        while let Ok(Some(opened)) = self.storage.open_postponed() {
            let Ok(log) = opened else {
                continue; // The storage has said why.
            };
            let name = log.namespace().to_string();
            log::info!("namespace '{name}' is open: {} records", log.state().count);
            self.show(vec![log]);
            if self.settings.read_only {
                // What its writer has done since it was looked at.
                self.refresh(Some(&name));
            }
        }
    }

    /// Shows logs that were opened while the file system serves.
    fn show(&self, new: Vec<Arc<Log>>) {
        for log in new {
            let namespace = MountedLog::with_rights(log, &self.rights_files);
            self.names.namespaces.insert(namespace);
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
        if name.len() > MAX_NAMESPACE_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = Namespace::new(name)?;
        let namespace = self.create_namespace(caller, &name, mode)?;
        let id = namespace.id();
        self.names.namespaces.insert(namespace);
        Ok(self.note_lookup(caller, self.attr(Node::Namespace(id))?))
    }

    /// Removes a namespace without records. Its readers get end of file.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it holds records, or one is being stored, or nobody can tell as its log cannot be opened;
    /// `ENOENT`; `EPERM` or `ENOTDIR` below the root.
    pub fn rmdir(&self, parent: u64, name: &str) -> Result<(), Errno> {
        match Node::from_ino(parent)? {
            Node::Root => {}
            Node::Namespace(_) if file_named(name).is_some_and(|f| f.shows.is_directory()) => {
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
        if name == ABOUT {
            return Err(self.refusal());
        }
        let namespace = match self.storage.log(name) {
            Err(Error::Unopened { .. }) => return Err(Errno::ENOTEMPTY),
            log => self.namespace(log?.id())?,
        };
        if namespace.stores_long() {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove_namespace(namespace.log.namespace())?;
        self.names.namespaces.remove(namespace.id());
        self.notify_readers(&namespace);
        Ok(())
    }

    /// Makes a log with the rights of what `caller` makes in the root. The rights are on the disk before the
    /// log has a name, so that no crash leaves one behind that is more open than it was asked to be.
    pub(super) fn create_namespace(
        &self,
        caller: Caller,
        name: &Namespace,
        mode: u16,
    ) -> Result<MountedLog, Errno> {
        if self.settings.read_only {
            return Err(Errno::EROFS);
        }
        let _changing = self.rights_files.change();
        // The rights that lie there belong to a log that is there, whether or not it could be opened.
        let log_path = name.log_path(self.storage.logs_dir());
        if fs::symlink_metadata(&log_path).is_ok() {
            return Err(Errno::EEXIST);
        }
        let rights = Rights::of_new(self.root_rights.now().rights, caller.uid, caller.gid, mode);
        let given = self
            .rights_files
            .store(Some(name), rights)
            .map_err(|e| cannot_keep(&format!("namespace '{name}'"), e))?;
        match self.storage.create(name) {
            Ok(log) => Ok(MountedLog::new(log, given)),
            Err(e) => {
                self.rights_files.remove(name);
                Err(e.into())
            }
        }
    }

    /// Removes a log without records, then its rights: a crash between leaves rights of nothing, which the next
    /// log of that name replaces.
    pub(super) fn remove_namespace(&self, name: &Namespace) -> Result<(), Errno> {
        let _changing = self.rights_files.change();
        self.storage.remove(name.as_str())?;
        self.rights_files.remove(name);
        Ok(())
    }

    pub(super) fn namespace(&self, id: u32) -> Result<Arc<MountedLog>, Errno> {
        self.names.namespaces.get(id)
    }

    fn namespace_named(&self, name: &str) -> Result<Arc<MountedLog>, Errno> {
        self.namespace(self.storage.log(name)?.id())
    }
}
