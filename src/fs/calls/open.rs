//! Open: which file may be opened how, and what the transport has to know of it.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::forms::View;
use crate::fs::fs::Fs;
use crate::fs::handles::{
    Handle, Input, NOT_READ, OpenLines, OpenView, Opener, Output, Spool, Start,
};
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::{Caller, Transport};
use crate::fs::tree::{Direction, Node, Shows, Takes, number_of_next};
use immuta::what_holds_descriptors;

/// Which way a file is opened, and whether anything that is there may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_RDONLY` with `O_TRUNC`.
    ReadTruncate,
    /// `O_WRONLY`.
    Write,
    /// `O_WRONLY` with `O_APPEND` and without `O_TRUNC`.
    Append,
    /// `O_RDWR`.
    ReadWrite,
    /// `O_RDWR` with `O_APPEND` and without `O_TRUNC`.
    ReadAppend,
}

impl Access {
    fn reads(self) -> bool {
        !matches!(self, Access::Write | Access::Append)
    }

    fn writes(self) -> bool {
        !matches!(self, Access::Read | Access::ReadTruncate)
    }
}

/// An opened file, and what its transport should know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub fh: u64,
    /// Its bytes are all there and never change: they may be cached.
    pub cached: bool,
    /// Offsets mean nothing.
    pub stream: bool,
    /// It wants to know of each `close(2)`, not only of the last.
    pub needs_flush: bool,
}

impl<T: Transport> Fs<T> {
    /// Opens a file. Returns the handle's number, and what the transport has to know of it.
    ///
    /// # Errors
    /// `EROFS` for anything but reading where nothing is written; `EACCES` in the wrong direction, for root too;
    /// `EPERM` for `log` to be written otherwise than with O_APPEND; `EISDIR`; `ESTALE` for a record that is
    /// gone, and for a name that is to be [looked up](Fs::lookup_by) again; `EOPNOTSUPP` for an `append-file` and a
    /// process that cannot be seen in `/proc`.
    pub fn open(&self, caller: Caller, ino: u64, access: Access) -> Result<Opened, Errno> {
        let node = Node::from_ino(ino)?;
        let direction = match node {
            Node::Root | Node::About | Node::Namespace(_) | Node::Unopened(_) => {
                return Err(Errno::EISDIR);
            }
            Node::File(_, file) if file.shows.is_directory() => return Err(Errno::EISDIR),
            Node::File(_, file) => file.direction(),
            Node::Start(..)
            | Node::Record(..)
            | Node::Next(..)
            | Node::Error(_)
            | Node::AboutFile(_) => Direction::Out,
        };
        match (direction, access) {
            (_, access) if self.settings.read_only && access != Access::Read => {
                return Err(Errno::EROFS);
            }
            (Direction::Out | Direction::Both, Access::Read) => {}
            (Direction::Out, _) | (Direction::In, Access::Read | Access::ReadTruncate) => {
                return Err(Errno::EACCES);
            }
            (Direction::In, _) | (Direction::Both, Access::Append | Access::ReadAppend) => {}
            (Direction::Both, _) => return Err(Errno::EPERM),
        }
        if let Some(text) = self.snapshot(node)? {
            let fh = self.open.handles.number();
            self.open.snapshots.insert(fh, text);
            return Ok(Opened {
                fh,
                cached: false,
                stream: false,
                needs_flush: false,
            });
        }
        let namespace = self.namespace(node.namespace().ok_or(Errno::EISDIR)?)?;
        let output = if access.reads() {
            self.output(node, &namespace)?
        } else {
            Output::Nothing
        };
        let input = match node {
            Node::File(_, file) if access.writes() => self.input(
                &namespace,
                caller,
                Arc::new(Opener::new(caller.thread, ino)),
                file.takes,
            )?,
            _ => None,
        };
        let cached = output.is_fixed();
        if let Output::Lines(_) = output {
            namespace.json_index.opened();
        }
        let needs_flush = input.as_ref().is_some_and(Input::needs_flush);
        let fh = self
            .open
            .handles
            .insert(Handle::new(namespace, output, input));
        Ok(Opened {
            fh,
            cached,
            stream: direction == Direction::In,
            needs_flush,
        })
    }

