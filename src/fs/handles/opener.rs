//! Which process opened a file, as opposed to processes that inherited it; and whether a process that closes it was killed.
//!
//! All of it is read in `/proc` of a process that waits for the answer. If the process is in an `execve(2)`, which closes
//! descriptors that are marked close-on-exec, it holds the kernel's lock on its identity (`exec_update_lock`). Files of
//! `/proc` that only a tracer may read wait for that lock: on Linux 6.18.44 `stat`, `wchan`, and each link, those in `fd`
//! too. A read of one of them would wait without end, and no signal would end it. `status`, `fdinfo` and the names in it
//! take no such lock.

use std::sync::atomic::{AtomicU64, Ordering};

use immuta::with_room;

/// Flags of a task in `/proc/PID/stat` (kernel `include/linux/sched.h`).
const PF_EXITING: u64 = 0x4;
const PF_SIGNALED: u64 = 0x400;

/// The most descriptors of a process that are looked at, each time that it closes a file with something unfinished in it.
/// `wait::looks` bounds how many processes are looked at at the same time.
const MOST_DESCRIPTORS: usize = 4096;

/// The process that opened a file, told from the ones that inherited it. The kernel names threads, so another
/// thread of the same process has to be recognised; that is looked up only when a line has been left open.
#[derive(Debug)]
pub(crate) struct Opener {
    thread: u32,
    /// The inode that it opened.
    ino: u64,
    /// Its process, once it was looked up; 0 before.
    process: AtomicU64,
}

/// What becomes of the process of a thread that closes a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closer {
    /// It has called `close(2)`, and goes on.
    Lives,
    /// It ends by itself, with whatever status; the kernel closes its files.
    Exits,
    /// It was killed by a signal; the kernel closes its files. 0: the signal cannot be seen.
    Killed(i32),
    /// There is nothing to be seen of it in `/proc`.
    Hidden,
}

impl Opener {
    pub(crate) fn new(thread: u32, ino: u64) -> Opener {
        Opener {
            thread,
            ino,
            process: AtomicU64::new(0),
        }
    }

    pub(crate) fn thread(&self) -> u32 {
        self.thread
    }

    pub(crate) fn ino(&self) -> u64 {
        self.ino
    }

    /// Its process; its thread, if that cannot be seen.
    pub(crate) fn process(&self) -> u64 {
        self.resolve();
        self.process.load(Ordering::Relaxed)
    }

    /// Looks up the opener's process while its thread is likely to be there still. Returns whether it can be
    /// seen.
    pub(crate) fn resolve(&self) -> bool {
        if self.process.load(Ordering::Relaxed) != 0 {
            return true;
        }
        let process = process_of(self.thread);
        let known = process.unwrap_or(self.thread);
        self.process.store(u64::from(known), Ordering::Relaxed);
        process.is_some()
    }

    /// Whether a thread belongs to the process that opened the file.
    pub(crate) fn is(&self, thread: u32) -> bool {
        thread == self.thread
            || process_of(thread)
                .is_some_and(|p| u64::from(p) == self.process.load(Ordering::Relaxed))
    }

