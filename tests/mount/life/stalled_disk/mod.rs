//! A mount whose logs lie on a disk that stands still: who waits for it, and who does not. Each call that is not to wait is
//! made while the disk stands still, and has to be answered then; nothing here depends on how long that takes.

mod disk;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use disk::{Disk, Stalls};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use support::{DEADLINE, Mount, Reader, append, asks_mount, eventually, names, read, state, wait};

const NAMESPACES: usize = 16;
/// What is written to each namespace that stands still.
const STALLED: [&str; 3] = ["second", "third", "fourth"];

/// The namespaces that stand still; `other` does not.
fn stalled_names() -> Vec<String> {
    (0..NAMESPACES).map(|n| format!("n{n}")).collect()
}

/// A mount on such a disk, which has to go on before this is dropped. Dropped: the daemon ends, then the disk is unmounted.
struct Stalled {
    mount: Mount,
    disk: Disk,
    longest: (Duration, &'static str),
}

impl Stalled {
    /// With these options; each namespace has a record.
    fn new(options: &[&str]) -> Stalled {
        let (disk, mount) = (Disk::mount(), Mount::idle(options));
        symlink(disk.path(), mount.logs()).unwrap();
        let mut stalled = Stalled {
            mount,
            disk,
            longest: (Duration::ZERO, "nothing"),
        };
        stalled.mount.start();
        for name in stalled_names().iter().map(String::as_str).chain(["other"]) {
            fs::create_dir(stalled.mount.path().join(name)).unwrap();
            append(&stalled.file(name, "append"), "first").unwrap();
        }
        stalled
    }

    fn file(&self, namespace: &str, name: &str) -> PathBuf {
        self.mount.path().join(namespace).join(name)
    }

    /// Makes a call on a thread of its own, which has to be answered while the disk stands still.
    #[track_caller]
    fn answers<R: Send + 'static>(
        &mut self,
        what: &'static str,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        let (answer, answers) = mpsc::channel();
        let start = Instant::now();
        thread::spawn(move || {
            let _ = answer.send(call());
        });
        let result = answers.recv_timeout(DEADLINE);
        let result =
            result.unwrap_or_else(|_| panic!("{what}: no answer while the disk stands still"));
        self.longest = self.longest.max((start.elapsed(), what));
        result
    }

    /// Writes to each namespace that stands still, and returns when the disk has a call of each. What is returned is to
    /// be joined when the disk goes on.
    fn write_to_stalled(&self) -> Vec<JoinHandle<()>> {
        let writes = stalled_names().into_iter().map(|name| {
            let path = self.file(&name, "append");
            thread::spawn(move || {
                let mut file = File::options().append(true).open(path).unwrap();
                for record in STALLED {
                    assert_eq!(file.write(record.as_bytes()).unwrap(), record.len());
                }
            })
        });
        let writes = writes.collect();
        eventually("each namespace's write stands still", || {
            self.disk.waiting() >= NAMESPACES
        });
        writes
    }

    /// Everything that is to be answered although 16 namespaces stand still.
    fn others_go_on(&mut self) {
        let root = self.mount.path();
        for namespace in ["other", "n3"] {
            let count = self.file(namespace, "count");
            let count = self.answers("cat count", move || read(&count));
            assert_eq!(count, b"1\n");
            let directory = root.join(namespace);
            let listed = self.answers("ls of a namespace", move || names(&directory));
            assert!(listed.contains("follow"), "{listed:?}");
            let log = self.file(namespace, "log");
            let stat = self.answers("stat", move || fs::metadata(log).unwrap());
            assert_eq!(stat.len(), b"first\n".len() as u64);
        }
        let listed = self.answers("ls", {
            let root = root.clone();
            move || names(&root)
        });
        assert!(listed.contains("n3") && listed.contains("other"));
        for name in ["metrics", "status"] {
            let about = root.join(".immuta").join(name);
            let text = self.answers("the look at the mount", move || read(&about));
            assert!(!text.is_empty());
        }
        for (name, what) in [("0", "cat of a record"), ("log", "cat of a log")] {
            let file = self.file("other", name);
            let bytes = self.answers(what, move || read(&file));
            assert!(bytes.starts_with(b"first"));
        }
    }

    /// A reader parks, an append wakes it; in a namespace whose disk goes on.
    fn others_park_and_wake(&mut self) {
        let follow = self.file("other", "follow");
        let mut follower = Reader::start("cat", &[&follow]);
        follower.expect("a follower of another namespace", "first");
        follower.wait_until_blocked();
        for n in 0..20 {
            let (path, record) = (self.file("other", "append"), format!("free {n}"));
            let expected = record.clone();
            self.answers("an append to another namespace", move || {
                append(&path, record).unwrap()
            });
            follower = self.answers("a follower of another namespace", move || {
                follower.expect("it is woken", &expected);
                follower
            });
        }
        self.is_killed("a follower of another namespace", follower);
    }