    /// The text of a file that is written when it is opened, and does not change as long as it is open.
    fn snapshot(&self, node: Node) -> Result<Option<String>, Errno> {
        match node {
            Node::AboutFile(about) => Ok(Some(self.about(about))),
            Node::Error(number) => Ok(Some(self.error_text(number)?)),
            Node::File(id, file) if file.shows == Shows::Stats => {
                Ok(Some(self.stats(&*self.namespace(id)?)?))
            }
            _ => Ok(None),
        }
    }

    /// What a read of a node gets.
    fn output(&self, node: Node, namespace: &MountedLog) -> Result<Output, Errno> {
        let count = namespace.log.state().count;
        let file = match node {
            Node::Root
            | Node::About
            | Node::AboutFile(_)
            | Node::Namespace(_)
            | Node::Unopened(_)
            | Node::Error(_) => {
                return Err(Errno::EISDIR);
            }
            Node::Start(_, number) => {
                let (start, path) = lock(&self.names.starts).get(number)?;
                let view = OpenView::new(View::Text, true, start, path.map(Cow::Owned));
                return Ok(Output::View(view));
            }
            // Gone, if the log is shorter than it was when the name was looked up.
            Node::Record(_, n) if n >= count => return Err(Errno::ESTALE),
            Node::Record(_, n) => return Ok(Output::record(n)),
            Node::Next(_, low) => {
                let n = number_of_next(low, count).ok_or(Errno::ESTALE)?;
                return Ok(Output::next_record(n));
            }
            Node::File(_, file) => file,
        };
        let waits = file.shows.waits();
        let view = |view| {
            let path = Some(Cow::Borrowed(file.name));
            Output::View(OpenView::new(view, waits, Start::Record(0), path))
        };
        Ok(match file.shows {
            Shows::Receipts => Output::Receipts(Mutex::default()),
            Shows::Text(_) => view(View::Text),
            Shows::Frames(_) => view(View::Frames),
            Shows::JsonLines(_) => Output::Lines(OpenLines {
                waits,
                name: file.name,
                position: Mutex::default(),
            }),
            Shows::Count => Output::Count(AtomicU64::new(NOT_READ)),
            // Directories; and `stats`, which `snapshot` has answered.
            Shows::FromRecord | Shows::SinceTime | Shows::Stats => return Err(Errno::EISDIR),
        })
    }

    /// What becomes of a write to a file that takes this; `None`: it takes nothing.
    fn input(
        &self,
        namespace: &MountedLog,
        caller: Caller,
        opener: Arc<Opener>,
        takes: Takes,
    ) -> Result<Option<Input>, Errno> {
        let waiting = || self.waiting.budget.waiting(caller.uid);
        Ok(match takes {
            Takes::Nothing => None,
            Takes::Writes => Some(Input::Writes {
                before: AtomicU64::new(0),
            }),
            Takes::AppendedLines => Some(Input::lines(opener, true, waiting())),
            Takes::Lines => {
                self.open.second.open(&opener)?;
                Some(Input::lines(opener, false, waiting()))
            }
            Takes::Frames => {
                self.open.second.open(&opener)?;
                Some(Input::frames(opener, waiting()))
            }
            Takes::WholeFiles => {
                let spool = Spool::new(opener, self.storage.logs_dir());
                let spool = spool.inspect_err(|errno| {
                    let name = namespace.log.namespace();
                    if *errno != Errno::EOPNOTSUPP {
                        log::warn!(
                            "namespace '{name}': 'append-file' was not opened: {errno}: {}",
                            what_holds_descriptors()
                        );
                        return;
                    }
                    log::warn!(
                        "namespace '{name}': 'append-file' was not opened: the process cannot be seen in /proc, so \
                         nobody could tell whether it ends or is killed (run the daemon as root, in the same pid \
                         namespace, and without hidepid)"
                    );
                });
                Some(Input::File(Box::new(spool?)))
            }
        })
    }

    pub(super) fn handle(&self, fh: u64) -> Result<Arc<Handle>, Errno> {
        self.open.handles.get(fh).ok_or(Errno::EBADF)
    }
}
