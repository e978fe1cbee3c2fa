//! One writer for a directory: who comes second is told who was first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The file in the logs directory whose lock the one writer holds.
pub const LOCK_FILE: &str = ".immuta.lock";
/// Takes the lock, or says who holds it. Dropping the file gives it back; so does the end of the process,
/// however it comes.
pub(crate) fn take_lock(dir: &Path) -> Result<File> {
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
            let mut holder = String::new();
            let known =
                file.take(200).read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known {
                holder.trim().escape_debug().to_string()
            } else {
                "another process".to_owned()
            };
            return Err(Error::Locked {
                dir: dir.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
    }
    // Only to be read by people: a failure to write it is none of the lock.
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "pid {} ({program})", std::process::id()));
    Ok(file)
}
