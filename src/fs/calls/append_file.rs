//! From a closed `append-file` to a record.
//!
//! A small record is appended at once. A large one is copied from its file into the log by another thread, while nobody
//! else appends (`wait::store`). It is copied, not linked: a record begins at any byte of the log, and a file system shares
//! whole blocks only; and its checksum needs the bytes anyhow.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};
use tempfile::SpooledData;

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::{
    ANSWER_FIRST, Handle, Input, Spool, Unclosed, Verdict, WriteError, errno_of,
};
use crate::fs::namespace::Lasts;
use crate::fs::transport::{Caller, Reply, Transport, WriteMode};
use immuta::{
    AppendOptions, Appended, Error, Log, Payloads, Result, is_out_of_descriptors,
    what_holds_descriptors,
};

/// While a spooled file is copied into the log, its room is given back in pieces of this size, in bytes: a record needs
/// little more room than its own size.
const GIVE_BACK_BYTES: u64 = 4 << 20;

impl<T: Transport> Fs<T> {
    pub(super) fn write_spooled(
        &self,
        handle: &Handle,
        data: &[u8],
        mode: WriteMode,
        reply: T::Write,
    ) {
        let Some(Input::File(spool)) = &handle.input else {
            return reply.answer(Err(Errno::EBADF));
        };
        match self.spool(&handle.namespace.log, spool, data, mode.durable) {
            Ok(()) => reply.answer(Ok(data.len() as u32)),
            Err(errno) => {
                handle.namespace.refuse_write();
                reply.answer(Err(errno));
            }
        }
    }

    /// Takes the bytes of one write to an `append-file`.
    pub(super) fn spool(
        &self,
        log: &Log,
        spool: &Spool,
        data: &[u8],
        durable: bool,
    ) -> Result<(), Errno> {
        let refused = match spool.write(data, durable, |bytes| self.has_room(bytes)) {
            Ok(()) => return Ok(()),
            Err(WriteError::Again(errno)) => return Err(errno),
            Err(refused) => refused,
        };
        let (namespace, bytes) = (log.namespace(), data.len());
        let (errno, why) = match refused {
            WriteError::Failed(e) if is_out_of_descriptors(&e) => {
                (errno_of(&e), format!("{e}: {}", what_holds_descriptors()))
            }
            WriteError::Failed(e) => (errno_of(&e), e.to_string()),
            WriteError::Again(errno) => (errno.clone(), errno.to_string()),
            WriteError::Closed => (
                Errno::EBADF,
                "the process that opened the file has closed it, and that was the end of the record (close it \
                 when all have written)"
                    .to_owned(),
            ),
        };
        log::warn!(
            "namespace '{namespace}': a write of {bytes} bytes to 'append-file' was refused: {why}"
        );
        Err(errno)
    }

    /// Whether the disk has room for `bytes` more, as far as it says so.
    fn has_room(&self, bytes: u64) -> bool {
        let Ok(disk) = self.statfs() else {
            return true;
        };
        let free = match self.settings.uid {
            0 => disk.blocks_free,
            _ => disk.blocks_available,
        };
        // A file system that does not count has no blocks.
        disk.blocks == 0 || free.saturating_mul(disk.block_bytes.into()) >= bytes
    }

    /// A close of a descriptor of an `append-file`: stores the record, if that was what ends it, and then
    /// answers.
    pub(super) fn close_spool(
        &self,
        caller: Caller,
        goes_on: Option<bool>,
        handle: &Arc<Handle>,
        reply: T::Done,
    ) {
        let Some(Input::File(spool)) = &handle.input else {
            return reply.answer(Ok(()));
        };
        match spool.closed_by(caller.thread, goes_on, &handle.namespace.log) {
            Verdict::Wait => reply.answer(Ok(())),
            Verdict::Refuse(errno) => reply.answer(Err(errno)),
            Verdict::Store(unclosed) => self.store_spooled(handle, unclosed, Some(reply)),
        }
    }

