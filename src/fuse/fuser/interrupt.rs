//! Interrupts of blocked reads.
//!
//! When a signal comes to a process that waits in `read(2)` on the mount, the kernel sends FUSE_INTERRUPT and
//! waits, unkillable, until the read is answered. fuser 0.18 answers every interrupt with ENOSYS, which makes
//! the kernel never send one again. So the linker wraps the program's `read` (build.rs): there the program
//! shows each message from `/dev/fuse` to this module first ([`take`]), which takes the interrupts out, and fuser never
//! learns of them. An interrupt needs no answer.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// Opcode of an interrupt (kernel `include/uapi/linux/fuse.h`).
const FUSE_INTERRUPT: u32 = 36;
/// `struct fuse_in_header` { len: u32, opcode: u32, unique: u64, ... } is 40 bytes; `struct
/// fuse_interrupt_in` { unique: u64 }, the number of the interrupted request, is all that follows.
const OPCODE_AT: usize = 4;
const TARGET_AT: usize = 40;
/// The length of an interrupt.
pub const INTERRUPT_BYTES: usize = 48;

/// The session's descriptor of `/dev/fuse`; -1: none yet.
static SESSION_FD: AtomicI32 = AtomicI32::new(-1);
static ON_INTERRUPT: OnceLock<Box<dyn Fn(u64) + Send + Sync>> = OnceLock::new();

/// From now on, calls `on_interrupt` with the number of each request that is interrupted on this session, on
/// the thread that reads the interrupt. Call it once, before the session's loop starts.
pub(super) fn watch(session: BorrowedFd<'_>, on_interrupt: impl Fn(u64) + Send + Sync + 'static) {
    if ON_INTERRUPT.set(Box::new(on_interrupt)).is_ok() {
        SESSION_FD.store(session.as_raw_fd(), Ordering::Release);
    }
}

/// Ends it: the descriptor is closed, and its number may be used again.
pub(super) fn unwatch() {
    SESSION_FD.store(-1, Ordering::Release);
}

/// The number of the request that an interrupt message names; `None` for any other message.
fn interrupted_request(message: &[u8]) -> Option<u64> {
    let opcode = message.get(OPCODE_AT..OPCODE_AT + 4)?;
    if u32::from_ne_bytes(opcode.try_into().ok()?) != FUSE_INTERRUPT {
        return None;
    }
    let target = message.get(TARGET_AT..INTERRUPT_BYTES)?;
    Some(u64::from_ne_bytes(target.try_into().ok()?))
}

/// Whether `fd` is the descriptor of the session that is watched.
pub fn is_session(fd: RawFd) -> bool {
    fd == SESSION_FD.load(Ordering::Acquire)
}

/// Handles a message if it is an interrupt. Returns `false` for any other message: that is for fuser.
pub fn take(message: &[u8]) -> bool {
    match (interrupted_request(message), ON_INTERRUPT.get()) {
        (Some(request), Some(on_interrupt)) => {
            on_interrupt(request);
            true
        }
        _ => false,
    }
}
