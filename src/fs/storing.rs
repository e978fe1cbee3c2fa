//! From a closed `append-file` to a record.
//!
//! What is small is appended at once. What is large is copied from its file into the log by another thread, while nobody
//! else appends ([`turn`](super::turn)). It is copied, not linked: a record begins at any byte of the log, and a file
//! system shares whole blocks only; and its checksum wants to see the bytes anyhow.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};
use tempfile::SpooledData;

use super::durable::Pending;
use super::errno::Errno;
use super::handle::Handle;
use super::spool::Unclosed;
use super::turn::Takes;
use super::{DoneReply, Fs, Transport};
use crate::log::{Appended, Error, Log, Result};

/// While a spooled file is copied into the log, its room is given back in pieces of so many bytes: a record
/// needs little more room than its own size.
const GIVE_BACK_BYTES: u64 = 4 << 20;

impl<T: Transport> Fs<T> {
    /// Makes a record of what was written, and answers: at once if it is small, else on another thread.
    pub(super) fn store_spooled(
        &self,
        handle: &Arc<Handle>,
        unclosed: Unclosed,
        reply: Option<T::Done>,
    ) {
        let mut takes = Takes::Long;
        if !unclosed.file.is_rolled() {
            if let Some(_turn) = self.turn(&handle.namespace) {
                return self.store_spooled_now(handle, unclosed, reply);
            }
            takes = Takes::Moments;
        }
        let stored = handle.clone();
        self.put_behind(&handle.namespace, takes, move |fs| {
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
                log.append_batch_unsynced(&[memory.get_ref()]),
                durable || self.settings.sync_always,
            ),
            // With `--sync always` it is on the disk then. Else this thread sees to it: what takes long holds
            // up nobody who waits for a small one.
            SpooledData::OnDisk(file) => (append_spooled(log, file), false),
        };
        if let Ok(appended) = &stored {
            handle.appended(appended.record, 1);
        }
        match stored {
            Ok(_) if in_line => {
                let pending = reply.map_or(Pending::Nobody, Pending::Done);
                self.durable.push(self, namespace, pending);
            }
            Ok(_) => {
                let synced = if durable { log.sync() } else { Ok(()) };
                answer(reply, synced.map_err(Errno::from));
                self.grew(namespace);
            }
            Err(e) => {
                namespace.refuse_write();
                // Nobody may have looked at what close says.
                ::log::error!("a record of {bytes} bytes from 'append-file' is not stored: {e}");
                answer(reply, Err(e.into()));
            }
        }
    }
}

fn answer(reply: Option<impl DoneReply>, result: Result<(), Errno>) {
    match (reply, result) {
        (Some(reply), Ok(())) => reply.done(),
        (Some(reply), Err(errno)) => reply.error(errno),
        (None, _) => {}
    }
}

fn append_spooled(log: &Log, mut file: File) -> Result<Appended> {
    file.rewind().map_err(|source| Error::Input { source })?;
    let mut consumed = Consumed {
        file,
        read: 0,
        given_back: 0,
    };
    log.append_from(&mut consumed)
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