    /// The last descriptor of an `append-file` is closed: stores what nobody has stored. Nobody is there to be
    /// told of a failure but the daemon's log.
    pub(super) fn release_spool(&self, handle: &Arc<Handle>, spool: &Spool) {
        if let Some(unclosed) = spool.released() {
            self.store_spooled(handle, unclosed, None);
        }
    }

    /// Makes a record of what was written, and answers: at once if it is small, else on another thread.
    pub(super) fn store_spooled(
        &self,
        handle: &Arc<Handle>,
        unclosed: Unclosed,
        reply: Option<T::Done>,
    ) {
        let mut takes = Lasts::Long;
        if !unclosed.file.is_rolled() {
            if let Some(_turn) = self.waiting.store.turn(&handle.namespace) {
                return self.store_spooled_now(handle, unclosed, reply);
            }
            takes = Lasts::Moments;
        }
        let stored = handle.clone();
        self.queue_store(&handle.namespace, takes, move |fs| {
            fs.store_spooled_now(&stored, unclosed, reply);
        });
    }

    fn store_spooled_now(&self, handle: &Handle, unclosed: Unclosed, reply: Option<T::Done>) {
        let Unclosed {
            file,
            bytes,
            durable,
            ..
        } = unclosed;
        let namespace = &handle.namespace;
        let log = &namespace.log;
        let (stored, in_line) = match file.into_inner() {
            SpooledData::InMemory(memory) => (
                log.append_with(Payloads::Batch(&[memory.get_ref()]), ANSWER_FIRST),
                durable || self.settings.sync_always,
            ),
            // With `--sync always` it is on the disk then. Else this thread syncs: a long sync does not hold up
            // the small ones.
            SpooledData::OnDisk(file) => (append_spooled(log, file), false),
        };
        if let Ok(appended) = &stored {
            handle.appended(appended.record, 1);
        }
        match stored {
            Ok(_) if in_line => {
                let waits_for_answer = reply.is_some();
                let refused = namespace.clone();
                self.waiting.disk.push(namespace, move |synced| {
                    if synced.is_err() && !waits_for_answer {
                        refused.refuse_write();
                    }
                    answer(reply, synced);
                });
            }
            Ok(_) => {
                let synced = if durable { log.sync() } else { Ok(()) };
                answer(reply, synced.map_err(Errno::from));
                self.notify_readers(namespace);
            }
            Err(e) => {
                namespace.refuse_write();
                // Nobody may have looked at what close says.
                log::error!("a record of {bytes} bytes from 'append-file' is not stored: {e}");
                answer(reply, Err(e.into()));
            }
        }
    }
}

fn answer(reply: Option<impl Reply<()>>, result: Result<(), Errno>) {
    match (reply, result) {
        (Some(reply), result) => reply.answer(result),
        (None, Err(errno)) => errno.report_unanswered(),
        (None, Ok(())) => {}
    }
}

fn append_spooled(log: &Log, mut file: File) -> Result<Appended> {
    file.rewind().map_err(|source| Error::Input { source })?;
    let mut consumed = Consumed {
        file,
        read: 0,
        given_back: 0,
    };
    log.append_with(
        Payloads::Reader(&mut consumed),
        AppendOptions::new().quiet(),
    )
}

/// A spooled file, from its start on, whose room is given back on the way: it is read once, whether it is then
/// stored or not.
struct Consumed {
    file: File,
    read: u64,
    given_back: u64,
}

impl Read for Consumed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let behind = self.read - self.given_back;
        if behind >= GIVE_BACK_BYTES {
            let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // A file system that cannot do it gives the room back at the end.
            let _ = fallocate(
                &self.file,
                punch,
                self.given_back as libc::off_t,
                behind as libc::off_t,
            );
            self.given_back = self.read;
        }
        let got = self.file.read(buf)?;
        self.read += got as u64;
        Ok(got)
    }
}

/// Refuses a write to an `append-file`, of which nothing is stored then.
pub(super) fn refuse_spooled(handle: &Handle, errno: Errno, reply: impl Reply<u32>) {
    if let Some(Input::File(spool)) = &handle.input {
        spool.fail(errno.clone());
    }
    handle.namespace.refuse_write();
    reply.answer(Err(errno));
}
