//! What a user feels of a mount, each figure beside what the machine itself does in the same run.
//!
//! `cargo bench --bench mount` prints a table. Needs the rights to mount. Results that were kept are under
//! `benches/results/`.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Mount, eventually, state, waits_in_mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn main() {
    println!("| what | median | beside it | median | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    wake();
    append();
    echo_loop();
    read_log();
    list();
    signals();
}

fn row(what: &str, ours: Duration, rival: &str, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("| {what} | {ours:.1?} | {rival} | {theirs:.1?} | {ratio:.2} |");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// From the return of a write until another process has the record, through `cat follow` and a pipe.
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
        append.write_all(b"ping\n").unwrap();
        let start = Instant::now();
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
        input.write_all(b"ping\n").unwrap();
        let start = Instant::now();
        assert_eq!(output.read(&mut buffer).unwrap(), 5);
        theirs.push(start.elapsed());
    }
    drop(input);
    cat.wait().unwrap();
    row(
        "write to `append` returned, until `cat follow` has written it",
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
    assert_eq!(
        threads(&mount),
        before,
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
