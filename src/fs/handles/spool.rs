//! `append-file`: what is written between open and close is one record, of any size.
//!
//! Until then it lies outside of the log: in memory while it is small, then in a file without a name in the logs
//! directory, so that the disk which fills is the right one, and nothing is left behind, however the daemon
//! ends. Each close decides what becomes of it:
//!
//! | process that closes | result |
//! | --- | --- |
//! | the process that opened the file, its last descriptor, or it ends by itself | it is stored |
//! | the same, and nothing was written so far | other processes that have the file go on; stored at the last close |
//! | the same process, killed by a signal | nothing is stored |
//! | another one, which inherited the file | nothing, as long as the opener has it; if not, and it was killed: nothing is stored |
//! | nobody: the daemon ends | nothing is stored |

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::opener::{Closer, Opener, closer};
use crate::fs::errno::Errno;
use crate::fs::locks::lock;
use immuta::{Log, are_descriptors_scarce, is_out_of_descriptors};

/// What is kept in memory, in bytes for each open file. More of it goes to the disk, and is stored by another
/// thread.
const MEMORY_BYTES: usize = 64 << 10;

/// What was written to an open `append-file`.
#[derive(Debug)]
pub(crate) struct Spool {
    opener: Arc<Opener>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// It takes writes.
    Open(Unclosed),
    /// A write failed: nothing is stored, and the close says so, too.
    Failed(Errno),
    /// It was closed, and is stored, or on its way to that, or was refused.
    Closed,
    /// The process that wrote it was killed: nothing is stored.
    Abandoned,
}

/// A record that is still written to.
#[derive(Debug)]
pub(crate) struct Unclosed {
    pub(crate) file: SpooledTempFile,
    pub(crate) bytes: u64,
    /// The close is to wait for the disk: it was written with O_SYNC, or fsync was called.
    pub(crate) durable: bool,
    /// The process that opened the file still has it.
    opener_has_it: bool,
}

/// What a close makes of what was written.
pub(crate) enum Verdict {
    /// Nothing yet.
    Wait,
    Store(Unclosed),
    Refuse(Errno),
}

impl Spool {
    /// For a file that a thread opens as `ino`; its bytes will lie in `dir`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a process that cannot be seen in `/proc`: nobody could tell whether it was killed. `EMFILE` or
    /// `ENFILE` when that cannot be looked up for want of a descriptor.
    pub(crate) fn new(opener: Arc<Opener>, dir: &Path) -> Result<Spool, Errno> {
        if !opener.resolve() {
            return Err(match File::open("/proc/self/status") {
                Err(e) if is_out_of_descriptors(&e) => errno_of(&e),
                _ => Errno::EOPNOTSUPP,
            });
        }
        Ok(Spool {
            opener,
            state: Mutex::new(State::Open(Unclosed {
                file: spooled_tempfile_in(MEMORY_BYTES, dir),
                bytes: 0,
                durable: false,
                opener_has_it: true,
            })),
        })
    }

    /// The process that opened it.
    pub(crate) fn opener(&self) -> &Arc<Opener> {
        &self.opener
    }

    /// Takes the bytes of one write, behind those of the one before.
    pub(crate) fn write(
        &self,
        data: &[u8],
        durable: bool,
        has_room: impl FnOnce(u64) -> bool,
    ) -> Result<(), WriteError> {
        let mut state = lock(&self.state);
        let unclosed = match &mut *state {
            State::Open(unclosed) => unclosed,
            State::Failed(errno) => return Err(WriteError::Again(errno.clone())),
            State::Closed => return Err(WriteError::Closed),
            State::Abandoned => return Err(WriteError::Again(Errno::ECANCELED)),
        };
        let bytes = unclosed.bytes + data.len() as u64;
        // What fits into memory finds out at the close only that the disk is full, and a shell that runs a
        // command of its own does not look at what close says.
        let written = if bytes <= MEMORY_BYTES as u64 && !has_room(bytes) {
            Err(io::ErrorKind::StorageFull.into())
        } else if unclosed.bytes <= MEMORY_BYTES as u64
            && bytes > MEMORY_BYTES as u64
            && are_descriptors_scarce().unwrap_or(true)
        {
            // It goes to the disk from here on.
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        } else {
            unclosed.file.write_all(data)
        };
        match written {
            Ok(()) => {
                unclosed.bytes = bytes;
                unclosed.durable |= durable;
                Ok(())
            }
            Err(e) => {
                // Its room is free again from now on.
                *state = State::Failed(errno_of(&e));
                Err(WriteError::Failed(e))
            }
        }
    }

