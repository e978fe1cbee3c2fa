//! Readers that wait in `read(2)`: what they cost, what ends them, and that nothing is lost or repeated on
//! the way.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use support::{Mount, Reader, append, eventually, state, wait, waits_in_mount};

/// `cat` without output, and with SIGINT as the kernel sets it: whatever runs the tests may ignore it.
struct Cat(Child);

impl Cat {
    fn start(file: &Path) -> Cat {
        let mut command = Command::new("cat");
        command
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: sigaction(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                signal(Signal::SIGHUP, SigHandler::SigDfl)?;
                Ok(())
            });
        }
        Cat(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many threads a daemon has beside those that take the kernel's messages: the last of these may begin late.
fn threads(daemon: Pid) -> usize {
    fs::read_dir(format!("/proc/{daemon}/task"))
        .unwrap()
        // A thread that has ended meanwhile has no name.
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|name| !name.starts_with("fuser-"))
        .count()
}

// > SIGKILL ends a process that waits in a read at once.
// > A read that waits gets end of file when its namespace is removed, and when the mount ends.
// > SIGTERM and SIGINT end the daemon: reads that wait get end of file, the logs are synced, the mount point is free, and its exit status is 0.
#[test]
fn a_thousand_readers_wait_without_a_thread_and_each_signal_ends_one() {
    const READERS: usize = 1000;
    const EACH: usize = 50;
    let mut mount = Mount::new();
    mount.append("first\n");
    let threads_before = threads(mount.pid());
    let follow = mount.file("follow");
    let mut readers: Vec<Cat> = (0..READERS).map(|_| Cat::start(&follow)).collect();
    eventually("all of them wait", || {
        readers.iter().all(|cat| waits_in_mount(cat.pid()))
    });
    // In state D each of them would count into the load average.
    let states: String = readers.iter().map(|cat| state(cat.pid())).collect();
    assert_eq!(states, "S".repeat(READERS));
    // A thread of a pool that had nothing more to do may have ended since.
    let threads = threads(mount.pid());
    assert!(
        threads <= threads_before,
        "{threads} threads, {threads_before} before {READERS} readers came"
    );

    use Signal::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1};
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGKILL, SIGUSR1] {
        let mut ended: Vec<_> = readers.drain(..EACH).collect();
        ended
            .iter()
            .for_each(|cat| kill(cat.pid(), signal).unwrap());
        for cat in &mut ended {
            assert_eq!(wait(&mut cat.0).signal(), Some(signal as i32));
        }
        // Each of the others is still there, and waits.
        assert!(
            readers.iter().all(|cat| state(cat.pid()) == 'S'),
            "{signal}"
        );
    }

    assert!(mount.stop().success());
    assert!(!mount.is_mounted());
    for cat in &mut readers {
        assert_eq!(wait(&mut cat.0).code(), Some(0));
    }
}

/// Prints what it reads, and a line for each SIGUSR1.
const WITH_HANDLER: &str = r#"
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"signal\n"))
follow = os.open(sys.argv[1], os.O_RDONLY)
while data := os.read(follow, 65536):
    os.write(1, data)
"#;

// > A signal ends a waiting read with EINTR. Nothing is lost, and nothing comes twice when the program reads
// > again.
#[test]
fn after_a_signal_that_is_handled_the_read_goes_on() {
    let mut mount = Mount::new();
    let mut reader = Reader::python(WITH_HANDLER, &[&mount.file("follow")]);
    let mut records = 0..;
    let mut append_and_expect = |reader: &mut Reader| {
        let record = format!("record {}", records.next().unwrap());
        mount.append(&record);
        reader.expect("python", &record);
    };
    append_and_expect(&mut reader);
    for _ in 0..20 {
        reader.wait_until_blocked();
        kill(reader.pid(), Signal::SIGUSR1).unwrap();
        reader.expect("python", "signal");
        append_and_expect(&mut reader);
    }
    assert!(mount.stop().success());
    assert!(reader.end("python").success());
}

#[test]
fn a_record_that_comes_together_with_a_signal_is_read_once() {
    const ROUNDS: usize = 300;
    let mut mount = Mount::new();
    let mut reader = Reader::python(WITH_HANDLER, &[&mount.file("follow")]);
    mount.append("begin");
    reader.expect("python", "begin");
    for round in 0..ROUNDS {
        let record = format!("record {round}");
        let pid = reader.pid();
        // Either may be first.
        thread::scope(|scope| {
            scope.spawn(|| mount.append(&record));
            scope.spawn(|| kill(pid, Signal::SIGUSR1).unwrap());
        });
        // Python runs its handler between two of its own steps. A signal that comes behind the last look and
        // in front of the call is handled when the call returns: so there is one more record to return for.
        let after = format!("after {round}");
        mount.append(&after);
        let mut lines = [(); 3].map(|()| reader.line().unwrap());
        lines.sort();
        assert_eq!(lines, [after.as_str(), record.as_str(), "signal"]);
    }
    assert!(mount.stop().success());
    assert!(reader.end("python").success());
}

