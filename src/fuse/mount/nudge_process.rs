//! The process that raises inotify events: it changes the times of files of the mount, on the daemon's orders.
//!
//! A thread of it may wait for a file as long as a writer has it locked: a write to `log` that waits for a disk holds the
//! file's lock. The process ends when the daemon closes the socket that orders come from. It does not hold `/dev/fuse`: when
//! the daemon is killed, the kernel ends the mount, and all waits in it. It holds no descriptor on the mount, which would
//! keep the mount busy.

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

/// The first argument of immuta-fs when it is started as this process. The mount point and its device number follow.
pub(super) const ARGUMENT: &str = "--raise-events";
/// How many files can be waited for at the same time.
pub(super) const THREADS: usize = 32;

/// An order to raise an event for the file `path`; the answer to it will be `number`.
pub(super) fn order(number: u64, path: &str) -> Vec<u8> {
    let length = path.len() as u32;
    [
        &number.to_le_bytes()[..],
        &length.to_le_bytes(),
        path.as_bytes(),
    ]
    .concat()
}

/// The ids of the process's threads, which it sends first.
pub(super) fn threads(answer: &[u8]) -> Vec<u32> {
    let ids = answer
        .chunks_exact(4)
        .map(|id| [id[0], id[1], id[2], id[3]]);
    ids.map(u32::from_le_bytes).collect()
}

/// Does the work of this process, if the command line asks for it.
pub fn run_if_asked(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments {
        [_, argument, mountpoint, device] if argument == ARGUMENT => {
            let mount = Mount {
                path: PathBuf::from(mountpoint),
                device: device.to_str()?.to_owned(),
            };
            Some(match serve(mount) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE, // It has nowhere to report to.
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
    // A terminal or a service manager sends its signals to both processes: this one ends when the daemon does.
    SigSet::all().thread_block()?;
    // Files that the daemon has inherited are not for this process.
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
            // The orders end when the daemon does.
            while let Ok((number, path)) = next(&orders) {
                mount.raise(&path);
                if answers.write_all(&number).is_err() {
                    break;
                }
            }
            // Without waiting for the other threads: they may wait for a locked file.
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

/// Reads the next order: its number, as it came, and its path.
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
    /// Raises IN_MODIFY on a file. Failures are ignored: the file may be gone, or belong to another user, and the mount may
    /// have ended.
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

    /// Whether the mount is at its path: it may have been unmounted, or be hidden by another mount.
    fn is_there(&self) -> bool {
        let root = symlink_metadata(&self.path).map(|root| root.dev());
        root.is_ok_and(|device| format!("{}:{}", major(device), minor(device)) == self.device)
    }
}
