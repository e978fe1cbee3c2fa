//! The attributes of each node: how large it is, whose, since when, and how long the kernel may believe it.

use std::time::{Duration, SystemTime};

use crate::fs::errno::Errno;
use crate::fs::forms::{Size, View};
use crate::fs::fs::Fs;
use crate::fs::handles::{Output, count_text};
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::rights::{LEASE, Rights, RightsSince};
use crate::fs::transport::Transport;
use crate::fs::tree::{
    Attr, BLOCK_BYTES, Direction, FOREVER, File, Node, NodeType, SHORT, Shows, number_of_next,
};
use immuta::{RecordNo, State};

impl<T: Transport> Fs<T> {
    /// The attributes of a node. Long because each kind of node has its own.
    pub(super) fn attr(&self, node: Node) -> Result<Attr, Errno> {
        match node {
            Node::Root => {
                let (given, links) = (self.root_rights.now(), self.root_links());
                directory_attr(node, given, links, self.names.namespaces.changed(), SHORT)
            }
            Node::About | Node::AboutFile(_) => self.about_attr(node),
            Node::Unopened(number) | Node::Error(number) => self.unopened_attr(node, number),
            Node::Namespace(id) => {
                let namespace = self.namespace(id)?;
                let modified = self.last_append(&namespace.log.state());
                directory_attr(node, namespace.rights.now(), 2, modified, SHORT)
            }
            Node::File(id, file) if file.shows.is_directory() => {
                let namespace = self.namespace(id)?;
                let modified = self.last_append(&namespace.log.state());
                let RightsSince { rights, since } = namespace.rights.lease();
                let mode = rights.directory_mode();
                let rights = Rights { mode, ..rights };
                directory_attr(node, RightsSince { rights, since }, 2, modified, LEASE)
            }
            Node::File(id, file) => self.fixed_file_attr(node, &*self.namespace(id)?, file),
            Node::Start(id, number) => self.start_attr(node, &*self.namespace(id)?, number),
            Node::Record(id, n) => record_attr(node, &*self.namespace(id)?, n),
            Node::Next(id, low) => self.next_record_attr(node, &*self.namespace(id)?, low),
        }
    }

    /// When a log last grew; before its first record, when the mount began.
    fn last_append(&self, state: &State) -> SystemTime {
        state.last_time.unwrap_or(self.clock.started)
    }

    fn fixed_file_attr(
        &self,
        node: Node,
        namespace: &MountedLog,
        file: &File,
    ) -> Result<Attr, Errno> {
        let (log, state) = (&namespace.log, namespace.log.state());
        let (size, attr_ttl) = match file.shows {
            Shows::Receipts => (0, FOREVER),
            Shows::Text(_) => (View::Text.end(log, &state), Duration::ZERO),
            Shows::Frames(_) => (View::Frames.end(log, &state), Duration::ZERO),
            Shows::JsonLines(_) => match namespace.lines_size(file.name)? {
                Size::Exact(bytes) | Size::AtLeast(bytes) => (bytes, Duration::ZERO),
                Size::Unknown => (0, Duration::ZERO),
            },
            Shows::FromRecord | Shows::SinceTime => (0, SHORT),
            Shows::Stats => (self.stats(namespace)?.len() as u64, Duration::ZERO),
            Shows::Count => (count_text(state.count).len() as u64, Duration::ZERO),
        };
        let about = FileAttr {
            direction: file.direction(),
            size,
            modified: self.last_append(&state),
            attr_ttl,
            entry_ttl: FOREVER,
        };
        about.of(node, namespace)
    }

    /// The text from a record or a time on.
    fn start_attr(&self, node: Node, namespace: &MountedLog, number: u32) -> Result<Attr, Errno> {
        let (log, state) = (&namespace.log, namespace.log.state());
        let (start, _) = lock(&self.names.starts).get(number)?;
        let base = start.offset(View::Text, log)?;
        let about = FileAttr {
            direction: Direction::Out,
            size: base.map_or(0, |base| state.text_end.saturating_sub(base)),
            modified: self.last_append(&state),
            attr_ttl: Duration::ZERO,
            entry_ttl: FOREVER,
        };
        about.of(node, namespace)
    }

    /// A name that can be opened and waited on, and has no size yet; or one that was such.
    fn next_record_attr(
        &self,
        node: Node,
        namespace: &MountedLog,
        low: u32,
    ) -> Result<Attr, Errno> {
        let state = namespace.log.state();
        let n = number_of_next(low, state.count).ok_or(Errno::ESTALE)?;
        let (size, modified) = if n < state.count {
            record_size_and_time(namespace, n)?
        } else {
            (0, self.last_append(&state))
        };
        let about = FileAttr {
            direction: Direction::Out,
            size,
            modified,
            attr_ttl: Duration::ZERO,
            entry_ttl: Duration::ZERO,
        };
        about.of(node, namespace)
    }