/// Has a timer interrupt it all the time. Prints what was wrong with the lines, or that nothing was.
const INTERRUPTED_ALL_THE_TIME: &str = r#"
import os, signal, sys
follow, last, interval = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]), float(sys.argv[3])
signals = 0
def handler(*_):
    global signals
    signals += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, interval, interval)
rest, number = b"", 0
while number <= last:
    data = os.read(follow, 65536)
    if not data:
        sys.exit("end of file")
    *lines, rest = (rest + data).split(b"\n")
    for line in lines:
        if line != b"line %d" % number:
            sys.exit(f"expected line {number}, got {line}")
        number += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print("whole" if signals and not rest else f"{signals} signals, {rest} left")
"#;

#[test]
fn interrupts_that_race_with_appends_lose_and_repeat_nothing() {
    const LINES: usize = 20_000;
    let mount = Mount::new();
    let last = (LINES - 1).to_string();
    let mut readers: Vec<_> = ["0.0002", "0.0003", "0.0007"]
        .iter()
        .map(|interval| {
            Reader::python(
                INTERRUPTED_ALL_THE_TIME,
                &[&mount.file("follow"), &last, interval],
            )
        })
        .collect();
    readers.iter().for_each(Reader::wait_until_blocked);
    let mut file = mount.appender("append");
    for n in 0..LINES {
        io::Write::write_all(&mut file, format!("line {n}\n").as_bytes()).unwrap();
    }
    for reader in &mut readers {
        reader.expect("the reader with a timer", "whole");
    }
}

/// GNU cat, as most programs, calls read again after it was stopped and continued.
#[test]
fn cat_that_is_stopped_and_continued_goes_on() {
    let mount = Mount::new();
    let mut cat = Reader::start("cat", &[&mount.file("follow")]);
    for round in 0..10 {
        cat.wait_until_blocked();
        kill(cat.pid(), Signal::SIGSTOP).unwrap();
        eventually("cat is stopped", || state(cat.pid()) == 'T');
        let in_time = format!("appended while it is stopped, round {round}");
        if round % 2 == 0 {
            mount.append(&in_time);
        }
        kill(cat.pid(), Signal::SIGCONT).unwrap();
        if round % 2 == 0 {
            cat.expect("cat", &in_time);
        }
        cat.wait_until_blocked();
        mount.append(format!("appended afterwards, round {round}"));
        cat.expect("cat", &format!("appended afterwards, round {round}"));
    }
    assert_eq!(cat.rest(), Vec::<String>::new());
}

// > The file of the next record can be opened before that record is written: a read waits for the record, then
// > the file ends behind it.
// > A number above the next record's is ENOENT.
#[test]
fn readers_of_the_next_number_wait_for_that_record_and_get_no_more() {
    let mount = Mount::new();
    for (n, record) in ["whole", "with a newline\n", "\n", "two\nlines", "\0"]
        .iter()
        .enumerate()
    {
        let next = mount.file(&n.to_string());
        let cats = [(); 2].map(|()| Reader::start("cat", &[&next]));
        cats.iter().for_each(Reader::wait_until_blocked);
        let above = File::open(mount.file(&(n + 1).to_string())).unwrap_err();
        assert_eq!(above.kind(), ErrorKind::NotFound);
        mount.append(record);
        for mut cat in cats {
            for line in record.split_terminator('\n') {
                cat.expect("cat", line);
            }
            assert!(cat.end("cat").success());
        }
        assert_eq!(support::read(&next), record.as_bytes());
    }
}

