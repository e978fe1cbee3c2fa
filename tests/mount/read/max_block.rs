//! `--max-block`, and the kernel's own limit: reads that have waited long enough are answered, and called again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::read;
use support::users::own_namespace;
use support::{Mount, Reader, append, eventually, shell_ok};

const LIMIT: Duration = Duration::from_millis(50);
const LIMITED: &[&str] = &["--max-block", "50ms"];

/// Names of the daemon's threads.
fn threads(mount: &Mount) -> Vec<String> {
    fs::read_dir(format!("/proc/{}/task", mount.pid()))
        .unwrap()
        .map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// One read(2), and how long it took.
fn timed_read(file: &File) -> (Result<usize, Errno>, Duration) {
    let start = Instant::now();
    let result = read(file, &mut [0; 1000]);
    (result, start.elapsed())
}

// > With `--max-block` a read that has waited that long is EINTR. Nothing is lost, and nothing comes twice when
// > the program reads again.
#[test]
fn a_read_that_has_waited_as_long_as_it_may_is_eintr() {
    let mount = Mount::with(LIMITED);
    for name in ["follow", "0", "from/end", "follow-frames"] {
        let file = File::open(mount.file(name)).unwrap();
        for _ in 0..3 {
            let (result, took) = timed_read(&file);
            assert_eq!(result, Err(Errno::EINTR), "{name}");
            assert!(took >= LIMIT, "{name} after {took:?}");
        }
    }
    let follow = File::open(mount.file("follow")).unwrap();
    mount.append("first");
    assert_eq!(timed_read(&follow).0, Ok(6));
    assert_eq!(timed_read(&follow).0, Err(Errno::EINTR));
    // Who does not wait is told so as before.
    let nonblocking = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(mount.file("1"));
    assert_eq!(timed_read(&nonblocking.unwrap()).0, Err(Errno::EAGAIN));
}

#[test]
fn many_reads_have_one_thread_that_is_there_only_with_a_limit() {
    let mount = Mount::new();
    assert!(!threads(&mount).contains(&"overdue".to_owned()));
    let mount = Mount::with(LIMITED);
    let before = threads(&mount);
    assert_eq!(before.iter().filter(|&name| name == "overdue").count(), 1);
    let follow = mount.file("follow");
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let file = File::open(&follow).unwrap();
                for _ in 0..5 {
                    assert_eq!(timed_read(&file).0, Err(Errno::EINTR));
                }
            });
        }
    });
    // Not one more kind of them: of those that serve the mount the last ones begin when it answers already, and a read
    // that finds a page locked is handed to one that waits for the disk.
    let kinds = |threads: Vec<String>| {
        let pools = ["read", "help", "store"];
        let others = threads
            .into_iter()
            .filter(|n| !pools.contains(&&**n) && !n.starts_with("fuser-"));
        others.collect::<BTreeSet<_>>()
    };
    let after = threads(&mount);
    assert_eq!(after.iter().filter(|&name| name == "overdue").count(), 1);
    assert!(after.len() < 50, "{after:?}");
    assert_eq!(kinds(after), kinds(before));
}

/// Reads so many lines, and prints each time that it was interrupted three times since the last one.
const COUNTS_EINTR: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.read.argtypes = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
follow, lines, interrupted = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]), 0
buffer, text = ctypes.create_string_buffer(1000), b""
while text.count(b"\n") < lines:
    got = libc.read(follow, buffer, 1000)
    if got < 0:
        assert ctypes.get_errno() == 4, os.strerror(ctypes.get_errno())
        interrupted += 1
        if interrupted == 3:
            print("three times", flush=True)
        continue
    text += buffer.raw[:got]
    interrupted = 0
sys.stdout.buffer.write(text)
"#;

#[test]
fn programs_go_on_and_see_each_record_once() {
    const RECORDS: usize = 10;
    let mut mount = Mount::with(LIMITED);
    let follow = mount.file("follow");
    let python = r#"
import os, sys
follow = os.open(sys.argv[1], os.O_RDONLY)
while data := os.read(follow, 1000):
    os.write(1, data)
"#;
    let mut readers = [
        ("cat", Reader::start("cat", &[&follow])),
        ("python", Reader::python(python, &[&follow])),
        (
            "bash",
            Reader::shell(
                r#"while read -r line; do echo "$line"; done <"$1""#,
                &[&follow],
            ),
        ),
    ];
    let count = RECORDS.to_string();
    let mut counter = Reader::python(COUNTS_EINTR, &[&follow, &count]);
    for n in 0..RECORDS {
        // Each has been interrupted since the last record: one of them says so, and the others wait as it does.
        counter.expect("the one that counts", "three times");
        let record = format!("record {n}");
        mount.append(&record);
        for (who, reader) in &mut readers {
            reader.expect(who, &record);
        }
    }
    for n in 0..RECORDS {
        counter.expect("the one that counts", &format!("record {n}"));
    }
    assert!(mount.stop().success());
    for (who, reader) in readers {
        assert!(reader.end(who).success(), "{who}");
    }
}

