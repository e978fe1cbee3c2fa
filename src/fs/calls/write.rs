//! Writes: bytes into records, and the news of them.

use std::sync::Arc;

use super::append_file::refuse_spooled;
use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::{Handle, Input};
use crate::fs::namespace::{Lasts, MountedLog};
use crate::fs::transport::{Reply, Transport, WriteMode};

impl<T: Transport> Fs<T> {
    /// Takes the bytes of one write. The writer is answered first, then the readers that waited for the record.
    pub fn write(&self, fh: u64, data: &[u8], mode: WriteMode, reply: T::Write) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(errno) => return reply.answer(Err(errno)),
        };
        if let Some(Input::File(_)) = &handle.input {
            if let Some(_place) = self.waiting.store.places.take() {
                return self.write_spooled(&handle, data, mode, reply);
            }
            let about = Some(handle.namespace.id());
            return match self.waiting.budget.copy(mode.uid, data) {
                Ok(copy) => self.apart(about, move |fs| {
                    fs.write_spooled(&handle, &copy.into_bytes(), mode, reply);
                }),
                // Somebody else's write may hold the spool, and wait for the disk.
                Err(errno) => self.apart(about, move |_| refuse_spooled(&handle, errno, reply)),
            };
        }
        let namespace = handle.namespace.clone();
        match self.waiting.store.turn(&namespace) {
            Some(_turn) => self.write_now(&handle, data, mode, reply),
            None => match self.waiting.budget.copy(mode.uid, data) {
                Ok(copy) => self.queue_store(&namespace, Lasts::Moments, move |fs| {
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
        let grew = match handle.take(data, mode, &self.settings, &self.closing) {
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
            let namespace = handle.namespace.clone();
            let answer = move |synced: Result<(), Errno>| {
                if synced.is_err() {
                    namespace.refuse_write();
                }
                reply.answer(synced.map(|()| bytes));
            };
            return self.waiting.disk.push(&handle.namespace, answer);
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

    /// Answers when every record appended through this handle is on the disk; `EIO` when the disk fails.
    pub fn fsync(&self, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.open.snapshots.get(fh).is_some() => return reply.answer(Ok(())),
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
            let answer = move |synced| reply.answer(synced);
            fs.waiting.disk.push(&namespace, answer);
        });
    }

    /// Does a small append, on this thread or behind what is queued.
    pub(super) fn run_or_queue(
        &self,
        namespace: &Arc<MountedLog>,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        match self.waiting.store.turn(namespace) {
            Some(_turn) => job(self),
            None => self.queue_store(namespace, Lasts::Moments, job),
        }
    }

    /// Has an append done behind what was queued before.
    pub(super) fn queue_store(
        &self,
        namespace: &Arc<MountedLog>,
        lasts: Lasts,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        let Some(fs) = self.myself.upgrade() else {
            return job(self); // Nobody else is there any more.
        };
        let job = Box::new(move || job(&fs));
        self.waiting.store.queue(namespace, lasts, job);
    }
}
