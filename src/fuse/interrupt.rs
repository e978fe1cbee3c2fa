//! Interrupts of blocked reads.
//!
//! When a signal comes to a process that waits in `read(2)` on the mount, the kernel sends FUSE_INTERRUPT and
//! waits, unkillable, until the read is answered. fuser 0.18 answers every interrupt with ENOSYS, which makes
//! the kernel never send one again. So the linker wraps the program's `read` (build.rs): this module sees
//! each message from `/dev/fuse` first, takes the interrupts out, and fuser never learns of them. An
//! interrupt needs no answer.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// Opcode of an interrupt (kernel `include/uapi/linux/fuse.h`).
const FUSE_INTERRUPT: u32 = 36;
/// `struct fuse_in_header` { len: u32, opcode: u32, unique: u64, ... } is 40 bytes; `struct
/// fuse_interrupt_in` { unique: u64 }, the number of the interrupted request, is all that follows.
const OPCODE_AT: usize = 4;
const TARGET_AT: usize = 40;
const INTERRUPT_BYTES: usize = 48;

/// The session's descriptor of `/dev/fuse`; -1: none yet.
static SESSION_FD: AtomicI32 = AtomicI32::new(-1);
static ON_INTERRUPT: OnceLock<Box<dyn Fn(u64) + Send + Sync>> = OnceLock::new();

/// From now on, calls `on_interrupt` with the number of each request that is interrupted on this session, on
/// the thread that reads the interrupt. To be called once, before the session's loop starts.
pub(crate) fn watch(session: BorrowedFd<'_>, on_interrupt: impl Fn(u64) + Send + Sync + 'static) {
    if ON_INTERRUPT.set(Box::new(on_interrupt)).is_ok() {
        SESSION_FD.store(session.as_raw_fd(), Ordering::Release);
    }
}

/// Ends it: the descriptor is about to be closed and its number may be used again.
pub(crate) fn unwatch() {
    SESSION_FD.store(-1, Ordering::Release);
}

/// The request that an interrupt message is about; `None` for any other message.
fn interrupted_request(message: &[u8]) -> Option<u64> {
    let opcode = message.get(OPCODE_AT..OPCODE_AT + 4)?;
    if u32::from_ne_bytes(opcode.try_into().ok()?) != FUSE_INTERRUPT {
        return None;
    }
    let target = message.get(TARGET_AT..INTERRUPT_BYTES)?;
    Some(u64::from_ne_bytes(target.try_into().ok()?))
}

// SAFETY: the signature is that of read(2) in libc; the linker defines it when it is told to wrap `read`.
unsafe extern "C" {
    fn __real_read(fd: libc::c_int, buf: *mut c_void, count: libc::size_t) -> libc::ssize_t;
}

/// What every `read` of the program calls. On any descriptor but the session's it is `read`.
///
/// # Safety
/// As for read(2): `buf` is valid for writes of `count` bytes.
// SAFETY: the linker's `--wrap=read` asks for exactly this name, and no library defines it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __wrap_read(
    fd: libc::c_int,
    buf: *mut c_void,
    count: libc::size_t,
) -> libc::ssize_t {
    loop {
        // SAFETY: the caller's promise about `buf` and `count` is handed on unchanged.
        let got = unsafe { __real_read(fd, buf, count) };
        if fd != SESSION_FD.load(Ordering::Acquire) || got != INTERRUPT_BYTES as libc::ssize_t {
            return got;
        }
        // SAFETY: read(2) has just written `got` bytes, more than 0, to `buf`; nobody else holds the caller's
        // buffer.
        let message = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), INTERRUPT_BYTES) };
        match (interrupted_request(message), ON_INTERRUPT.get()) {
            (Some(request), Some(on_interrupt)) => on_interrupt(request),
            _ => return got,
        }
    }
}
