//! One writer for a directory: a second one is told which process is the first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Holder, Result};

/// The file in the logs directory whose lock the one writer holds.
pub const LOCK_FILE: &str = ".immuta.lock";
/// More than this of the file is not read, in bytes: a name of a program, at the most.
const MAX_HOLDER_BYTES: u64 = 1024;

/// The process that holds the lock of a directory of logs, as it has written itself into the lock's file. It may have ended
/// since.
pub fn lock_holder(dir: &Path) -> Holder {
    File::open(dir.join(LOCK_FILE)).map_or_else(|_| Holder::default(), read)
}

fn read(file: File) -> Holder {
    let mut text = String::new();
    match file.take(MAX_HOLDER_BYTES).read_to_string(&mut text) {
        Ok(_) => parse(&text).unwrap_or_default(),
        Err(_) => Holder::default(),
    }
}

/// Reads `pid 4711 (immuta-fs)`.
fn parse(text: &str) -> Option<Holder> {
    let (pid, program) = text.trim().strip_prefix("pid ")?.split_once(" (")?;
    Some(Holder {
        pid: Some(pid.parse().ok()?),
        program: Some(program.strip_suffix(')')?.to_owned()),
    })
}

/// The lock of a directory of logs. Dropping it gives the lock back; so does the end of the process, however it comes.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Takes the lock, or says who holds it.
pub(crate) fn take_lock(dir: &Path) -> Result<DirectoryLock> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked {
                dir: dir.to_owned(),
                holder: read(file),
            });
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
    }
    // The lock is held without it: an error only leaves the holder unnamed.
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "pid {} ({program})", std::process::id()));
    Ok(DirectoryLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_known_by_what_it_has_written() {
        let read = |text: &str| parse(text).unwrap_or_default().to_string();
        for (text, holder) in [
            ("pid 4711 (immuta-fs)\n", "pid 4711 (immuta-fs)"),
            ("pid 7 (a (b)\u{1b})", "pid 7 (a (b)\\u{1b})"),
            ("", "another process"),
            ("pid x (immuta-fs)", "another process"),
            ("pid 4711 (cut o", "another process"),
        ] {
            assert_eq!(read(text), holder);
        }
    }
}
