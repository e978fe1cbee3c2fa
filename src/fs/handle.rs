//! Open files: what each remembers between calls.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::Namespace;
use super::errno::Errno;
use super::lines::Lines;
use super::start::Start;
use super::view::{Position, View};
use crate::log::Log;

/// An open file. Kept small: ten thousand of them may wait at once.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) namespace: Arc<Namespace>,
    pub(super) file: OpenFile,
    /// It has asked where the end is (`lseek(SEEK_END)`): it gets end of file there instead of waiting.
    asked_end: AtomicBool,
    /// Where its last read ended, in bytes: poll comes without an offset.
    read_end: AtomicU64,
}

/// What an open file is, with the state that only it needs.
#[derive(Debug)]
pub(super) enum OpenFile {
    Append,
    AppendLines {
        lines: Mutex<Lines>,
        opener: Opener,
    },
    View(OpenView),
    Count,
    /// A text as it was when the file was opened.
    Snapshot(String),
    /// A record, and whether this handle has verified its checksum.
    Record {
        n: u64,
        verified: AtomicBool,
    },
}

/// An open view of the log: `follow`, `log`, `frames`, `from/7` ...
#[derive(Debug)]
pub(super) struct OpenView {
    pub(super) view: View,
    /// At the end it waits for the next record.
    pub(super) waits: bool,
    pub(super) position: Mutex<Position>,
    /// Its path in the namespace, for inotify; `None` if that does not always mean the same.
    pub(super) path: Option<Cow<'static, str>>,
    start: Start,
    /// Where it begins in the view, once that is known.
    base: OnceLock<u64>,
}

impl OpenView {
    pub(super) fn new(
        view: View,
        waits: bool,
        start: Start,
        path: Option<Cow<'static, str>>,
    ) -> OpenView {
        OpenView {
            view,
            waits,
            position: Mutex::default(),
            path,
            start,
            base: OnceLock::new(),
        }
    }

    /// The offset in the view at which the file begins; `None` as long as its first record is not there.
    ///
    /// # Errors
    /// Those of the index.
    pub(super) fn base(&self, log: &Log) -> Result<Option<u64>, Errno> {
        if let Some(base) = self.base.get() {
            return Ok(Some(*base));
        }
        let base = self.start.offset(self.view, log)?;
        Ok(base.map(|base| *self.base.get_or_init(|| base)))
    }
}

impl OpenFile {
    pub(super) fn takes_writes(&self) -> bool {
        matches!(self, OpenFile::Append | OpenFile::AppendLines { .. })
    }

    pub(super) fn lines(opener_thread: u32) -> OpenFile {
        OpenFile::AppendLines {
            lines: Mutex::default(),
            opener: Opener::new(opener_thread),
        }
    }

    pub(super) fn record(n: u64) -> OpenFile {
        OpenFile::Record {
            n,
            verified: AtomicBool::new(false),
        }
    }
}

impl Handle {
    pub(super) fn new(namespace: Arc<Namespace>, file: OpenFile) -> Handle {
        Handle {
            namespace,
            file,
            asked_end: AtomicBool::new(false),
            read_end: AtomicU64::new(0),
        }
    }

    /// The path in the namespace by which an inotify watcher knows the file.
    pub(super) fn nudge_path(&self) -> Option<&str> {
        match &self.file {
            OpenFile::View(view) => view.path.as_deref(),
            OpenFile::Append
            | OpenFile::AppendLines { .. }
            | OpenFile::Count
            | OpenFile::Snapshot(_)
            | OpenFile::Record { .. } => None,
        }
    }

    /// Returns whether this is the first time.
    pub(super) fn ask_end(&self) -> bool {
        !self.asked_end.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_asked_end(&self) -> bool {
        self.asked_end.load(Ordering::Relaxed)
    }

    pub(super) fn read_end(&self) -> u64 {
        self.read_end.load(Ordering::Relaxed)
    }

    pub(super) fn set_read_end(&self, offset: u64) {
        self.read_end.store(offset, Ordering::Relaxed);
    }
}

/// Locks state that stays whole when a thread panics while it holds the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open files of a mount, by the number that the kernel gives back with each call.
#[derive(Debug, Default)]
pub(super) struct Handles {
    last: AtomicU64,
    open: RwLock<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    pub(super) fn insert(&self, handle: Handle) -> u64 {
        let fh = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fh, Arc::new(handle));
        fh
    }

    pub(super) fn get(&self, fh: u64) -> Option<Arc<Handle>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fh)
            .cloned()
    }

    pub(super) fn remove(&self, fh: u64) -> Option<Arc<Handle>> {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fh)
    }

    pub(super) fn all(&self) -> Vec<Arc<Handle>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

/// The process that opened a file, told from the ones that inherited it. The kernel names threads, so another
/// thread of the same process has to be recognised; that is looked up only when a line has been left open.
#[derive(Debug)]
pub(super) struct Opener {
    thread: u32,
    /// Its process, once it was looked up; 0 before.
    process: AtomicU64,
}

impl Opener {
    pub(super) fn new(thread: u32) -> Opener {
        Opener {
            thread,
            process: AtomicU64::new(0),
        }
    }

    /// Looks up the opener's process while its thread is likely to be there still.
    pub(super) fn resolve(&self) {
        if self.process.load(Ordering::Relaxed) == 0 {
            let process = process_of(self.thread).unwrap_or(self.thread);
            self.process.store(u64::from(process), Ordering::Relaxed);
        }
    }

    /// Whether a thread belongs to the process that opened the file.
    pub(super) fn is(&self, thread: u32) -> bool {
        thread == self.thread
            || process_of(thread)
                .is_some_and(|p| u64::from(p) == self.process.load(Ordering::Relaxed))
    }

    /// Whether the process of a thread that closes a descriptor of a file has another one of it: a shell that
    /// runs `echo done >&2` closes its standard output for as long as that takes, after it has kept a
    /// duplicate. `path` is the end of the file's path; another open of the same file counts as well.
    pub(super) fn holds_another(thread: u32, path: &Path) -> bool {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{thread}/fd")) else {
            return false;
        };
        descriptors
            .flatten()
            .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
            .any(|target| target.ends_with(path))
    }
}

/// The process (thread group) of a thread, from `/proc`.
fn process_of(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status
        .lines()
        .find_map(|l| l.strip_prefix("Tgid:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_thread_of_the_opener_is_the_opener_and_another_process_is_not() {
        let thread = std::thread::spawn(|| nix::unistd::gettid().as_raw() as u32);
        let me = nix::unistd::gettid().as_raw() as u32;
        let opener = Opener::new(me);
        opener.resolve();
        assert!(opener.is(me));
        assert!(opener.is(std::process::id()));
        assert!(!opener.is(1));
        drop(thread);
    }
}
