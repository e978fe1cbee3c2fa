//! Writes: bytes into records, and the news of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::durable::Pending;
use super::errno::Errno;
use super::frames::{Frames, Refused};
use super::handle::{Handle, Input, lock};
use super::lines::Lines;
use super::tree::Kind;
use super::turn::Takes;
use super::{Caller, DoneReply, Fs, Namespace, Transport, WriteReply};

/// In which the kernel counts how much of a write it sends at once.
const PAGE_BYTES: usize = 4096;

/// How a write comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteMode {
    /// The user who writes: what waits for its turn counts as memory of his.
    pub uid: u32,
    /// With O_DSYNC or O_SYNC: its records are to be on the disk before the answer.
    pub durable: bool,
    /// With O_APPEND, as the open file has it now.
    pub append: bool,
    /// The offset that it comes with. Of a file that has none it is 0, and only the rest of a write that the kernel
    /// has split comes with another.
    pub offset: u64,
}

impl<T: Transport> Fs<T> {
    /// Takes the bytes of one write. The writer is answered first, then whoever waited for the record.
    pub fn write(&self, fh: u64, data: &[u8], mode: WriteMode, reply: T::Write) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => return reply.error(errno),
        };
        if let Some(Input::File(_)) = &handle.input {
            if let Some(_place) = self.places.take() {
                return self.write_spooled(&handle, data, mode, reply);
            }
            let about = Some(handle.namespace.id());
            return match self.budget.copy(mode.uid, data) {
                Ok(copy) => self.apart(about, move |fs| {
                    fs.write_spooled(&handle, &copy.into_bytes(), mode, reply);
                }),
                // Somebody else's write may hold the spool, and wait for the disk.
                Err(errno) => self.apart(about, move |_| refuse_spooled(&handle, errno, reply)),
            };
        }
        let namespace = handle.namespace.clone();
        match self.turn(&namespace) {
            Some(_turn) => self.write_now(&handle, data, mode, reply),
            None => match self.budget.copy(mode.uid, data) {
                Ok(copy) => self.put_behind(&namespace, Takes::Moments, move |fs| {
                    fs.write_now(&handle, &copy.into_bytes(), mode, reply);
                }),
                Err(errno) => {
                    namespace.refuse_write();
                    reply.error(errno);
                }
            },
        }
    }

    fn write_spooled(&self, handle: &Handle, data: &[u8], mode: WriteMode, reply: T::Write) {
        let Some(Input::File(spool)) = &handle.input else {
            return reply.error(Errno::EBADF);
        };
        match self.spool(&handle.namespace.log, spool, data, mode.durable) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => {
                handle.namespace.refuse_write();
                reply.error(errno);
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
            if !self.settings.sync_always {
                // The records are committed: readers see them, whatever becomes of the sync.
                self.grew(&handle.namespace);
            }
            let pending = Pending::Write { bytes, reply };
            self.durable.push(self, &handle.namespace, pending);
            return;
        }
        reply.written(bytes);
        if grew {
            let by_log = matches!(
                handle.input,
                Some(Input::Lines {
                    kind: Kind::Log,
                    ..
                })
            );
            self.tell(&handle.namespace, by_log);
        }
    }

    /// Whether a write is the rest of one that the kernel has split: it goes on where the write before it ended, which
    /// had a byte, at least, in each page that the kernel sends at most. With O_APPEND every write comes with
    /// an offset, and nobody can tell.
    fn is_rest(&self, before: u64, mode: WriteMode) -> bool {
        let least = (self.settings.split_write_bytes / PAGE_BYTES) as u64;
        !mode.append && mode.offset != 0 && mode.offset == before && before >= least
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
            Some(Input::Writes { before }) => {
                let whole = if mode.offset == 0 {
                    data.len() as u64
                } else {
                    0
                };
                let before = before.swap(whole, Ordering::Relaxed);
                if self.is_rest(before, mode) {
                    ::log::warn!(
                        "namespace '{}': the rest of a writev to 'append', {} bytes, was refused (EMSGSIZE): the kernel \
                         splits one whose pieces lie in more than {} pages, and its first {before} bytes are a \
                         record already (gather the pieces into one buffer)",
                        log.namespace(),
                        data.len(),
                        self.settings.split_write_bytes / PAGE_BYTES,
                    );
                    return Err(Errno::EMSGSIZE);
                }
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
        let opener = match &handle.input {
            // Somebody else's write may hold it, and wait for the disk.
            Some(Input::Lines { lines, .. }) if has_no_partial(lines) => return reply.done(),
            Some(Input::Frames { frames, .. }) if has_no_unfinished(frames) => return reply.done(),
            Some(Input::Lines { opener, .. } | Input::Frames { opener, .. }) => opener,
            Some(Input::File(spool)) => spool.opener(),
            Some(Input::Writes { .. }) | None => return reply.done(),
        };
        self.look_at_descriptors(caller, Arc::clone(opener), move |fs, goes_on| {
            // Another thread: this one is not to wait for the disk.
            fs.apart(Some(handle.namespace.id()), move |fs| {
                fs.flush_knowing(caller, goes_on, &handle, reply);
            });
        });
    }

    /// Ends what has been written, unless it goes on: the process that opened the file has another descriptor of it, or has
    /// not closed one. `None`: nobody can tell. May wait for the disk.
    fn flush_knowing(
        &self,
        caller: Caller,
        goes_on: Option<bool>,
        handle: &Arc<Handle>,
        reply: T::Done,
    ) {
        match &handle.input {
            Some(Input::Lines { lines, .. })
                if goes_on != Some(true) && lock(lines).has_partial() =>
            {
                let finished = handle.clone();
                self.in_turn(&handle.namespace, move |fs| match fs.finish(&finished) {
                    Ok(true) if fs.settings.sync_always => {
                        let pending = Pending::Done(reply);
                        fs.durable.push(fs, &finished.namespace, pending);
                    }
                    Ok(grew) => {
                        reply.done();
                        if grew {
                            fs.grew(&finished.namespace);
                        }
                    }
                    Err(errno) => reply.error(errno),
                });
            }
            // It waits on: a process that inherited the file may have its end.
            Some(Input::Frames { frames, .. })
                if goes_on != Some(true) && lock(frames).unfinished().is_some() =>
            {
                reply.error(Errno::EINVAL);
            }
            Some(Input::File(_)) => self.close_spool(caller, goes_on, handle, reply),
            _ => reply.done(),
        }
    }

    /// Makes a record of a line that still waits for its newline. Returns whether there was one; with `--sync always`
    /// it is then to be synced. A frame that waits for its end is none: that is said in the log of the program.
    pub(super) fn finish(&self, handle: &Handle) -> Result<bool, Errno> {
        let log = &handle.namespace.log;
        match &handle.input {
            Some(Input::Lines { lines, .. }) => {
                let mut lines = lock(lines);
                if !lines.has_partial() {
                    return Ok(false);
                }
                lines
                    .finish(|batch| {
                        let appended = log.append_batch_unsynced(batch)?;
                        handle.appended(appended.record, batch.len());
                        Ok(())
                    })
                    .inspect_err(|_| handle.namespace.refuse_write())?;
                return Ok(true);
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
            Some(Input::Writes { .. } | Input::File(_)) | None => {}
        }
        Ok(false)
    }

    /// Answers when every record appended through this handle is on the disk; `EIO` when the disk fails.
    pub fn fsync(&self, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.snapshots.get(fh).is_some() => return reply.done(),
            Err(errno) => return reply.error(errno),
        };
        match &handle.input {
            Some(Input::Writes { .. } | Input::Lines { .. } | Input::Frames { .. }) => {
                self.sync_in_turn(&handle, reply);
            }
            // A write of somebody else may hold it, and wait for the disk.
            Some(Input::File(_)) => self.apart(Some(handle.namespace.id()), move |fs| {
                let Some(Input::File(spool)) = &handle.input else {
                    return reply.done();
                };
                match spool.sync() {
                    Ok(true) => fs.sync_in_turn(&handle, reply),
                    Ok(false) => reply.done(),
                    Err(errno) => reply.error(errno),
                }
            }),
            None => reply.done(),
        }
    }

    /// What is stored just now counts, too.
    fn sync_in_turn(&self, handle: &Handle, reply: T::Done) {
        let namespace = handle.namespace.clone();
        self.in_turn(&handle.namespace, move |fs| {
            fs.durable.push(fs, &namespace, Pending::Done(reply));
        });
    }

    /// Tells everybody that a namespace has changed: readers that wait, pollers, inotify watchers.
    pub(super) fn grew(&self, namespace: &Arc<Namespace>) {
        self.tell(namespace, false);
    }

    /// `by_log`: by a write to `log`.
    fn tell(&self, namespace: &Arc<Namespace>, by_log: bool) {
        self.answer_waiters(namespace);
        namespace.log.notify_observers();
        self.nudge_watchers(namespace, by_log);
    }
}

/// Refuses a write to an `append-file`, of which nothing is stored then.
fn refuse_spooled(handle: &Handle, errno: Errno, reply: impl WriteReply) {
    if let Some(Input::File(spool)) = &handle.input {
        spool.fail(errno);
    }
    handle.namespace.refuse_write();
    reply.error(errno);
}

/// Whether it is sure that no line waits for its newline.
fn has_no_partial(lines: &Mutex<Lines>) -> bool {
    lines.try_lock().is_ok_and(|lines| !lines.has_partial())
}

/// Whether it is sure that no frame waits for its end.
fn has_no_unfinished(frames: &Mutex<Frames>) -> bool {
    frames
        .try_lock()
        .is_ok_and(|frames| frames.unfinished().is_none())
}
