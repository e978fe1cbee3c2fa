//! Handles that do not wait in `read(2)`: those that ask for the end, have O_NONBLOCK, poll, or watch with
//! inotify.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::{Pid, gettid};
use support::files::APPEND_FILES;
use support::{DEADLINE, Mount, eventually, waits_in_mount};

/// Reads once; `None` is EAGAIN.
fn read_some(file: &mut File) -> Option<String> {
    let mut buffer = [0; 4096];
    match file.read(&mut buffer) {
        Ok(n) => Some(String::from_utf8(buffer[..n].to_vec()).unwrap()),
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => panic!("{e}"),
    }
}

fn bytes(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const END: &str = "";

fn open_nonblocking(file: &Path) -> File {
    File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file)
        .unwrap()
}

fn set_nonblocking(file: &File, on: bool) {
    let flags = if on {
        OFlag::O_NONBLOCK
    } else {
        OFlag::empty()
    };
    fcntl(file, FcntlArg::F_SETFL(flags)).unwrap();
}

/// Runs `call` on a thread of its own, and `after` once that waits: `is_waiting` tells it by the thread's id.
fn while_waiting<R: Send>(
    call: impl FnOnce() -> R + Send,
    is_waiting: impl Fn(Pid) -> bool,
    after: impl FnOnce(),
) -> R {
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        let waiter = scope.spawn(move || {
            send.send(gettid()).unwrap();
            call()
        });
        let thread = receive.recv().unwrap();
        eventually("the call waits", || {
            waiter.is_finished() || is_waiting(thread)
        });
        let early = waiter.is_finished();
        after();
        let result = waiter.join().unwrap();
        assert!(!early, "the call did not wait");
        result
    })
}

fn waits_in_poll(thread: Pid) -> bool {
    let wchan = fs::read_to_string(format!("/proc/{thread}/wchan")).unwrap_or_default();
    wchan.contains("poll")
}

// > A handle that has asked where the end is, with `lseek(SEEK_END)`, gets end of file there instead of waiting.
#[test]
fn a_handle_that_asked_for_the_end_gets_it_and_what_comes_later_and_another_one_waits() {
    let mount = Mount::new();
    let mut asks = File::open(mount.file("follow")).unwrap();
    let mut waits = File::open(mount.file("follow")).unwrap();
    assert_eq!(asks.seek(SeekFrom::End(0)).unwrap(), 0);
    assert_eq!(read_some(&mut asks), bytes(END));
    for record in ["one\n", "another\n"] {
        let append = || mount.append(record);
        let read = while_waiting(|| read_some(&mut waits), waits_in_mount, append);
        assert_eq!(read, bytes(record));
        assert_eq!(read_some(&mut asks), bytes(record));
        assert_eq!(read_some(&mut asks), bytes(END));
        assert_eq!(read_some(&mut asks), bytes(END));
        let size = fs::metadata(mount.file("follow")).unwrap().len();
        assert_eq!(asks.seek(SeekFrom::End(0)).unwrap(), size);
    }
    // It is the handle that has asked, so O_NONBLOCK changes nothing for it.
    set_nonblocking(&asks, true);
    assert_eq!(read_some(&mut asks), bytes(END));
}

/// stat(2) and fstat(2) do not ask where the end is: `cat` and Python call them before they read.
#[test]
fn a_handle_whose_size_was_looked_at_waits() {
    let mount = Mount::new();
    let mut follow = File::open(mount.file("follow")).unwrap();
    assert_eq!(follow.metadata().unwrap().len(), 0);
    let read = while_waiting(
        || {
            assert_eq!(follow.stream_position().unwrap(), 0);
            read_some(&mut follow)
        },
        waits_in_mount,
        || mount.append("record\n"),
    );
    assert_eq!(read, bytes("record\n"));
}

// > With O_NONBLOCK a read at the end of `follow` is EAGAIN.
#[test]
fn o_nonblock_counts_as_it_is_now_not_as_it_was_at_the_open() {
    let mount = Mount::new();
    let mut file = open_nonblocking(&mount.file("follow"));
    assert_eq!(read_some(&mut file), None);
    mount.append("record\n");
    assert_eq!(read_some(&mut file), bytes("record\n"));
    assert_eq!(read_some(&mut file), None);

    set_nonblocking(&file, false);
    let read = while_waiting(
        || read_some(&mut file),
        waits_in_mount,
        || mount.append("the next\n"),
    );
    assert_eq!(read, bytes("the next\n"));

    set_nonblocking(&file, true);
    assert_eq!(read_some(&mut file), None);
}

/// What poll(2) says of a file, now or when it says something.
fn events(file: &File, events: PollFlags, timeout: PollTimeout) -> PollFlags {
    let mut fds = [PollFd::new(file.as_fd(), events)];
    poll(&mut fds, timeout).unwrap();
    fds[0].revents().unwrap()
}

fn is_readable(file: &File) -> bool {
    events(file, PollFlags::POLLIN, PollTimeout::ZERO) == PollFlags::POLLIN
}

fn deadline() -> PollTimeout {
    PollTimeout::try_from(DEADLINE).unwrap()
}

