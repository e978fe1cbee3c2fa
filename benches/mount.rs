//! What a user feels of a mount, each figure beside what the machine itself does in the same run.
//!
//! `cargo bench --bench mount` prints a table. Needs the rights to mount. Results that were kept are under
//! `benches/results/`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Mount, eventually, state, waits_in_mount};

fn main() {
    println!("| what | median | beside it | median | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    wake();
    append();
    echo_loop();
    read_log();
    list();
    signals();
    fan_out();
}

fn row(what: &str, ours: Duration, rival: &str, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("| {what} | {ours:.1?} | {rival} | {theirs:.1?} | {ratio:.2} |");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// From a write until another process has the record, through `cat follow` and a pipe. From its beginning: with two
/// cores the reader may have it before the write returns.
fn wake() {
    const ROUNDS: usize = 1000;
    let mount = Mount::new();
    let mut reader = Command::new("cat")
        .arg(mount.file("follow"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut follow = reader.stdout.take().unwrap();
    let mut append = File::options()
        .append(true)
        .open(mount.file("append"))
        .unwrap();
    let mut buffer = [0; 64];
    let mut ours = Vec::new();
    for _ in 0..ROUNDS {
        eventually("the reader waits", || {
            waits_in_mount(Pid::from_raw(reader.id() as i32))
        });
        let start = Instant::now();
        append.write_all(b"ping\n").unwrap();
        assert_eq!(follow.read(&mut buffer).unwrap(), 5);
        ours.push(start.elapsed());
    }
    reader.kill().unwrap();
    reader.wait().unwrap();

    // The same road without the mount: a pipe into `cat`, and a pipe out of it.
    let mut cat = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        eventually("cat waits", || state(Pid::from_raw(cat.id() as i32)) == 'S');
        let start = Instant::now();
        input.write_all(b"ping\n").unwrap();
        assert_eq!(output.read(&mut buffer).unwrap(), 5);
        theirs.push(start.elapsed());
    }
    drop(input);
    cat.wait().unwrap();
    row(
        "a write to `append`, until `cat follow` has written it",
        median(ours),
        "a pipe into `cat`",
        median(theirs),
    );
}

fn append() {
    const WRITES: usize = 5000;
    let mount = Mount::new();
    for size in [100, 1024, 4096] {
        let data = vec![b'x'; size];
        let mut append = File::options()
            .append(true)
            .open(mount.file("append"))
            .unwrap();
        let mut plain = File::options()
            .create(true)
            .append(true)
            .open(mount.logs().join(".plain"))
            .unwrap();
        let time = |file: &mut File| {
            let one = |_| {
                let start = Instant::now();
                file.write_all(&data).unwrap();
                start.elapsed()
            };
            median((0..WRITES).map(one).collect())
        };
        let (ours, theirs) = (time(&mut append), time(&mut plain));
        row(
            &format!("a write of {size} B to `append`"),
            ours,
            "to a plain file (O_APPEND)",
            theirs,
        );
    }
}

fn echo_loop() {
    const ECHOES: usize = 2000;
    let mount = Mount::new();
    let time = |target: &std::path::Path| {
        let script = format!("for ((i = 0; i < {ECHOES}; i++)); do echo msg >> \"$1\"; done");
        let start = Instant::now();
        assert!(
            Command::new("bash")
                .args(["-c", &script, "bash"])
                .arg(target)
                .status()
                .unwrap()
                .success()
        );
        start.elapsed() / ECHOES as u32
    };
    let ours = time(&mount.file("append"));
    let theirs = time(&mount.logs().join(".plain"));
    row(
        "`echo msg >> append` in a bash loop (mean)",
        ours,
        "`echo msg >> file`",
        theirs,
    );
}

fn read_log() {
    const RECORDS: usize = 200_000;
    let mount = Mount::new();
    {
        let mut lines = File::options()
            .append(true)
            .open(mount.file("append-lines"))
            .unwrap();
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        let block = line.repeat(512);
        for _ in 0..RECORDS.div_ceil(512) {
            lines.write_all(&block).unwrap();
        }
    }
    let plain = mount.logs().join(".plain");
    fs::copy(mount.file("log"), &plain).unwrap();
    let time = |path: &std::path::Path| {
        let one = |_| {
            let start = Instant::now();
            let mut file = File::open(path).unwrap();
            let mut buffer = vec![0; 128 << 10];
            while file.read(&mut buffer).unwrap() > 0 {}
            start.elapsed()
        };
        median((0..5).map(one).collect())
    };
    let ours = time(&mount.file("log"));
    let theirs = time(&plain);
    row(
        &format!("reading `log`, {RECORDS} records of 1 KiB, by 128 KiB"),
        ours,
        "a plain file in the page cache",
        theirs,
    );
}

fn list() {
    const RECORDS: usize = 1_000_000;
    let mount = Mount::new();
    {
        let mut lines = File::options()
            .append(true)
            .open(mount.file("append-lines"))
            .unwrap();
        let block = b"x\n".repeat(100_000);
        for _ in 0..RECORDS / 100_000 {
            lines.write_all(&block).unwrap();
        }
    }
    let start = Instant::now();
    let listed = Command::new("ls")
        .arg("-f")
        .arg(mount.path().join("default"))
        .output()
        .unwrap()
        .stdout;
    let ours = start.elapsed();
    assert!(listed.iter().filter(|&&b| b == b'\n').count() > RECORDS);
    println!(
        "| `ls -f` of {RECORDS} records | {ours:.1?} | the mark | 1.0s | {:.2} |",
        ours.as_secs_f64()
    );
}

/// How long a signal takes to end a reader that waits, among a thousand of them.
fn signals() {
    const READERS: usize = 1000;
    let mut mount = Mount::new();
    let threads = |mount: &Mount| {
        fs::read_dir(format!("/proc/{}/task", mount.pid()))
            .unwrap()
            .count()
    };
    let before = threads(&mount);
    let start_reader = || {
        Command::new("cat")
            .arg(mount.file("follow"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut readers: Vec<Child> = (0..READERS).map(|_| start_reader()).collect();
    for reader in &readers {
        eventually("the reader waits", || {
            waits_in_mount(Pid::from_raw(reader.id() as i32))
        });
    }
    // A pool may have begun a thread or two meanwhile.
    assert!(
        threads(&mount) < before + READERS / 10,
        "a reader that waits holds a thread"
    );
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let mut times = Vec::new();
        for mut reader in readers.drain(..100) {
            let start = Instant::now();
            kill(Pid::from_raw(reader.id() as i32), signal).unwrap();
            reader.wait().unwrap();
            times.push(start.elapsed());
        }
        let blocked = readers.len();
        println!(
            "| {signal} to a reader that waits, until it has ended, {blocked} others waiting | {:.1?} | | | |",
            median(times)
        );
    }
    let start = Instant::now();
    assert!(mount.stop().success());
    println!(
        "| SIGTERM to the daemon with {} readers waiting, until its exit | {:.1?} | | | |",
        readers.len(),
        start.elapsed()
    );
    let statuses = readers.iter_mut().map(|r| r.wait().unwrap());
    assert!(
        statuses.into_iter().all(|s| s.success()),
        "a reader did not get end of file"
    );
}

/// How fast one process appends while others follow the namespace, in appends a second, as a share of what it does
/// beside one follower; and beside many who wait for another namespace.
fn fan_out() {
    const FOLLOWERS: [usize; 4] = [1, 10, 100, 1000];
    let mut beside_one = None;
    for followers in FOLLOWERS {
        let mount = Mount::new();
        let cats: Vec<Cat> = (0..followers)
            .map(|_| Cat::start(&mount.file("follow")))
            .collect();
        for cat in &cats {
            eventually("the follower waits", || waits_in_mount(cat.pid()));
        }
        let rate = append_rate(&mount);
        rate_row(
            &format!("{followers} `cat follow`"),
            rate,
            *beside_one.get_or_insert(rate),
        );
    }
    idle_waiters();
}

/// Those who wait for another namespace than the one that is written to.
fn idle_waiters() {
    const POLLERS: usize = 8000;
    const READERS: usize = 4000;
    let mount = Mount::new();
    let mut alone = vec![append_rate(&mount)];
    let other = mount.path().join("other");
    fs::create_dir(&other).unwrap();
    let (follow, since) = (
        other.join("follow"),
        other.join("since/2099-01-01T00:00:00Z"),
    );
    // Programs of their own: as many open files as one process may have.
    let pollers: Vec<Waiters> = (0..POLLERS / 500)
        .map(|_| Waiters::poll(&follow, 500))
        .collect();
    let beside_pollers = append_rate(&mount);
    drop(pollers);
    alone.push(append_rate(&mount));
    let readers: Vec<Waiters> = (0..READERS / 500)
        .map(|_| Waiters::read(&since, 500))
        .collect();
    let beside_readers = append_rate(&mount);
    drop(readers);
    alone.push(append_rate(&mount));
    let alone = middle(alone);
    rate_row(
        &format!("{POLLERS} who poll another namespace"),
        beside_pollers,
        alone,
    );
    rate_row(
        &format!("{READERS} who read a far `since/` of another namespace"),
        beside_readers,
        alone,
    );
}

fn rate_row(beside: &str, rate: f64, mark: f64) {
    println!(
        "| appends/s beside {beside} | {rate:.0} | the mark | {mark:.0} | {:.2} |",
        rate / mark
    );
}

/// Appends of 100 B a second by one process: the median of nine times a quarter of a second.
fn append_rate(mount: &Mount) -> f64 {
    let mut append = mount.appender("append");
    let record = [[b'x'; 99].as_slice(), b"\n"].concat();
    let mut rate = || {
        let start = Instant::now();
        let mut appends = 0;
        while start.elapsed() < Duration::from_millis(250) {
            append.write_all(&record).unwrap();
            appends += 1;
        }
        f64::from(appends) / start.elapsed().as_secs_f64()
    };
    middle((0..9).map(|_| rate()).collect())
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// `cat` without output. Killed when dropped.
struct Cat(Child);

impl Cat {
    fn start(file: &std::path::Path) -> Cat {
        let mut cat = Command::new("cat");
        Cat(cat.arg(file).stdout(Stdio::null()).spawn().unwrap())
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

/// A Python program that waits on a file many times over. Killed when dropped.
struct Waiters(#[allow(dead_code)] support::Reader);

const POLL: &str = r#"
import os, select, sys
epoll = select.epoll()
files = [os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK) for _ in range(int(sys.argv[2]))]
for file in files:
    epoll.register(file, select.EPOLLIN)
print("ready")
epoll.poll()
"#;

const READ: &str = r#"
import os, sys, threading
threading.stack_size(64 << 10)
files = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(int(sys.argv[2]))]
for file in files:
    threading.Thread(target=os.read, args=(file, 100)).start()
print("ready")
"#;

impl Waiters {
    fn poll(file: &std::path::Path, many: usize) -> Waiters {
        Waiters::start(POLL, file, many)
    }

    fn read(file: &std::path::Path, many: usize) -> Waiters {
        Waiters::start(READ, file, many)
    }

    fn start(script: &str, file: &std::path::Path, many: usize) -> Waiters {
        let many = many.to_string();
        let mut python = support::Reader::python(script, &[&file, &many]);
        python.expect("python", "ready");
        Waiters(python)
    }
}
