//! Who opened a file, told from the processes that inherited it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Whether the process of a thread that closes a descriptor of a file has another one of it to write to: a
    /// shell that runs `echo done >&2` closes its standard output for as long as that takes, after it has kept
    /// a duplicate. `path` is the end of the file's path; another open of the same file counts as well.
    pub(super) fn holds_another(thread: u32, path: &Path) -> bool {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{thread}/fd")) else {
            return false;
        };
        let info = Path::new("/proc").join(format!("{thread}/fdinfo"));
        descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path()).is_ok_and(|target| target.ends_with(path))
                && std::fs::read_to_string(info.join(descriptor.file_name()))
                    .is_ok_and(|info| is_open_for_writing(&info))
        })
    }
}

/// Whether a descriptor is open for writing, in what `/proc/PID/fdinfo/N` says: a program may read the log that
/// it writes.
fn is_open_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|l| l.strip_prefix("flags:"));
    flags
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
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
    fn a_descriptor_that_only_reads_is_told_from_one_that_writes() {
        let info = |flags: &str| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t30\nino:\t77\n");
        assert!(!is_open_for_writing(&info("0100000")));
        assert!(!is_open_for_writing(&info("02104000")));
        assert!(is_open_for_writing(&info("0102001")));
        assert!(is_open_for_writing(&info("0100002")));
        assert!(is_open_for_writing("pos:\t0\n"), "who knows");
    }

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