// > `poll`, `select` and `epoll` tell when a read would not wait.
#[test]
fn follow_is_readable_when_there_is_something_where_the_last_read_ended() {
    let mount = Mount::new();
    let mut follow = File::open(mount.file("follow")).unwrap();
    assert!(!is_readable(&follow));
    mount.append("record\n");
    assert!(is_readable(&follow));
    assert!(is_readable(&follow), "it is a level");
    let mut first_half = [0; 3];
    follow.read_exact(&mut first_half).unwrap();
    assert!(is_readable(&follow));
    assert_eq!(read_some(&mut follow), bytes("ord\n"));
    assert!(!is_readable(&follow));
    // Another handle is at another place.
    assert!(is_readable(&File::open(mount.file("follow")).unwrap()));
}

// > After a read that did not begin where the one before it ended (`pread`, `lseek`), `poll` says readable until a read begins where the one before it ended.
#[test]
fn follow_is_readable_when_it_is_in_doubt_where_the_next_read_begins() {
    let mount = Mount::new();
    mount.append("first\n");
    mount.append("last\n");
    let mut follow = open_nonblocking(&mount.file("follow"));
    let mut buffer = [0; 100];
    // It used to be told by where the last read ended, which was not where the file's position is.
    assert_eq!(follow.read_at(&mut buffer, 6).unwrap(), 5);
    assert!(is_readable(&follow));
    assert_eq!(read_some(&mut follow), bytes("first\nlast\n"));
    assert!(is_readable(&follow));
    assert_eq!(read_some(&mut follow), None);
    assert!(!is_readable(&follow));
    // A seek is seen with the read that follows it.
    follow.seek(SeekFrom::Start(6)).unwrap();
    assert_eq!(read_some(&mut follow), bytes("last\n"));
    assert!(is_readable(&follow));
    assert_eq!(read_some(&mut follow), None);
    assert!(!is_readable(&follow));
}

#[test]
fn what_does_not_wait_is_always_readable_and_the_next_number_once_it_is_there() {
    let mount = Mount::new();
    let next = File::open(mount.file("0")).unwrap();
    assert!(!is_readable(&next));
    mount.append("record\n");
    for file in ["log", "count", "0"] {
        let mut file = File::open(mount.file(file)).unwrap();
        io::copy(&mut file, &mut io::sink()).unwrap();
        assert!(is_readable(&file));
    }
    assert!(is_readable(&next));
}

#[test]
fn append_files_are_always_writable() {
    let mount = Mount::new();
    for name in APPEND_FILES.iter().chain(&["log"]) {
        let file = mount.appender(name);
        let flags = PollFlags::POLLIN | PollFlags::POLLOUT;
        assert_eq!(events(&file, flags, PollTimeout::ZERO), PollFlags::POLLOUT);
    }
}

#[test]
fn poll_wakes_on_an_append_on_the_removal_of_the_namespace_and_at_the_end_of_the_mount() {
    let mount = Mount::new();
    let namespace = mount.path().join("short-lived");
    fs::create_dir(&namespace).unwrap();
    let removed = File::open(namespace.join("follow")).unwrap();
    let appended = File::open(mount.file("follow")).unwrap();
    let next = File::open(mount.file("0")).unwrap();

    let readable = |file: &File, after: &dyn Fn()| {
        let wait = || events(file, PollFlags::POLLIN, deadline());
        assert_eq!(while_waiting(wait, waits_in_poll, after), PollFlags::POLLIN);
    };
    readable(&removed, &|| fs::remove_dir(&namespace).unwrap());
    readable(&appended, &|| mount.append("record\n"));
    assert!(is_readable(&next));
    drop((removed, next));

    // Whoever polls at the end is told, and then reads end of file, while the mount is held by the open file
    // only.
    let mut last = appended;
    assert_eq!(read_some(&mut last), bytes("record\n"));
    let unmount = || {
        let path = mount.path();
        let umount = Command::new("umount")
            .arg("-l")
            .arg(&path)
            .output()
            .unwrap();
        if !umount.status.success() {
            let mut helper = Command::new("fusermount3");
            assert!(
                helper
                    .args(["-u", "-z"])
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    };
    readable(&last, &unmount);
    assert_eq!(read_some(&mut last), bytes(END));
}

#[test]
fn edge_triggered_epoll_has_an_event_for_each_growth() {
    let mount = Mount::new();
    let mut follow = open_nonblocking(&mount.file("follow"));
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let interest = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 7);
    epoll.add(&follow, interest).unwrap();
    let next_event = || {
        let mut events = [EpollEvent::empty()];
        let timeout = EpollTimeout::try_from(DEADLINE).unwrap();
        assert_eq!(epoll.wait(&mut events, timeout).unwrap(), 1);
        assert_eq!(
            (events[0].events(), events[0].data()),
            (EpollFlags::EPOLLIN, 7)
        );
    };
    // Whether or not the reader has read what the event before was about.
    for round in 0..20 {
        mount.append("record\n");
        next_event();
        if round % 3 == 0 {
            while read_some(&mut follow).is_some() {}
        }
    }
}

#[test]
fn a_watcher_with_inotify_learns_of_appends_while_a_handle_is_open_that_asked_for_the_end() {
    let mount = Mount::new();
    for name in ["follow", "log"] {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let mut file = File::open(mount.file(name)).unwrap();
        inotify
            .add_watch(
                &mount.file(name),
                AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MODIFY,
            )
            .unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        for n in 0..10 {
            let record = format!("{n}\n");
            mount.append(&record);
            let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, deadline()).unwrap(), 1, "{name} {n}");
            inotify.read_events().unwrap();
            assert_eq!(read_some(&mut file), Some(record));
        }
    }
}
