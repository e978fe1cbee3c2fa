//! Writes: bytes into records, and the news of them.

use std::sync::atomic::Ordering;

use super::durable::Pending;
use super::errno::Errno;
use super::frames::Refused;
use super::handle::{Handle, Input, lock};
use super::opener::Opener;
use super::tree::Kind;
use super::{Caller, DoneReply, Fs, Namespace, PoisonError, Transport, WriteReply};

/// How a write comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteMode {
    /// With O_DSYNC or O_SYNC: its records are to be on the disk before the answer.
    pub durable: bool,
    /// With O_APPEND, as the open file has it now.
    pub append: bool,
}

impl<T: Transport> Fs<T> {
    /// Takes the bytes of one write. The writer is answered first, then whoever waited for the record.
    pub fn write(&self, fh: u64, data: &[u8], mode: WriteMode, reply: T::Write) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => return reply.error(errno),
        };
        if let Some(Input::File(spool)) = &handle.input {
            return match self.spool(&handle.namespace.log, spool, data, mode.durable) {
                Ok(()) => reply.written(data.len() as u32),
                Err(errno) => {
                    handle.namespace.refuse_write();
                    reply.error(errno);
                }
            };
        }
        let namespace = handle.namespace.clone();
        match namespace.turn() {
            Some(_turn) => self.write_now(&handle, data, mode, reply),
            None => {
                let data = data.to_vec();
                self.put_behind(&namespace, move |fs| {
                    fs.write_now(&handle, &data, mode, reply);
                });
            }
        }
    }

    fn write_now(&self, handle: &Handle, data: &[u8], mode: WriteMode, reply: T::Write) {
        let grew = match self.store(handle, data, mode) {
            Ok(grew) => grew,
            Err(errno) => {
                handle.namespace.refuse_write();
                return reply.error(errno);
            }
        };
        let bytes = data.len() as u32;
        if grew && (mode.durable || self.settings.sync_always) {
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
    fn store(&self, handle: &Handle, data: &[u8], mode: WriteMode) -> Result<bool, Errno> {
        let log = &handle.namespace.log;
        let max_bytes = self.settings.max_record_bytes;
        let mut grew = false;
        let mut store = |batch: &[&[u8]]| {
            let appended = log.append_batch_unsynced(batch)?;
            handle.appended(appended.record, batch.len());
            grew = true;
            Ok(())
        };
        match &handle.input {
            Some(Input::Writes) => {
                if data.len() >= self.settings.split_write_bytes {
                    ::log::warn!(
                        "namespace '{}': a write of {} bytes to 'append' was refused (EMSGSIZE): from {} bytes on the \
                         kernel may have split it, and one write is one record (write it to 'append-file', \
                         which takes any size, or lines to 'append-lines')",
                        log.namespace(),
                        data.len(),
                        self.settings.split_write_bytes
                    );
                    return Err(Errno::EMSGSIZE);
                }
                store(&[data])?;
            }
            Some(Input::Lines { kind, .. }) if *kind == Kind::Log && !mode.append => {
                return Err(Errno::EPERM);
            }
            Some(Input::Lines { lines, opener, .. }) => {
                let mut lines = lock(lines);
                lines.write(data, max_bytes, &mut store)?;
                if self.closing.load(Ordering::SeqCst) {
                    lines.finish(&mut store)?;
                }
                if lines.has_partial() {
                    opener.resolve();
                }
            }
            Some(Input::Frames { frames, opener }) => {
                let mut frames = lock(frames);
                frames
                    .write(data, max_bytes, &mut store)
                    .map_err(|refused| {
                        if !matches!(refused, Refused::NotStored(_)) {
                            ::log::warn!(
                                "namespace '{}': a write to 'append-frames' was refused: {refused}",
                                log.namespace()
                            );
                        }
                        Errno::from(refused)
                    })?;
                if frames.unfinished().is_some() {
                    opener.resolve();
                }
            }
            Some(Input::File(_)) | None => return Err(Errno::EBADF),
        }
        Ok(grew)
    }

    /// A `close(2)` of one descriptor of the file, by a process that may have inherited it. When the one that
    /// opened it closes its last one, a line that waits for its newline becomes a record, and so does what was
    /// written to an `append-file`: a large one while the answer waits.
    ///
    /// Errors are those of the append, and `EINVAL` for a frame whose end has not come: `close` reports them.
    pub fn flush(&self, caller: Caller, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.snapshots.get(fh).is_some() => return reply.done(),
            Err(errno) => return reply.error(errno),
        };
        let is_last = |opener: &Opener| {
            opener.is(caller.thread) && opener.holds_another(caller.thread) != Some(true)
        };
        match &handle.input {
            Some(Input::Lines { lines, opener, .. })
                if lock(lines).has_partial() && is_last(opener) =>
            {
                let finished = handle.clone();
                self.in_turn(&handle.namespace, move |fs| match fs.finish(&finished) {
                    Ok(()) => reply.done(),
                    Err(errno) => reply.error(errno),
                });
            }
            // It waits on: a process that inherited the file may have its end.
            Some(Input::Frames { frames, opener })
                if lock(frames).unfinished().is_some() && is_last(opener) =>
            {
                reply.error(Errno::EINVAL);
            }
            Some(Input::File(spool)) => self.close_spool(caller, &handle, spool, reply),
            _ => reply.done(),
        }
    }

    /// Makes a record of a line that still waits for its newline. A frame that waits for its end is none: that
    /// is said in the log of the program.
    pub(super) fn finish(&self, handle: &Handle) -> Result<(), Errno> {
        let log = &handle.namespace.log;
        match &handle.input {
            Some(Input::Lines { lines, .. }) => {
                let mut lines = lock(lines);
                if lines.has_partial() {
                    lines
                        .finish(|batch| {
                            let appended = log.append_batch_quiet(batch)?;
                            handle.appended(appended.record, batch.len());
                            Ok(())
                        })
                        .inspect_err(|_| handle.namespace.refuse_write())?;
                    drop(lines);
                    self.grew(&handle.namespace);
                }
            }
            Some(Input::Frames { frames, .. }) => {
                if let Some(unfinished) = lock(frames).unfinished() {
                    ::log::warn!(
                        "namespace '{}': what was written to 'append-frames' ends in the middle of a frame: \
                         {unfinished}, and nothing of it is stored",
                        log.namespace()
                    );
                }
            }
            // What is not closed is no record: see `spool`.
            Some(Input::Writes | Input::File(_)) | None => {}
        }
        Ok(())
    }

    /// Answers when every record appended through this handle is on the disk; `EIO` when the disk fails.
    pub fn fsync(&self, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.snapshots.get(fh).is_some() => return reply.done(),
            Err(errno) => return reply.error(errno),
        };
        let has_records = match &handle.input {
            Some(Input::Writes | Input::Lines { .. } | Input::Frames { .. }) => Ok(true),
            Some(Input::File(spool)) => spool.sync(),
            None => Ok(false),
        };
        match has_records {
            // What is stored just now counts, too.
            Ok(true) => self.in_turn(&handle.namespace.clone(), move |fs| {
                fs.durable.push(&handle.namespace, Pending::Done(reply));
            }),
            Ok(false) => reply.done(),
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
