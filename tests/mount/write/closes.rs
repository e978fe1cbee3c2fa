//! What a close finds out about its process, and whom that holds up.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::channel;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use support::{DEADLINE, Mount, eventually, shell_ok, stop, waits_in_mount};

/// More than there are threads in the daemon that look at descriptors.
const CLOSES: usize = 40;

// > When a process has more than 4096 descriptors, a line, a frame and an `append-file` end only at the last
// > close by any process, and no `close` reports the result.
#[test]
fn a_process_of_more_descriptors_than_are_looked_at_learns_nothing_and_loses_nothing() {
    let mount = Mount::new();
    let script = r#"
import os, resource, sys

resource.setrlimit(resource.RLIMIT_NOFILE, (10000, 10000))

def close_with(others, name, data):
    file = os.open(sys.argv[1] + name, os.O_WRONLY)
    duplicate = os.dup(file)
    os.write(file, data)
    for _ in range(others + 2 - (len(os.listdir('/proc/self/fd')) - 1)):
        os.dup(0)
    os.close(duplicate)
    try:
        os.close(file)
        return 'done'
    except OSError as e:
        return e.strerror

for others in (4096, 4097):
    for name, data in ('append-lines', b'line'), ('append-frames', b'frame'), ('append-file', b'file'):
        print(close_with(others, name, data), open(sys.argv[1] + 'count').read().strip(), flush=True)
"#;
    let said = shell_ok(r#"python3 -c "$1" "$2""#, &[&script, &mount.file("")]);
    // With the last close of all, which comes behind them, what is stored is seen a moment later.
    let known = said.lines().take(3).collect::<Vec<_>>();
    assert_eq!(known, ["done 1", "Invalid argument 1", "done 2"], "{said}");
    let unknown = said.lines().skip(3).map(|line| line.split(' ').next());
    assert!(unknown.eq([Some("done"); 3]), "{said}");
    eventually("all of it is stored", || mount.count() == 4);
    let log = std::fs::read_to_string(mount.file("log")).unwrap();
    assert_eq!(log, "line\nfile\nline\nfile\n");
    eventually("the daemon has said what is not", || {
        let line = "what was written to 'append-frames' ends in the middle of a frame";
        mount.messages().matches(line).count() == 2
    });
}

/// A stopped daemon goes on, whatever happens.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Stopped {
        stop(pid);
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// A thread does it. Returns its number.
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> Pid {
    let (send, thread) = channel();
    std::thread::spawn(move || {
        send.send(gettid()).unwrap();
        work();
    });
    thread.recv().unwrap()
}

/// The kernel shows a descriptor of `epoll` when it has its lock, and asks a file that is added whether it is ready while
/// it holds that: so no descriptor of this process can be looked at as long as the other daemon does not answer.
//
// > When a process has many descriptors, or the kernel takes long to show them, only its own closes are delayed,
// > and those of its user when eight such processes close at the same time. Closes of other users are not.
#[test]
fn regression_a_process_whose_descriptors_cannot_be_looked_at_holds_up_no_other() {
    let mount = Mount::new();
    let files: Vec<File> = (0..CLOSES)
        .map(|_| {
            let mut file = mount.appender("append-lines");
            file.write_all(b"a line of it").unwrap();
            file
        })
        .collect();
    let other = Mount::new();
    let follow = File::open(other.file("follow")).unwrap();
    let stopped = Stopped::new(other.pid());
    let adds = on_a_thread(move || {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(&follow, interest).unwrap();
    });
    eventually("the lock is held", || waits_in_mount(adds));
    let closes: Vec<Pid> = files
        .into_iter()
        .map(|file| on_a_thread(move || drop(file)))
        .collect();
    eventually("all closes wait", || {
        closes.iter().all(|thread| waits_in_mount(*thread))
    });
    assert_eq!(mount.count(), 0);

    let script = r#"printf 'of another' > "$1/append-lines"; cat "$1/count"; mkdir "$1/../made""#;
    let (send, said) = channel();
    let namespace = mount.file("");
    // On another thread: no signal ends a close that waits.
    on_a_thread(move || drop(send.send(shell_ok(script, &[&namespace]))));
    assert_eq!(said.recv_timeout(DEADLINE).as_deref(), Ok("1\n"));

    drop(stopped);
    eventually("all have closed", || mount.count() == 1 + CLOSES as u64);
}
