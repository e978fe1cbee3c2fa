//! Open and close: who may open what, and what the transport has to know of it.

use std::borrow::Cow;

use super::errno::Errno;
use super::handle::{OpenFile, OpenView, lock};
use super::start::Start;
use super::tree::{Direction, File, Kind, Node};
use super::view::View;
use super::{Caller, Fs, Handle, Transport};

/// Which way a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`
    Read,
    /// `O_WRONLY`
    Write,
    /// `O_RDWR`
    ReadWrite,
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
    /// `EACCES` in the wrong direction, for root too; `EISDIR`; `ENOENT` for a record that is not next.
    pub fn open(&self, caller: Caller, ino: u64, access: Access) -> Result<Opened, Errno> {
        let (id, file, direction) = match Node::from_ino(ino)? {
            Node::Root | Node::Namespace(_) => return Err(Errno::EISDIR),
            Node::File(id, file) => (id, open_file(caller, file)?, file.direction),
            Node::Start(id, number) => {
                let (start, path) = lock(&self.starts).get(number)?;
                let view = OpenView::new(View::Text, true, start, path.map(Cow::Owned));
                (id, OpenFile::View(view), Direction::Out)
            }
            Node::Record(id, n) => (id, OpenFile::record(n), Direction::Out),
        };
        match (direction, access) {
            (Direction::In, Access::Write) if self.settings.read_only => return Err(Errno::EROFS),
            (Direction::In, Access::Write) | (Direction::Out, Access::Read) => {}
            (Direction::In | Direction::Out, _) => return Err(Errno::EACCES),
        }
        let namespace = self.namespace(id)?;
        let mut cached = false;
        if let OpenFile::Record { n, .. } = file {
            let count = namespace.log.state().count;
            if n > count {
                return Err(Errno::ENOENT);
            }
            cached = n < count;
        }
        let needs_flush = matches!(file, OpenFile::AppendLines { .. });
        let fh = self.handles.insert(Handle::new(namespace, file));
        Ok(Opened {
            fh,
            cached,
            stream: direction == Direction::In,
            needs_flush,
        })
    }

    /// Closes a file for good. A line that still waits becomes a record.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.handles.remove(fh) else {
            return;
        };
        lock(&self.pollers).remove(&fh);
        if handle.has_asked_end()
            && let Some(path) = handle.nudge_path()
        {
            handle.namespace.end_askers.remove(path);
        }
        if let Err(errno) = self.finish_lines(&handle) {
            let namespace = handle.namespace.log.namespace();
            ::log::error!(
                "namespace '{namespace}': the last line of a closed file is lost: {errno}"
            );
        }
    }
}

fn open_file(caller: Caller, file: &File) -> Result<OpenFile, Errno> {
    let view = |view, waits| {
        let path = Some(Cow::Borrowed(file.name));
        OpenFile::View(OpenView::new(view, waits, Start::Record(0), path))
    };
    Ok(match file.kind {
        Kind::Append => OpenFile::Append,
        Kind::AppendLines => OpenFile::lines(caller.thread),
        Kind::Follow => view(View::Text, true),
        Kind::Log => view(View::Text, false),
        Kind::FollowFrames => view(View::Frames, true),
        Kind::Frames => view(View::Frames, false),
        Kind::Count => OpenFile::Count,
        Kind::From | Kind::Since => return Err(Errno::EISDIR),
    })
}