    /// A node's attributes. With the handle of a reader this is how the kernel asks where the end is, on
    /// behalf of `lseek(SEEK_END)`: from then on that handle ends there.
    ///
    /// # Errors
    /// `ESTALE` for a node that is gone; `EINVAL` when the caller asks for an end that is not known, as in `/proc`.
    pub fn getattr(&self, ino: u64, fh: Option<u64>) -> Result<Attr, Errno> {
        let handle = fh.and_then(|fh| self.open.handles.get(fh));
        if let Some(handle) = &handle
            && handle.mark_ends()
            && let Some(path) = handle.nudge_path()
        {
            handle.namespace.end_watchers.add(path);
        }
        if let Some(handle) = &handle
            && let Output::Lines(lines) = &handle.output
            && !matches!(handle.namespace.lines_size(lines.name)?, Size::Exact(_))
        {
            return Err(Errno::EINVAL);
        }
        let attr = self.attr(Node::from_ino(ino)?)?;
        Ok(Attr { ino, ..attr })
    }

    /// Where data (`SEEK_DATA`) or a hole (`SEEK_HOLE`) is next, from `offset` on: a file is data up to its
    /// end, and the rest is a hole. Not a question for the end: `grep` asks it in the middle of a long file
    /// and reads on.
    ///
    /// # Errors
    /// `ENXIO` from the end on; `EINVAL` for another `whence`, and where the end is not known; `ESTALE`.
    pub fn seek_data_or_hole(&self, ino: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let node = Node::from_ino(ino)?;
        let size = self.attr(node)?.size as i64;
        match whence {
            _ if size == 0 && !self.ends_where_it_says(node)? => Err(Errno::EINVAL),
            libc::SEEK_DATA | libc::SEEK_HOLE if !(0..size).contains(&offset) => Err(Errno::ENXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether a file ends at its size: else that is not known, as in `/proc`, or a read there waits.
    fn ends_where_it_says(&self, node: Node) -> Result<bool, Errno> {
        Ok(match node {
            Node::File(id, file) => {
                let is_json = matches!(file.shows, Shows::JsonLines(_));
                let is_unknown = || {
                    let size = self.namespace(id)?.lines_size(file.name)?;
                    Ok::<_, Errno>(matches!(size, Size::Unknown))
                };
                !(file.shows.waits() || is_json && is_unknown()?)
            }
            Node::Start(..) => false,
            Node::Next(id, low) => {
                let log = &self.namespace(id)?.log;
                let count = log.state().count;
                number_of_next(low, count).is_some_and(|n| n < count)
            }
            _ => true,
        })
    }

    fn root_links(&self) -> u32 {
        let unopened = self.storage.failed().len();
        3 + (self.names.namespaces.count() + unopened) as u32
    }
}

fn record_size_and_time(namespace: &MountedLog, n: u64) -> Result<(u64, SystemTime), Errno> {
    let entry = namespace.log.entry(RecordNo(n))?;
    Ok((entry.size, entry.time.unwrap_or(SystemTime::UNIX_EPOCH)))
}

fn record_attr(node: Node, namespace: &MountedLog, n: u64) -> Result<Attr, Errno> {
    if n >= namespace.log.state().count {
        return Err(Errno::ESTALE); // It was there when it was looked up.
    }
    let (size, modified) = record_size_and_time(namespace, n)?;
    let about = FileAttr {
        direction: Direction::Out,
        size,
        modified,
        attr_ttl: FOREVER,
        entry_ttl: FOREVER,
    };
    about.of(node, namespace)
}

/// What a file of a namespace says of itself, beside its rights.
struct FileAttr {
    direction: Direction,
    size: u64,
    modified: SystemTime,
    attr_ttl: Duration,
    entry_ttl: Duration,
}

impl FileAttr {
    /// With the rights of its namespace. No attribute is believed for longer than these.
    fn of(self, node: Node, namespace: &MountedLog) -> Result<Attr, Errno> {
        let RightsSince { rights, since } = match self.attr_ttl {
            Duration::ZERO => namespace.rights.now(),
            _ => namespace.rights.lease(),
        };
        Ok(Attr {
            ino: node.ino()?,
            node_type: NodeType::File,
            mode: rights.file_mode(self.direction),
            uid: rights.owner,
            gid: rights.group,
            size: self.size,
            blocks: self.size.div_ceil(BLOCK_BYTES),
            links: 1,
            modified: self.modified,
            changed: since.map_or(self.modified, |since| since.max(self.modified)),
            attr_ttl: self.attr_ttl.min(LEASE),
            entry_ttl: self.entry_ttl,
        })
    }
}

pub(super) fn directory_attr(
    node: Node,
    RightsSince { rights, since }: RightsSince,
    links: u32,
    modified: SystemTime,
    attr_ttl: Duration,
) -> Result<Attr, Errno> {
    Ok(Attr {
        ino: node.ino()?,
        node_type: NodeType::Directory,
        mode: rights.mode,
        uid: rights.owner,
        gid: rights.group,
        size: 0,
        blocks: 0,
        links,
        modified,
        changed: since.map_or(modified, |since| since.max(modified)),
        attr_ttl,
        entry_ttl: FOREVER,
    })
}