    /// SIGKILL ends a reader although the disk stands still.
    fn is_killed(&mut self, who: &'static str, mut reader: Reader) {
        let pid = reader.pid();
        eventually("the reader waits, and can be killed", || {
            asks_mount(pid) && state(pid) == 'S'
        });
        let ended = self.answers("SIGKILL", move || {
            reader.child.kill().unwrap();
            wait(&mut reader.child)
        });
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{who}");
    }

    fn print_longest(&self, test: &str) {
        let (time, what) = self.longest;
        println!("{test}: the longest answer while the disk stood still: {time:?} ({what})");
    }
}

// > A namespace whose disk stands still, or takes long, holds up the programs that write to it. It does not hold
// > up programs that write to other namespaces or read what is in memory.
// > SIGKILL ends a process that waits in a read at once.
#[test]
fn sixteen_namespaces_whose_disk_stands_still_stop_no_other() {
    use Stalls::{Syncs, Writes};
    for (sync, what) in [("never", Writes), ("always", Writes), ("always", Syncs)] {
        let mut stalled = Stalled::new(&["--sync", sync]);
        let parked = Reader::start("cat", &[&stalled.file("n5", "follow")]);
        parked.wait_until_blocked();
        let standstill = stalled.disk.stall(&stalled_names(), what);
        let writes = stalled.write_to_stalled();
        stalled.others_go_on();
        stalled.others_park_and_wake();
        stalled.is_killed("a reader that is parked", parked);
        assert!(writes.iter().all(|write| !write.is_finished()));
        stalled.print_longest(&format!("--sync {sync}, {what:?}"));

        drop(standstill);
        for write in writes {
            write.join().unwrap();
        }
        for name in stalled_names() {
            let log = String::from_utf8(read(&stalled.file(&name, "log"))).unwrap();
            assert_eq!(log, format!("first\n{}\n", STALLED.join("\n")), "{name}");
        }
        stalled.mount.stop_and_verify();
    }
}

// > Bytes that are not in memory are read from the disk by threads for that purpose: a read that waits for the
// > disk holds up no other call, and a signal ends it.
// > A process that is killed while its `stat` or `open` waits for the disk is gone at once. Other signals do not
// > end these calls.
#[test]
fn readers_that_wait_for_a_disk_that_stands_still_stop_no_other_and_can_be_killed() {
    let mut stalled = Stalled::new(&["--sync", "never"]);
    // Should this fail, the disk goes on before the readers have to end.
    let mut readers = Vec::new();
    let standstill = stalled.disk.stall(&stalled_names(), Stalls::All);
    for name in stalled_names() {
        readers.push(Reader::start("cat", &[&stalled.file(&name, "log")]));
    }
    eventually("each of them waits for the disk", || {
        stalled.disk.waiting() >= NAMESPACES
    });
    stalled.others_go_on();
    stalled.others_park_and_wake();
    // One for each: of those who look up one name the kernel has all but the first wait in state D.
    for name in stalled_names() {
        readers.push(Reader::start("stat", &[&stalled.file(&name, "0")]));
    }
    let mut goes_on = Reader::start("cat", &[&stalled.file("n1", "log")]);
    for reader in readers {
        stalled.is_killed("a reader that waits for the disk", reader);
    }
    stalled.print_longest("reads");
    drop(standstill);
    assert_eq!(goes_on.line().as_deref(), Some("first"));
    goes_on.rest();
    stalled.mount.stop_and_verify();
}

/// The process that tells watchers waits for the lock of a `log` as long as a write to it waits for the disk.
#[test]
fn watchers_of_another_namespace_are_told_while_writes_to_log_stand_still() {
    let stalled = Stalled::new(&["--sync", "never"]);
    let stopped: Vec<String> = stalled_names().into_iter().take(4).collect();
    for name in &stopped {
        // Its directory's watchers are told within a second, of `log`, which is locked by then.
        append(&stalled.file(name, "append"), "second").unwrap();
    }
    let standstill = stalled.disk.stall(&stopped, Stalls::Writes);
    let writes: Vec<JoinHandle<()>> = (stopped.iter())
        .map(|name| {
            let path = stalled.file(name, "log");
            thread::spawn(move || append(&path, "third\n").unwrap())
        })
        .collect();
    eventually("each write stands still", || {
        stalled.disk.waiting() >= stopped.len()
    });
    let log = stalled.file("other", "log");
    let inotify = Inotify::init(InitFlags::empty()).unwrap();
    inotify.add_watch(&log, AddWatchFlags::IN_MODIFY).unwrap();
    // Longer than it takes until the others' directories are told of.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        append(&stalled.file("other", "append"), "told").unwrap();
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        assert_eq!(poll(&mut fds, timeout).unwrap(), 1);
        inotify.read_events().unwrap();
    }
    assert!(writes.iter().all(|write| !write.is_finished()));
    drop(standstill);
    for write in writes {
        write.join().unwrap();
    }
}
