//! `read`, which the linker wraps in this program (build.rs). It is the one call between the kernel and fuser, and so the
//! place where [`interrupt`] can take interrupts of waiting reads out.

use std::ffi::c_void;

use immuta_fs::fuse::interrupt::{self, INTERRUPT_BYTES};

// SAFETY: the signature is that of read(2) in libc; the linker defines it when it is told to wrap `read`.
unsafe extern "C" {
    fn __real_read(fd: libc::c_int, buf: *mut c_void, count: libc::size_t) -> libc::ssize_t;
}

/// Every `read` of the program calls this. On any descriptor but the session's it is just `read`.
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
        if !interrupt::is_session(fd) || got != INTERRUPT_BYTES as libc::ssize_t {
            return got;
        }
        // SAFETY: read(2) has just written `got` bytes, more than 0, to `buf`; nobody else holds the caller's
        // buffer.
        let message = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), INTERRUPT_BYTES) };
        if !interrupt::take(message) {
            return got;
        }
    }
}
