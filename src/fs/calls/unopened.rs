//! A namespace whose log is not open: it is still being checked, or it cannot be opened. Its directory is there, so that
//! it is seen, `mkdir` of it is EEXIST, and `mkdir -p` is content. Where the check goes on, all that is in it is EBUSY.
//! Where the log cannot be opened, there is one file in it, which says why and what to do, and what else a namespace has
//! is EIO.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::getattr::directory_attr;
use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::rights::RightsSince;
use crate::fs::transport::Transport;
use crate::fs::tree::{Attr, BLOCK_BYTES, Direction, Node, NodeType, file_named, parse_record};
use immuta::{Error, Namespace, may_wait, repair_command};

/// The one file in the directory of a namespace that cannot be opened.
pub(super) const ERROR: &str = "error";

impl<T: Transport> Fs<T> {
    /// The namespaces that are not open, by their numbers, in the order of these.
    pub(super) fn unopened(&self) -> BTreeMap<u32, Namespace> {
        let unopened = self.storage.failed().into_iter();
        unopened
            .map(|(namespace, _)| (self.names.unopened.of(&namespace), namespace))
            .collect()
    }

    /// The directory of a namespace that is not open.
    pub(super) fn unopened_node(&self, name: &str) -> Result<Node, Errno> {
        let namespace = Namespace::new(name)?;
        Ok(Node::Unopened(self.names.unopened.of(&namespace)))
    }

    /// The namespace with this number, and why it is not open.
    ///
    /// # Errors
    /// `ESTALE` when it is open by now, or gone: its name leads elsewhere.
    fn unopened_by(&self, number: u32) -> Result<(Namespace, Arc<Error>), Errno> {
        let namespace = self.names.unopened.namespace(number);
        let namespace = namespace.ok_or(Errno::ESTALE)?;
        let why = self.storage.why_unopened(namespace.as_str());
        Ok((namespace, why.ok_or(Errno::ESTALE)?))
    }

    /// Why what a namespace has is not there.
    pub(super) fn why_unopened(&self, number: u32) -> Errno {
        match self.unopened_by(number) {
            Ok((_, why)) if is_checked(&why) => Errno::EBUSY,
            Ok(_) => Errno::EIO,
            Err(errno) => errno,
        }
    }

    /// Finds a name in the directory.
    ///
    /// # Errors
    /// `EBUSY` while the log is being checked. `EIO` for what is in a namespace that is open. `ENOENT`; `ESTALE`.
    pub(super) fn look_up_unopened(&self, number: u32, name: &str) -> Result<Node, Errno> {
        let errno = self.why_unopened(number);
        if errno != Errno::EIO {
            return Err(errno);
        }
        match name {
            ERROR => Ok(Node::Error(number)),
            name if !is_of_namespace(name) => Err(Errno::ENOENT),
            _ => Err(errno),
        }
    }

    /// Whether the directory can be listed: it can when its log cannot be opened.
    pub(super) fn list_unopened(&self, number: u32) -> Result<(), Errno> {
        match self.why_unopened(number) {
            errno if errno == Errno::EIO => Ok(()),
            errno => Err(errno),
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// `EBUSY`, `ESTALE`.
    pub(super) fn error_text(&self, number: u32) -> Result<String, Errno> {
        let (namespace, why) = self.unopened_by(number)?;
        if is_checked(&why) {
            return Err(Errno::EBUSY);
        }
        let logs_dir = self.storage.logs_dir();
        let way_out = way_out(&why, logs_dir, &namespace, self.settings.read_only);
        Ok(format!(
            "The log of namespace '{namespace}' cannot be opened: {why}\n{way_out}\n"
        ))
    }

    /// The attributes of the directory, and of the file in it. Nobody is to believe them for long.
    ///
    /// # Errors
    /// `ESTALE` when the namespace is open by now, or gone; `EBUSY` for the file while the log is being checked.
    pub(super) fn unopened_attr(&self, node: Node, number: u32) -> Result<Attr, Errno> {
        let (namespace, _) = self.unopened_by(number)?;
        let size = match node {
            Node::Error(_) => Some(self.error_text(number)?.len() as u64),
            _ => None,
        };
        if !may_wait() {
            return Err(Errno::WOULD_WAIT); // The rights are on the disk.
        }
        let given = self.rights_files.load(Some(&namespace));
        let directory = directory_attr(node, given, 2, self.clock.started, Duration::ZERO)?;
        let attr = Attr {
            entry_ttl: Duration::ZERO,
            ..directory
        };
        Ok(match size {
            Some(size) => file_attr(attr, given, size),
            None => attr,
        })
    }
}

/// Readable for the users who may read the records of the namespace.
fn file_attr(directory: Attr, RightsSince { rights, .. }: RightsSince, size: u64) -> Attr {
    Attr {
        node_type: NodeType::File,
        mode: rights.file_mode(Direction::Out),
        size,
        blocks: size.div_ceil(BLOCK_BYTES),
        links: 1,
        ..directory
    }
}

/// Whether a namespace that is open has this name in it, or may have.
fn is_of_namespace(name: &str) -> bool {
    file_named(name).is_some() || parse_record(name).is_some()
}

fn is_checked(why: &Error) -> bool {
    matches!(why, Error::BeingChecked { .. })
}

/// What there is to do about a log that cannot be opened.
fn way_out(why: &Error, logs_dir: &Path, namespace: &Namespace, read_only: bool) -> String {
    let mend = match why {
        Error::Damaged { .. } => format!(
            "mend it with: {}; or restore it from a backup",
            repair_command(logs_dir, namespace)
        ),
        Error::UnclearFormat { .. } => "say with --assume-format which it is".to_owned(),
        _ => "mend what the message names".to_owned(),
    };
    match (read_only, why) {
        (true, Error::UnclearFormat { .. }) | (false, _) => {
            format!(
                "What to do: unmount, {mend}, and mount again. Until then the other namespaces work."
            )
        }
        (true, _) => format!(
            "What to do: {mend}. This mount, which only reads, shows the records as soon as the log can be opened."
        ),
    }
}
