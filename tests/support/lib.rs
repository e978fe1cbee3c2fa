//! What every mounted test needs: a daemon on a directory of its own that is gone afterwards, whatever
//! happens, and waiting for a fact with a deadline that only fails. Tests do not sleep: they wait until
//! something is so.

mod memory_disk;
mod mount;
mod programs;
mod random;

pub mod cut;
pub mod documents;
pub mod files;
pub mod fuzz;
pub mod hooked_disk;
pub mod immuta_cli;
pub mod machine;
pub mod sim;
pub mod users;

pub use memory_disk::Disk;
pub use mount::{Mount, umount};
pub use programs::{
    Reader, asks_mount, has_ended, installed_directory, installed_tool, outcome, shell, shell_ok,
    state, stop, tails, wait, wait_for, waits_in_mount,
};
pub use random::Random;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// The directory of this repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A program of this project, as Cargo has built it for the test or the bench that asks: in the directory above that of
/// its own executable.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(Path::parent).unwrap();
    built.join(name)
}

/// How long a fact may take to come true on a slow, loaded machine. It never makes a test pass.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `fact` holds. Panics after [`DEADLINE`], saying `what`.
#[track_caller]
pub fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < DEADLINE, "timed out waiting until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Appends with one `open`, one `write` and one `close`, as `echo` does.
pub fn append(file: &Path, record: impl AsRef<[u8]>) -> io::Result<()> {
    let record = record.as_ref();
    let written = File::options().append(true).open(file)?.write(record)?;
    assert_eq!(written, record.len());
    Ok(())
}

/// Reads all of a file.
pub fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The names in a directory, without `.` and `..`.
#[track_caller]
pub fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A path as the C library takes it.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Panics unless a call was refused, with this error.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: io::Result<T>, errno: Errno) {
    match result {
        Ok(done) => panic!("it was not refused with {errno}, but gave {done:?}"),
        Err(e) => assert_eq!(Errno::from_raw(e.raw_os_error().unwrap_or(0)), errno, "{e}"),
    }
}
