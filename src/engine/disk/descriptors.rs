//! The descriptors of this process, which files of logs share with the rest of the program.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::pool::{PARTS, POOL};
use super::system_calls::most_descriptors;

/// The most descriptors that are kept free for files of logs and for looks at `/proc`.
const MOST_RESERVED: u64 = 64;

/// Says what holds the descriptors of this process, for a message about their limit.
pub fn what_holds_descriptors() -> String {
    format!(
        "of the {} descriptors that this process may have, files of logs hold {}; each record that is still written to an \
         'append-file' holds one (raise the limit: LimitNOFILE= of the service, or ulimit -n)",
        most_descriptors().unwrap_or(0),
        POOL.open(),
    )
}

/// Whether so few descriptors are left that a program should leave them to files of logs: an append must not fail half-way.
///
/// # Errors
/// The system's, when no descriptor is left at all.
pub fn are_descriptors_scarce() -> io::Result<bool> {
    let soft = most_descriptors().unwrap_or(u64::MAX);
    let reserve = (soft / PARTS / 2).min(MOST_RESERVED);
    // The kernel gives the lowest number that is free.
    let number = File::open("/dev/null")?.as_raw_fd();
    Ok(u64::try_from(number).unwrap_or(0) + reserve >= soft)
}

/// Whether an error says that this process, or the system, can have no more descriptors.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Calls `open`, which takes a descriptor. When none is left, closes files of logs that are not in use, and tries again.
///
/// # Errors
/// Those of `open`.
pub fn with_room<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut result = open();
    for _ in 0..3 {
        match &result {
            Err(e) if is_out_of_descriptors(e) => {
                let open = POOL.open();
                POOL.make_room(open - (open / 8 + 1).min(open));
            }
            _ => break,
        }
        result = open();
    }
    result
}
