//! Tells inotify watchers that a file has grown.
//!
//! inotify reports what goes through the mount's inodes, and nothing goes through `follow` when somebody
//! writes to `append`. But a path-based change of times on our own mount does: the watcher gets IN_ATTRIB. It
//! is made by a thread of its own (a FUSE worker would wait for itself), by path (a descriptor on the mount
//! would keep it busy), once for however many records came meanwhile, and only for files that somebody reads
//! who would ask for the end. The file system knows the echo by the thread's id.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use immuta::fs::Nudge;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// The nudging thread. It ends when this is dropped.
pub(crate) struct Nudger {
    pending: Arc<Pending>,
    thread: Option<JoinHandle<()>>,
    thread_id: u32,
}

#[derive(Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    files: BTreeSet<(String, String)>,
}

impl Nudge for Pending {
    fn grew(&self, namespace: &str, file: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.files.insert((namespace.to_owned(), file.to_owned())) {
            self.changed.notify_one();
        }
    }
}

impl Nudger {
    /// Starts the thread for the mount at `mountpoint`.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(mountpoint: &Path) -> std::io::Result<Nudger> {
        let pending = Arc::new(Pending::default());
        let (send, receive) = std::sync::mpsc::channel();
        let (theirs, mountpoint) = (pending.clone(), mountpoint.to_owned());
        let thread = std::thread::Builder::new()
            .name("nudge".into())
            .spawn(move || {
                if send.send(nix::unistd::gettid().as_raw() as u32).is_ok() {
                    run(&theirs, &mountpoint);
                }
            })?;
        let thread_id = receive.recv().map_err(std::io::Error::other)?;
        Ok(Nudger {
            pending,
            thread: Some(thread),
            thread_id,
        })
    }

    pub(crate) fn pending(&self) -> Arc<Pending> {
        self.pending.clone()
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        self.pending
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        self.pending.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked with anything worth more than the message that it has printed.
            let _ = thread.join();
        }
    }
}

fn run(pending: &Pending, mountpoint: &Path) {
    let mut state = pending.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.closed {
        let files = std::mem::take(&mut state.files);
        if files.is_empty() {
            state = pending
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(state);
        for (namespace, file) in files {
            let path: PathBuf = [mountpoint, namespace.as_ref(), file.as_ref()]
                .iter()
                .collect();
            let (atime, mtime) = (TimeSpec::UTIME_OMIT, TimeSpec::UTIME_NOW);
            if let Err(e) = utimensat(
                AT_FDCWD,
                &path,
                &atime,
                &mtime,
                UtimensatFlags::NoFollowSymlink,
            ) {
                log::debug!("no inotify event for '{}': {e}", path.display());
            }
        }
        state = pending.state.lock().unwrap_or_else(PoisonError::into_inner);
    }
}