    /// Whether the process of a thread that closes a descriptor of the file has another one of it to write to:
    /// a shell that runs `echo done >&2` closes its standard output for as long as that takes, after it has
    /// kept a duplicate. Another open of the same inode counts as well. Of more than are
    /// looked at, one may be it: then the last close tells. `None`: its descriptors cannot be seen.
    pub(crate) fn holds_another(&self, thread: u32) -> Option<bool> {
        let descriptors = std::fs::read_dir(format!("/proc/{thread}/fdinfo")).ok()?;
        let is_ours = |descriptor: &std::fs::DirEntry| {
            // Before Linux 5.14 the inode is not told, and every file that is written to may be it: then the
            // last close tells.
            std::fs::read_to_string(descriptor.path()).is_ok_and(|info| {
                is_open_for_writing(&info) && inode_in(&info).is_none_or(|ino| ino == self.ino)
            })
        };
        for (nth, descriptor) in descriptors.flatten().enumerate() {
            if nth == MOST_DESCRIPTORS {
                return Some(true);
            }
            if is_ours(&descriptor) {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// Looks at the process of a thread that closes a descriptor just now, and so waits for the answer.
pub(crate) fn closer(thread: u32) -> Closer {
    match has_descriptors(thread) {
        Some(true) => return Closer::Lives,
        // It ends, and executes nothing any more: `stat` and links can be read.
        Some(false) => {}
        None => return Closer::Hidden,
    }
    let stat = with_room(|| std::fs::read_to_string(format!("/proc/{thread}/stat")));
    let Ok(stat) = stat else {
        return Closer::Hidden;
    };
    // Programs that may read this link may also see the exit code.
    let may_see = || std::fs::read_link(format!("/proc/{thread}/cwd")).is_ok();
    parse_stat(&stat, may_see).unwrap_or(Closer::Hidden)
}

/// `4711 (name) S ...`, see proc_pid_stat(5). The exit code, the last field, is that of the whole
/// process, as wait(2) gives it, and 0 for a program that may not see it. The flags are seen by all, but a thread
/// that ends because another one has called `exit` is "signaled" as well.
fn parse_stat(stat: &str, may_see: impl FnOnce() -> bool) -> Option<Closer> {
    const SIGNAL: i32 = 0x7f;
    let (_, fields) = stat.rsplit_once(") ")?;
    let field = |n: usize| fields.split_ascii_whitespace().nth(n - 3);
    let flags: u64 = field(9)?.parse().ok()?;
    let exit_code: i32 = field(52)?.parse().ok()?;
    Some(if flags & PF_EXITING == 0 {
        Closer::Lives
    } else if exit_code & SIGNAL != 0 {
        Closer::Killed(exit_code & SIGNAL)
    } else if exit_code == 0 && flags & PF_SIGNALED != 0 && !may_see() {
        Closer::Killed(0)
    } else {
        Closer::Exits
    })
}

/// Whether a descriptor is open for writing, in what `/proc/PID/fdinfo/N` says: a program may read the log that
/// it writes.
fn is_open_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|l| l.strip_prefix("flags:"));
    flags
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// The inode in what `/proc/PID/fdinfo/N` says.
fn inode_in(info: &str) -> Option<u64> {
    let ino = info.lines().find_map(|l| l.strip_prefix("ino:"))?;
    ino.trim().parse().ok()
}

/// The process (thread group) of a thread, from `/proc`.
fn process_of(thread: u32) -> Option<u32> {
    status(thread, "Tgid:")
}

/// Whether a thread has a table of descriptors, also an empty one: one that ends gives up its table first, and
/// the kernel then closes what is in it.
fn has_descriptors(thread: u32) -> Option<bool> {
    Some(status(thread, "FDSize:")? > 0)
}

/// Whether a thread that waits for an answer was killed, or has ended, so that nobody takes the answer. The kernel gives
/// each thread of a process that any signal kills a SIGKILL of its own.
pub(crate) fn is_killed(thread: u32) -> bool {
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let Ok(status) = std::fs::read_to_string(format!("/proc/{thread}/status")) else {
        return false; // It cannot be seen.
    };
    let field = |name| {
        let value = status.lines().find_map(|l| l.strip_prefix(name));
        value.map_or("", str::trim)
    };
    let pending = u64::from_str_radix(field("SigPnd:"), 16);
    pending.is_ok_and(|signals| signals & KILL != 0) || field("State:").starts_with(['Z', 'X'])
}

/// A number in `/proc/PID/status`.
fn status(thread: u32, field: &str) -> Option<u32> {
    let status = with_room(|| std::fs::read_to_string(format!("/proc/{thread}/status"))).ok()?;
    let value = status.lines().find_map(|l| l.strip_prefix(field))?;
    value.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    fn me() -> u32 {
        nix::unistd::gettid().as_raw() as u32
    }

    /// What `/proc/PID/stat` says of a process with these flags and this exit code.
    fn stat(flags: u64, exit_code: i32) -> String {
        format!(
            "7 (a) b (c) D 1 2 3 4 5 {flags} {}{exit_code}\n",
            "0 ".repeat(42)
        )
    }

    #[test]
    fn who_was_killed_is_told_from_who_has_ended() {
        const EXITING: u64 = PF_EXITING | 0x40_0000;
        let seen = |flags, code| parse_stat(&stat(flags, code), || true).unwrap();
        let unseen = |flags| parse_stat(&stat(flags, 0), || false).unwrap();
        assert_eq!(seen(0x40_0000, 0), Closer::Lives);
        assert_eq!(seen(EXITING, 0), Closer::Exits);
        assert_eq!(seen(EXITING, 1 << 8), Closer::Exits);
        // Its other threads end "signaled" when one has called exit.
        assert_eq!(seen(EXITING | PF_SIGNALED, 0), Closer::Exits);
        assert_eq!(seen(EXITING | PF_SIGNALED, 143 << 8), Closer::Exits);
        assert_eq!(seen(EXITING | PF_SIGNALED, 9), Closer::Killed(9));
        assert_eq!(seen(EXITING | PF_SIGNALED, 0x80 | 11), Closer::Killed(11));
        // Whose exit code is not shown is given no benefit of the doubt.
        assert_eq!(unseen(EXITING), Closer::Exits);
        assert_eq!(unseen(EXITING | PF_SIGNALED), Closer::Killed(0));
        for nonsense in ["", "7 (a) S", "7 (a) S 1 2 3 4 5 x"] {
            assert_eq!(parse_stat(nonsense, || true), None);
        }
    }

    #[test]
    fn the_kernel_says_of_this_thread_that_it_lives_and_nothing_of_none() {
        assert_eq!(closer(me()), Closer::Lives);
        assert_eq!(closer(0), Closer::Hidden);
    }

    #[test]
    fn another_descriptor_is_known_by_its_inode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("append-file");
        let file = File::create(&path).unwrap();
        let opener = Opener::new(me(), file.metadata().unwrap().ino());
        assert_eq!(opener.holds_another(me()), Some(true));
        let _one_of_the_same_name = {
            std::fs::rename(&path, directory.path().join("moved")).unwrap();
            File::create(&path).unwrap()
        };
        assert_eq!(opener.holds_another(me()), Some(true));
        drop(file);
        assert_eq!(opener.holds_another(me()), Some(false));
        assert_eq!(opener.holds_another(0), None);
    }

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
        let opener = Opener::new(me(), 1);
        assert!(opener.resolve());
        assert!(opener.is(me()));
        assert!(opener.is(std::process::id()));
        assert!(!opener.is(1));
        drop(thread);
    }
}
