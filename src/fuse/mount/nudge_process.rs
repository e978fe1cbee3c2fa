//! The process that raises inotify events: it changes the times of files of the mount, as it is told to.
//!
//! Each of its threads may wait as long as somebody else has the file: a write to `log` that waits for a disk holds the
//! file's lock. It ends when nobody has orders for it any more, and it has no `/dev/fuse`: when the program that
//! serves the mount is killed, the kernel ends the mount, and with it whatever this process waits for. It holds no
//! descriptor on the mount, which would keep it busy.

use std::ffi::OsString;
use std::fs::symlink_metadata;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;

use nix::fcntl::AT_FDCWD;
use nix::sys::signal::SigSet;
use nix::sys::stat::{UtimensatFlags, major, minor, utimensat};
use nix::sys::time::TimeSpec;

use crate::host::close_all_but;

/// The first argument of this program as that process; then the mount point and its device follow.
pub(super) const ARGUMENT: &str = "--raise-events";
/// So many files can be waited for at the same time.
pub(super) const THREADS: usize = 32;

/// An order, with a number for the answer.
pub(super) fn order(number: u64, path: &str) -> Vec<u8> {
    let length = path.len() as u32;
    [
        &number.to_le_bytes()[..],
        &length.to_le_bytes(),
        path.as_bytes(),
    ]
    .concat()
}

/// The ids of the threads, which are the first answer.
pub(super) fn threads(answer: &[u8]) -> Vec<u32> {
    let ids = answer
        .chunks_exact(4)
        .map(|id| [id[0], id[1], id[2], id[3]]);
    ids.map(u32::from_le_bytes).collect()
}

/// Does the work of that process, if it is what the command line asks for.
pub fn run_if_asked(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments {
        [_, argument, mountpoint, device] if argument == ARGUMENT => {
            let mount = Mount {
                path: PathBuf::from(mountpoint),
                device: device.to_str()?.to_owned(),
            };
            Some(match serve(mount) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE, // Nobody listens.
            })
        }
        _ => None,
    }
}

struct Mount {
    path: PathBuf,
    /// As in `/proc/self/mountinfo`.
    device: String,
}

fn serve(mount: Mount) -> io::Result<()> {
    // A terminal and a service manager send them to both, and this one ends with the other.
    SigSet::all().thread_block()?;
    // What the other program's caller had open is not this one's.
    close_all_but(None);
    let orders = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut answers = orders.try_clone()?;
    let (mount, orders) = (Arc::new(mount), Arc::new(Mutex::new(orders)));
    let ids = Arc::new(Mutex::new(Vec::new()));
    let are_all_here = Arc::new(Barrier::new(THREADS + 1));
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (mount, orders, mut answers) = (mount.clone(), orders.clone(), answers.try_clone()?);
        let (ids, are_all_here) = (ids.clone(), are_all_here.clone());
        threads.push(thread::Builder::new().spawn(move || {
            let id = nix::unistd::gettid().as_raw();
            ids.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(id.to_le_bytes());
            are_all_here.wait();
            // It ends with the orders.
            while let Ok((number, path)) = next(&orders) {
                mount.raise(&path);
                if answers.write_all(&number).is_err() {
                    break;
                }
            }
            // Another thread may wait for a file for as long as somebody has it.
            std::process::exit(0);
        })?);
    }
    are_all_here.wait();
    answers.write_all(&ids.lock().unwrap_or_else(PoisonError::into_inner))?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Takes the next order: its number, as it came, and its path.
fn next(orders: &Mutex<UnixStream>) -> io::Result<([u8; 8], PathBuf)> {
    let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut number, mut length) = ([0; 8], [0; 4]);
    orders.read_exact(&mut number)?;
    orders.read_exact(&mut length)?;
    let mut path = vec![0; u32::from_le_bytes(length) as usize];
    orders.read_exact(&mut path)?;
    Ok((number, PathBuf::from(OsString::from_vec(path))))
}

impl Mount {
    /// Raises IN_MODIFY on a file. There is nobody to tell of a failure: the file may be gone, or another's, and the mount
    /// may have ended.
    fn raise(&self, file: &Path) {
        if self.is_there() {
            let (atime, mtime) = (TimeSpec::UTIME_OMIT, TimeSpec::UTIME_NOW);
            let path = self.path.join(file);
            let _ = utimensat(
                AT_FDCWD,
                &path,
                &atime,
                &mtime,
                UtimensatFlags::NoFollowSymlink,
            );
        }
    }

    /// Whether it can be seen: it may be unmounted, or another one hide it.
    fn is_there(&self) -> bool {
        let root = symlink_metadata(&self.path).map(|root| root.dev());
        root.is_ok_and(|device| format!("{}:{}", major(device), minor(device)) == self.device)
    }
}
