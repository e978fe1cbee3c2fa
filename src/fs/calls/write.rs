//! Writes: bytes into records, and the news of them.

use std::sync::atomic::Ordering;

use super::append_file::refuse_spooled;
use crate::fs::errno::Errno;
use crate::fs::forms::Refused;
use crate::fs::fs::Fs;
use crate::fs::handles::{Handle, Input};
use crate::fs::locks::lock;
use crate::fs::namespace::Takes;
use crate::fs::transport::{Reply, Transport, WriteMode};
use crate::fs::wait::Pending;

/// In which the kernel counts how much of a write it sends at once.
const PAGE_BYTES: usize = 4096;

impl<T: Transport> Fs<T> {
    /// Takes the bytes of one write. The writer is answered first, then whoever waited for the record.
    pub fn write(&self, fh: u64, data: &[u8], mode: WriteMode, reply: T::Write) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => return reply.answer(Err(errno)),
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
                Ok(copy) => self.queue_store(&namespace, Takes::Moments, move |fs| {
                    fs.write_now(&handle, &copy.into_bytes(), mode, reply);
                }),
                Err(errno) => {
                    namespace.refuse_write();
                    reply.answer(Err(errno));
                }
            },
        }
    }

    fn write_now(&self, handle: &Handle, data: &[u8], mode: WriteMode, reply: T::Write) {
        let grew = match self.store(handle, data, mode) {
            Ok(grew) => grew,
            Err(errno) => {
                handle.namespace.refuse_write();
                return reply.answer(Err(errno));
            }
        };
        let bytes = data.len() as u32;
        if grew && (mode.durable || self.settings.sync_always) {
            if !self.settings.sync_always {
                // The records are committed: readers see them, whatever becomes of the sync.
                self.notify_readers(&handle.namespace);
            }
            let pending = Pending::Write { bytes, reply };
            self.durable.push(self, &handle.namespace, pending);
            return;
        }
        reply.answer(Ok(bytes));
        if grew {
            let by_log = matches!(
                handle.input,
                Some(Input::Lines {
                    only_appended: true,
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
                    log::warn!(
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
                    log::warn!(
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
            Some(Input::Lines {
                only_appended: true,
                ..
            }) if !mode.append => {
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
                            log::warn!(
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

    /// Answers when every record appended through this handle is on the disk; `EIO` when the disk fails.
    pub fn fsync(&self, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.snapshots.get(fh).is_some() => return reply.answer(Ok(())),
            Err(errno) => return reply.answer(Err(errno)),
        };
        match &handle.input {
            Some(Input::Writes { .. } | Input::Lines { .. } | Input::Frames { .. }) => {
                self.sync_in_turn(&handle, reply);
            }
            // A write of somebody else may hold it, and wait for the disk.
            Some(Input::File(_)) => self.apart(Some(handle.namespace.id()), move |fs| {
                let Some(Input::File(spool)) = &handle.input else {
                    return reply.answer(Ok(()));
                };
                match spool.sync() {
                    Ok(true) => fs.sync_in_turn(&handle, reply),
                    Ok(false) => reply.answer(Ok(())),
                    Err(errno) => reply.answer(Err(errno)),
                }
            }),
            None => reply.answer(Ok(())),
        }
    }

    /// What is stored just now counts, too.
    fn sync_in_turn(&self, handle: &Handle, reply: T::Done) {
        let namespace = handle.namespace.clone();
        self.run_or_queue(&handle.namespace, move |fs| {
            fs.durable.push(fs, &namespace, Pending::Done(reply));
        });
    }
}
