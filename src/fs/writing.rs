//! Writes: bytes into records, and the news of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::durable::Pending;
use super::errno::Errno;
use super::handle::{Handle, Input, lock};
use super::opener::Opener;
use super::tree::{FILES, Kind};
use super::{Caller, DoneReply, Fs, Namespace, PoisonError, Transport, WriteReply};
use crate::log::Log;

impl<T: Transport> Fs<T> {
    /// Takes the bytes of one write. With `durable` (O_DSYNC, O_SYNC) its records are on the disk before the
    /// answer. The writer is answered first, then whoever waited for the record.
    pub fn write(&self, fh: u64, data: &[u8], durable: bool, reply: T::Write) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => return reply.error(errno),
        };
        let grew = match self.store(&handle, data) {
            Ok(grew) => grew,
            Err(errno) => return reply.error(errno),
        };
        let bytes = data.len() as u32;
        if grew && (durable || self.settings.sync_always) {
            self.durable
                .push(&handle.namespace, Pending::Write { bytes, reply });
            return;
        }
        reply.written(bytes);
        if grew {
            self.grew(&handle.namespace);
        }
    }

    /// Stores what a write brings. Returns whether the log grew.
    fn store(&self, handle: &Handle, data: &[u8]) -> Result<bool, Errno> {
        let log = &handle.namespace.log;
        match &handle.input {
            Some(Input::Writes) => {
                if data.len() >= self.settings.split_write_bytes {
                    ::log::warn!(
                        "namespace '{}': a write of {} bytes to 'append' was refused (EMSGSIZE): from {} bytes on the \
                         kernel may have split it, and one write is one record (write less at a time, or lines to \
                         'append-lines')",
                        log.namespace(),
                        data.len(),
                        self.settings.split_write_bytes
                    );
                    return Err(Errno::EMSGSIZE);
                }
                log.append_batch_unsynced(&[data])?;
                Ok(true)
            }
            Some(Input::Lines { lines, opener }) => {
                let mut grew = false;
                let mut store = |batch: &[&[u8]]| {
                    log.append_batch_unsynced(batch)?;
                    grew = true;
                    Ok(())
                };
                let mut lines = lock(lines);
                lines.write(data, self.settings.max_record_bytes, &mut store)?;
                if self.closing.load(Ordering::SeqCst) {
                    lines.finish(&mut store)?;
                }
                if lines.has_partial() {
                    opener.resolve();
                }
                Ok(grew)
            }
            None => Err(Errno::EBADF),
        }
    }

    /// A `close(2)` of one descriptor of the file, by a process that may have inherited it. When the one that
    /// opened it closes its last one, a line that waits for its newline becomes a record.
    ///
    /// Errors are those of the append: `close` reports them.
    pub fn flush(&self, caller: Caller, fh: u64, reply: T::Done) {
        match self
            .handle(fh)
            .and_then(|handle| self.flush_handle(caller, &handle))
        {
            Ok(()) => reply.done(),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush_handle(&self, caller: Caller, handle: &Handle) -> Result<(), Errno> {
        match &handle.input {
            Some(Input::Lines { lines, opener })
                if lock(lines).has_partial()
                    && opener.is(caller.thread)
                    && !Opener::holds_another(caller.thread, &path_in_mount(&handle.namespace)) =>
            {
                self.finish(handle)
            }
            _ => Ok(()),
        }
    }

    /// Makes a record of what still waits for its end: a line for its newline.
    pub(super) fn finish(&self, handle: &Handle) -> Result<(), Errno> {
        let Some(Input::Lines { lines, .. }) = &handle.input else {
            return Ok(());
        };
        let mut lines = lock(lines);
        if lines.has_partial() {
            lines.finish(|batch| store(&handle.namespace.log, batch))?;
            drop(lines);
            self.grew(&handle.namespace);
        }
        Ok(())
    }

    /// Answers when every record appended through this handle is on the disk; `EIO` when the disk fails.
    pub fn fsync(&self, fh: u64, reply: T::Done) {
        match self.handle(fh) {
            Ok(handle) if handle.input.is_some() => {
                self.durable.push(&handle.namespace, Pending::Done(reply))
            }
            Ok(_) => reply.done(),
            Err(errno) => reply.error(errno),
        }
    }

    /// Tells everybody that a namespace has changed: readers that wait, pollers, inotify watchers.
    pub(super) fn grew(&self, namespace: &Namespace) {
        self.answer_waiters(namespace.id());
        namespace.log.notify_observers();
        for path in namespace.end_askers.paths() {
            if let Some(nudge) = &*self.nudge.read().unwrap_or_else(PoisonError::into_inner) {
                nudge.grew(namespace.log.namespace().as_str(), &path);
            }
        }
    }
}

fn store(log: &Log, batch: &[&[u8]]) -> Result<(), Errno> {
    log.append_batch_quiet(batch)?;
    Ok(())
}

/// Where the `append-lines` of a namespace is, from the mount point on.
fn path_in_mount(namespace: &Namespace) -> PathBuf {
    let name = FILES.iter().find(|f| f.kind == Kind::AppendLines);
    Path::new(namespace.log.namespace().as_str()).join(name.map_or("", |f| f.name))
}