#[test]
fn records_that_race_with_the_limit_come_once() {
    const RECORDS: usize = 3000;
    let mut mount = Mount::with(&["--max-block", "1ms"]);
    let mut readers = [(); 3].map(|()| Reader::start("cat", &[&mount.file("follow")]));
    for n in 0..RECORDS {
        append(&mount.file("append"), format!("record {n}")).unwrap();
    }
    for reader in &mut readers {
        for n in 0..RECORDS {
            reader.expect("cat", &format!("record {n}"));
        }
    }
    assert!(mount.stop().success());
    for reader in readers {
        assert!(reader.end("cat").success());
    }
}

#[test]
fn a_limit_that_is_none_is_a_usage_error() {
    for (limit, what) in [
        ("0s", "shorter than 1ms"),
        ("10us", "shorter than 1ms"),
        ("soon", "not a duration such as 30s"),
    ] {
        let mount = Mount::idle(&["--max-block", limit]);
        let output = mount.command().output().unwrap();
        let message = format!(
            "immuta-fs: invalid value '{limit}' for '--max-block <DURATION>': {what} (immuta-fs --help tells how)\n"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), message);
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Where the kernel's settings seem to be others, one read of an empty log: prints errno and how long it took, and what
/// the daemon has said.
const WITH_SETTINGS: &str = r#"
import os, subprocess, sys, time
scratch, program, logs, mountpoint, default, most, *options = sys.argv[1:]
# Kernels before 6.16 have no such settings.
subprocess.run(["mount", "-t", "tmpfs", "none", "/proc/sys/fs"], check=True)
os.mkdir("/proc/sys/fs/fuse")
for name, value in (("default_request_timeout", default), ("max_request_timeout", most)):
    with open(f"/proc/sys/fs/fuse/{name}", "w") as file:
        print(value, file=file)
log = f"{scratch}/messages"
subprocess.run([program, "--daemon", "--log-file", log, *options, logs, mountpoint], check=True, stdout=subprocess.DEVNULL)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
follow = os.open(f"{mountpoint}/default/follow", os.O_RDONLY)
start = time.monotonic()
got = libc.read(follow, ctypes.create_string_buffer(10), 10)
print(got, ctypes.get_errno(), int((time.monotonic() - start) * 1000))
os.close(follow)
subprocess.run(["umount", mountpoint], check=True)
print(*(line.split("] ", 1)[1] for line in open(log) if "request" in line), sep="", end="")
"#;

// > There, a write, an fsync or a close that the disk holds up for longer ends the mount for all programs: an
// > early answer would be a lie about the record. The daemon warns of it when it starts.
// > Where the kernel ends mounts that leave a request unanswered (`fs.fuse.default_request_timeout`,
// > `fs.fuse.max_request_timeout`), a read that waits is EINTR after half of that time.
#[test]
fn the_kernels_own_limit_is_kept() {
    let warned = |setting: &str, time: &str| {
        format!(
            "the kernel ends this mount, for everybody, when the disk holds up a write, an fsync or a close for {time} (set \
             fs.fuse.{setting}_request_timeout to 0, or to more than the disk can take)\n"
        )
    };
    let told = |setting: &str, seconds: u64, half: &str| {
        let warning = warned(setting, &format!("{seconds}s"));
        format!(
            "{warning}the kernel ends a mount that leaves a request unanswered for {seconds}s (fs.fuse.{setting}_request_timeout): reads \
             that wait are answered with EINTR after {half}, and called again by most programs\n"
        )
    };
    let cases: [(u64, u64, &[&str], u64, String); 4] = [
        (1, 0, &[], 500, told("default", 1, "500ms")),
        (0, 2, &[], 1000, told("max", 2, "1s")),
        (60, 1, &["--max-block", "20s"], 500, told("max", 1, "500ms")),
        (
            60,
            0,
            &["--max-block", "200ms"],
            200,
            warned("default", "1m"),
        ),
    ];
    for (default, most, options, expected_ms, message) in cases {
        let mount = Mount::idle(&[]);
        let scratch = mount.path().parent().unwrap().to_owned();
        let (default, most) = (default.to_string(), most.to_string());
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&WITH_SETTINGS, &scratch, &env!("CARGO_BIN_EXE_immuta-fs")];
        let (logs, path) = (mount.logs(), mount.path());
        arguments.extend([&logs as &dyn AsRef<_>, &path, &default, &most]);
        arguments.extend(options.iter().map(|o| o as &dyn AsRef<_>));
        let said = shell_ok(
            &format!(r#"exec {} python3 -c "$@""#, own_namespace()),
            &arguments,
        );
        let (first, messages) = said.split_once('\n').unwrap();
        let numbers: Vec<i64> = first.split(' ').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers[..2], [-1, i64::from(libc::EINTR)]);
        assert!(numbers[2] >= expected_ms as i64, "{first}");
        assert_eq!(messages, message);
        eventually("it is unmounted", || !mount.is_mounted());
    }
}