#[test]
fn the_next_number_is_eagain_for_who_does_not_wait() {
    let mount = Mount::new();
    let mut next = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(mount.file("0"))
        .unwrap();
    let mut buffer = [0; 100];
    let nothing = next.read(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    mount.append("record");
    assert_eq!(next.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"record");
    assert_eq!(next.read(&mut buffer).unwrap(), 0);
}

// > `mkdir` in the root makes a namespace. `rmdir` removes a namespace without records; of a namespace with
// > records it is ENOTEMPTY.
#[test]
fn readers_of_a_removed_namespace_get_end_of_file() {
    let mount = Mount::new();
    let namespace = mount.path().join("short-lived");
    fs::create_dir(&namespace).unwrap();
    let cats = ["follow", "0"].map(|file| Reader::start("cat", &[&namespace.join(file)]));
    cats.iter().for_each(Reader::wait_until_blocked);
    fs::remove_dir(&namespace).unwrap();
    for cat in cats {
        assert!(cat.end("cat").success());
    }
    mount.append("record");
    let not_empty = fs::remove_dir(mount.path().join("default")).unwrap_err();
    assert_eq!(not_empty.raw_os_error(), Some(libc::ENOTEMPTY));
}

/// As a user does it: who is not root needs the helper.
fn unmount_lazily(path: &Path) {
    let umount = Command::new("umount").arg("-l").arg(path).output().unwrap();
    if !umount.status.success() {
        let helper = Command::new("fusermount3")
            .args(["-u", "-z"])
            .arg(path)
            .status();
        assert!(helper.unwrap().success(), "{umount:?}");
    }
}

// > `umount -l` ends the reads that wait.
#[test]
fn umount_l_ends_the_reads_that_wait_and_the_daemon() {
    let mut mount = Mount::new();
    mount.append("record");
    let mut cats = ["follow", "1"].map(|file| Reader::start("cat", &[&mount.file(file)]));
    cats.iter().for_each(Reader::wait_until_blocked);
    unmount_lazily(&mount.path());
    cats[0].expect("cat follow", "record");
    for cat in cats {
        assert!(cat.end("cat").success());
    }
    assert!(mount.wait().success());
}

#[test]
fn when_the_daemon_is_killed_a_read_that_waits_is_an_error_at_once() {
    let mut mount = Mount::new();
    let mut reader = Reader::python(
        r#"
import os, sys
try:
    print(os.read(os.open(sys.argv[1], os.O_RDONLY), 100))
except OSError as e:
    print(e.errno)
"#,
        &[&mount.file("follow")],
    );
    reader.wait_until_blocked();
    mount.kill();
    let errno: i32 = reader.line().unwrap().parse().unwrap();
    assert!([libc::ECONNABORTED, libc::ENOTCONN].contains(&errno));
}

// > Any number of processes can append at the same time: no record is mixed, torn or lost, and the records of
// > each writer keep their order.
// > However many readers wait on a namespace, each of them gets every byte, and a slow or stopped reader holds
// > up neither the writers nor the other readers.
#[test]
fn followers_that_begin_while_three_writers_append_all_see_the_same_bytes() {
    const FOLLOWERS: usize = 300;
    const WRITERS: usize = 3;
    const RECORDS: usize = 2000;
    let mount = Mount::new();
    let line = |n: usize| format!("{n:04} {}\n", "x".repeat(n % 50));
    let total: usize = (0..RECORDS).map(|n| line(n).len()).sum();
    let (follow, next) = (mount.file("follow"), AtomicUsize::new(0));
    let hashes = thread::scope(|scope| {
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|i| {
                let follow = &follow;
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, move || {
                        let mut file = File::open(follow).unwrap().take(total as u64);
                        // Each cuts the text elsewhere.
                        let mut buffer = vec![0; 1000 + 37 * i];
                        let mut hash = Sha256::new();
                        loop {
                            match file.read(&mut buffer).unwrap() {
                                0 => return hash.finalize(),
                                n => hash.update(&buffer[..n]),
                            }
                        }
                    })
                    .unwrap()
            })
            .collect();
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= RECORDS {
                        return;
                    }
                    append(&mount.file("append"), line(n)).unwrap();
                }
            });
        }
        followers
            .into_iter()
            .map(|f| f.join().unwrap())
            .collect::<Vec<_>>()
    });
    let log = support::read(&mount.file("log"));
    let mut lines: Vec<_> = log.split_inclusive(|&b| b == b'\n').collect();
    lines.sort_unstable();
    assert!(
        lines.iter().copied().eq((0..RECORDS)
            .map(line)
            .collect::<Vec<_>>()
            .iter()
            .map(|l| l.as_bytes()))
    );
    let expected = Sha256::digest(&log);
    let wrong = hashes.iter().filter(|&&hash| hash != expected).count();
    assert_eq!(wrong, 0, "of {FOLLOWERS} followers");
}

/// More followers than an append answers itself, a third of them stopped while the others wait for the records.
#[test]
fn followers_that_are_stopped_hold_up_nobody_and_get_every_byte_when_they_go_on() {
    const FOLLOWERS: usize = 45;
    const RECORDS: usize = 300;
    let mount = Mount::new();
    let records: Vec<_> = (0..RECORDS).map(|n| format!("record {n}")).collect();
    let total: usize = records.iter().map(|record| record.len() + 1).sum();
    let start = |_| Reader::start("head", &[&"-c", &total.to_string(), &mount.file("follow")]);
    let mut followers: Vec<_> = (0..FOLLOWERS).map(start).collect();
    followers.iter().for_each(Reader::wait_until_blocked);
    let (stopped, running) = followers.split_at_mut(FOLLOWERS / 3);
    for follower in &*stopped {
        kill(follower.pid(), Signal::SIGSTOP).unwrap();
        eventually("it is stopped", || state(follower.pid()) == 'T');
    }
    for record in &records {
        mount.append(record);
    }
    let expect_all = |follower: &mut Reader| {
        for record in &records {
            follower.expect("head", record);
        }
    };
    running.iter_mut().for_each(expect_all);
    for follower in &*stopped {
        assert_eq!(state(follower.pid()), 'T');
        kill(follower.pid(), Signal::SIGCONT).unwrap();
    }
    stopped.iter_mut().for_each(expect_all);
    for follower in followers {
        assert!(follower.end("head").success());
    }
}