    /// A thread closes a descriptor of the file. `goes_on`: whether the process that opened the file has another descriptor
    /// of it to write to; `None`: nobody can tell.
    pub(crate) fn closed_by(&self, thread: u32, goes_on: Option<bool>, namespace: &Log) -> Verdict {
        let is_opener = self.opener.is(thread);
        let mut state = lock(&self.state);
        let unclosed = match &mut *state {
            State::Open(unclosed) => unclosed,
            State::Failed(errno) => return Verdict::Refuse(errno.clone()),
            State::Closed => return Verdict::Wait,
            State::Abandoned => return Verdict::Refuse(Errno::ECANCELED),
        };
        // As long as the opener has the file, the others only add to it.
        if unclosed.opener_has_it && !is_opener {
            return Verdict::Wait;
        }
        let is_last = match closer(thread) {
            // Where nobody can tell, the record is whole at the last close, at the latest.
            Closer::Lives => goes_on == Some(false),
            Closer::Exits => true,
            killed @ (Closer::Killed(_) | Closer::Hidden) => {
                tell_abandoned(namespace, killed, unclosed.bytes);
                *state = State::Abandoned;
                return Verdict::Refuse(Errno::ECANCELED);
            }
        };
        if !is_last || !unclosed.opener_has_it {
            return Verdict::Wait;
        }
        if unclosed.bytes == 0 {
            unclosed.opener_has_it = false;
            return Verdict::Wait;
        }
        take(&mut state)
    }

    /// The last descriptor is closed.
    pub(crate) fn released(&self) -> Option<Unclosed> {
        match take(&mut lock(&self.state)) {
            Verdict::Store(unclosed) if unclosed.bytes > 0 => Some(unclosed),
            Verdict::Store(_) | Verdict::Wait | Verdict::Refuse(_) => None,
        }
    }

    /// Nothing is stored, and the close says so, unless it was closed before.
    pub(crate) fn fail(&self, errno: Errno) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Open(_)) {
            *state = State::Failed(errno);
        }
    }

    /// Gives up what was written and not closed. Returns how many bytes that was.
    pub(crate) fn abandon(&self) -> u64 {
        let mut state = lock(&self.state);
        match &*state {
            State::Open(unclosed) => {
                let bytes = unclosed.bytes;
                *state = State::Abandoned;
                bytes
            }
            State::Failed(_) | State::Closed | State::Abandoned => 0,
        }
    }

    /// An fsync: from now on the close is to wait for the disk. Returns whether there is a record that the
    /// fsync itself has to wait for.
    ///
    /// # Errors
    /// That of the write before it, which nothing is stored for.
    pub(crate) fn sync(&self) -> Result<bool, Errno> {
        match &mut *lock(&self.state) {
            State::Open(unclosed) => {
                unclosed.durable = true;
                Ok(false)
            }
            State::Closed => Ok(true),
            State::Failed(errno) => Err(errno.clone()),
            State::Abandoned => Err(Errno::ECANCELED),
        }
    }
}

fn take(state: &mut State) -> Verdict {
    match std::mem::replace(state, State::Closed) {
        State::Open(unclosed) => Verdict::Store(unclosed),
        other => {
            *state = other;
            Verdict::Wait
        }
    }
}

/// Why a write was refused.
pub(crate) enum WriteError {
    /// The disk refused it.
    Failed(io::Error),
    /// It was refused before: for the same reason.
    Again(Errno),
    /// The file was closed by the process that opened it.
    Closed,
}

pub(crate) fn errno_of(error: &io::Error) -> Errno {
    if is_out_of_descriptors(error) {
        return Errno::new(error.raw_os_error().unwrap_or(libc::EMFILE));
    }
    match error.kind() {
        // Quota and disk are one thing to a writer: make room.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Errno::ENOSPC,
        io::ErrorKind::FileTooLarge => Errno::EFBIG,
        _ => Errno::EIO,
    }
}

fn tell_abandoned(log: &Log, closer: Closer, bytes: u64) {
    let why = match closer {
        Closer::Killed(0) => "was killed".to_owned(),
        Closer::Killed(signal) => match Signal::try_from(signal) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {signal}"),
        },
        Closer::Hidden | Closer::Lives | Closer::Exits => {
            "cannot be seen in /proc, so it may have been killed".to_owned()
        }
    };
    log::warn!(
        "namespace '{}': {bytes} bytes written to 'append-file' are not stored: the process that had it open {why}",
        log.namespace()
    );
}
