//! The programs that people have, on the files that wait and on the ones that end: each shows every record
//! once, also one that another process appends while it looks.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use support::{Mount, Reader, append, installed_tool};

/// Records of the longer of the two logs that every program is tried on.
const MANY: usize = 10_000;
/// Records that are appended while a program looks. It cannot have seen the later ones when it began.
const NEWS: usize = 3;

fn record(n: usize) -> String {
    format!("record {n}")
}

/// Two logs: `default` is empty, `full` has so many lines.
fn mount_with_an_empty_and_a_full_log(records: usize) -> Mount {
    let mount = Mount::new();
    let full = mount.path().join("full");
    fs::create_dir(&full).unwrap();
    let lines: String = (0..records).map(|n| record(n) + "\n").collect();
    let mut append_lines = File::create(full.join("append-lines")).unwrap();
    append_lines.write_all(lines.as_bytes()).unwrap();
    mount
}

/// The directories of the two logs, and how many records each has.
fn logs(mount: &Mount) -> [(PathBuf, usize); 2] {
    ["default", "full"].map(|name| {
        let directory = mount.path().join(name);
        let count = fs::read_to_string(directory.join("count")).unwrap();
        (directory, count.trim_end().parse().unwrap())
    })
}

/// A program that is running on a log.
struct Running {
    /// Program, options, file and log, for the message of a failure.
    name: String,
    reader: Reader,
    /// The first record that it is to print.
    first: usize,
}

/// Takes what each program is to print of what is there, then appends, one record after the other, and sees
/// that each program prints each of them, and nothing else.
fn everything_is_printed_once(directory: &Path, before: usize, mut running: Vec<Running>) {
    for Running {
        name,
        reader,
        first,
    } in &mut running
    {
        (*first..before).for_each(|n| reader.expect(name, &record(n)));
    }
    for n in before..before + NEWS {
        append(&directory.join("append"), record(n)).unwrap();
        for Running { name, reader, .. } in &mut running {
            reader.expect(name, &record(n));
        }
    }
    for Running { name, reader, .. } in running {
        assert_eq!(reader.rest(), Vec::<String>::new(), "{name}");
    }
}

/// Options of `tail`, and how many of the last records it then begins with.
type TailOptions = (&'static [&'static str], usize);
const TAIL_OPTIONS: [TailOptions; 3] = [(&["-f"], 10), (&["-F"], 10), (&["-n", "3", "-f"], 3)];
/// From the first record on. On `follow` GNU and BusyBox tail then only read, as `cat` does, and keep what
/// they have read in a buffer until it is full: docs/semantics.md says so, and what to use instead.
const FROM_THE_FIRST: TailOptions = (&["-n", "+1", "-f"], usize::MAX);
/// Polls ten times a second instead of once. The plain form is tested as well: it is what people type.
const OFTEN: TailOptions = (&["-s", "0.1", "-f"], 10);

/// Runs `tail` with each of the options on both logs.
fn tail_shows_each_record_once(tail: &[&Path], file: &str, more_options: &[TailOptions]) {
    let mount = mount_with_an_empty_and_a_full_log(MANY);
    for (directory, before) in logs(&mount) {
        let start = |(options, last): &TailOptions| {
            let mut command = Command::new(tail[0]);
            command
                .args(&tail[1..])
                .args(*options)
                .arg(directory.join(file));
            Running {
                name: format!("{command:?} on {before} records"),
                reader: Reader::from(command),
                first: before.saturating_sub(*last),
            }
        };
        let running = TAIL_OPTIONS.iter().chain(more_options).map(start).collect();
        everything_is_printed_once(&directory, before, running);
    }
}

/// GNU tail, which is `gnutail` where the Rust coreutils are the system's.
fn gnu_tail() -> &'static Path {
    let is_gnu = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("GNU coreutils"))
    };
    ["tail", "gnutail"]
        .into_iter()
        .find(is_gnu)
        .map(Path::new)
        .expect("GNU tail (mount-scripts/test.sh says what the tests need)")
}

// > A handle that has asked where the end is, with `lseek(SEEK_END)`, gets end of file there instead of waiting.
#[test]
fn gnu_tail_on_follow_shows_each_record_once() {
    tail_shows_each_record_once(&[gnu_tail()], "follow", &[OFTEN]);
}

// > `st_size` of `follow` and `log` is the number of bytes that can be read from them now.
#[test]
fn gnu_tail_on_log_shows_each_record_once() {
    tail_shows_each_record_once(&[gnu_tail()], "log", &[OFTEN, FROM_THE_FIRST]);
}

#[test]
fn busybox_tail_on_follow_shows_each_record_once() {
    tail_shows_each_record_once(&["busybox".as_ref(), "tail".as_ref()], "follow", &[]);
}

#[test]
fn busybox_tail_on_log_shows_each_record_once() {
    tail_shows_each_record_once(
        &["busybox".as_ref(), "tail".as_ref()],
        "log",
        &[FROM_THE_FIRST],
    );
}

#[test]
fn uutils_tail_on_follow_shows_each_record_once() {
    tail_shows_each_record_once(&[&installed_tool("tail")], "follow", &[FROM_THE_FIRST]);
}

#[test]
fn uutils_tail_on_log_shows_each_record_once() {
    tail_shows_each_record_once(&[&installed_tool("tail")], "log", &[FROM_THE_FIRST]);
}

/// Programs that read to the end and never ask where it is, as shell scripts over `$1`.
const READERS: &[&str] = &[
    r#"exec cat "$1""#,
    r#"exec cat < "$1""#,
    r#"exec tee < "$1""#,
    r#"exec grep --line-buffered record "$1""#,
    r#"exec busybox awk '{ print; fflush() }' "$1""#,
    r#"exec dd bs=512 status=none if="$1""#,
    r#"exec dd bs=1M status=none if="$1""#,
    r#"exec python3 -uc 'import sys
for line in open(sys.argv[1]): print(line, end="")' "$1""#,
    r#"exec python3 -uc 'import shutil, sys
shutil.copyfileobj(open(sys.argv[1], "rb", 0), sys.stdout.buffer)' "$1""#,
];

/// Runs each script on both logs.
fn scripts_print_each_record_of_follow_once(scripts: &[&str], records: usize) {
    let mount = mount_with_an_empty_and_a_full_log(records);
    for (directory, before) in logs(&mount) {
        let start = |script: &&str| Running {
            name: format!("{script} on {before} records"),
            reader: Reader::shell(script, &[&directory.join("follow")]),
            first: 0,
        };
        everything_is_printed_once(&directory, before, scripts.iter().map(start).collect());
    }
}

// > A read at the end of `follow` waits. It returns as soon as there is a record, with everything that is there
// > and fits.
// > `follow` and `log` show each record followed by a newline, unless it ends in one.
#[test]
fn programs_that_only_read_print_each_record_of_follow_once() {
    scripts_print_each_record_of_follow_once(READERS, MANY);
}

/// bash reads a block for each line and seeks back, sed reads byte by byte: a longer log would only take
/// longer.
#[test]
fn programs_that_read_in_small_pieces_print_each_record_of_follow_once() {
    let scripts = [
        r#"while IFS= read -r line; do printf '%s\n' "$line"; done < "$1""#,
        r#"exec sed -u s/record/record/ "$1""#,
    ];
    scripts_print_each_record_of_follow_once(&scripts, 200);
}

/// grep asks in the middle of a long file whether there is a hole (`lseek` with SEEK_HOLE). That counted as
/// asking for the end, and grep ended.
#[test]
fn regression_a_handle_that_asked_for_holes_and_data_waits_at_the_end() {
    let mount = Mount::new();
    mount.append("record 0\n");
    let script = r#"
import errno, os, sys
follow = os.open(sys.argv[1], os.O_RDONLY)
print(os.lseek(follow, 3, os.SEEK_DATA), os.lseek(follow, 0, os.SEEK_HOLE))
for whence in os.SEEK_DATA, os.SEEK_HOLE:
    try:
        os.lseek(follow, 9, whence)
    except OSError as e:
        print(errno.errorcode[e.errno])
os.lseek(follow, 0, os.SEEK_SET)
while data := os.read(follow, 100):
    os.write(1, data)
"#;
    let mut reader = Reader::python(script, &[&mount.file("follow")]);
    for line in ["3 9", "ENXIO", "ENXIO", "record 0"] {
        reader.expect("lseek", line);
    }
    for n in 1..=NEWS {
        mount.append(record(n));
        reader.expect("lseek", &record(n));
    }
}

/// Reads what there is, then waits with `sys.argv[2]`, never in `read`.
const WAITS_ELSEWHERE: &str = r#"
import os, select, sys
path, how = sys.argv[1:]
follow = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
epoll = select.epoll()
epoll.register(follow, select.EPOLLIN | (select.EPOLLET if how == "edge" else 0))
poll = select.poll()
poll.register(follow, select.POLLIN)
wait = {"level": epoll.poll, "edge": epoll.poll, "poll": poll.poll,
        "select": lambda: select.select([follow], [], [])}[how]
while True:
    try:
        while data := os.read(follow, 65536):
            os.write(1, data)
        sys.exit("end of file")
    except BlockingIOError:
        wait()
"#;

// > With O_NONBLOCK a read at the end of `follow` is EAGAIN.
// > `poll`, `select` and `epoll` tell when a read would not wait.
#[test]
fn programs_that_wait_in_poll_select_and_epoll_print_each_record_of_follow_once() {
    let mount = mount_with_an_empty_and_a_full_log(MANY);
    for (directory, before) in logs(&mount) {
        let start = |how: &str| Running {
            name: format!("{how} on {before} records"),
            reader: Reader::python(WAITS_ELSEWHERE, &[&directory.join("follow"), &how]),
            first: 0,
        };
        let running = ["level", "edge", "poll", "select"].map(start).into();
        everything_is_printed_once(&directory, before, running);
    }
}

/// BusyBox cat, the Rust coreutils' cat and `io::copy` first try to have the kernel copy (`sendfile`,
/// `splice`). It did, from the page cache, up to where the log ended at that moment, and they took that for
/// the end of the file.
#[test]
fn regression_programs_that_have_the_kernel_copy_wait_for_the_next_record() {
    let mount = mount_with_an_empty_and_a_full_log(MANY);
    let [_, (directory, before)] = logs(&mount);
    let follow = directory.join("follow");
    let kernel_copies = r#"
import os, sys
follow = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(follow).st_size
call = os.sendfile if sys.argv[2] == "sendfile" else lambda o, i, _, n: os.splice(i, o, n)
try:
    while call(1, follow, None, 65536):
        pass
    print("end of file")
except OSError as e:
    print(e.errno)
    while data := os.read(follow, 65536):
        os.write(1, data)
"#;
    let mut running = vec![
        Running {
            name: "busybox cat".into(),
            reader: Reader::start("busybox", &[&"cat", &follow]),
            first: 0,
        },
        Running {
            name: "sendfile, then read".into(),
            reader: Reader::python(kernel_copies, &[&follow, &"sendfile"]),
            first: 0,
        },
    ];
    running[1]
        .reader
        .expect("sendfile", &libc::EINVAL.to_string());
    everything_is_printed_once(&directory, before, running);
}

/// cat of GNU coreutils 9 tries `copy_file_range`, which the kernel did up to where the log ended at that
/// moment.
#[test]
fn regression_cat_from_one_log_to_another_waits_for_the_next_record() {
    let mount = mount_with_an_empty_and_a_full_log(MANY);
    let [(to, _), (from, before)] = logs(&mount);
    let mut cat = Reader::shell(
        r#"stat "$1" && exec cat "$1" > "$2""#,
        &[&from.join("follow"), &to.join("append-lines")],
    );
    for n in before..before + NEWS {
        append(&from.join("append"), record(n)).unwrap();
        support::eventually("the other log has it", || mount.count() == 1 + n as u64);
    }
    assert!(cat.child.try_wait().unwrap().is_none(), "cat has ended");
    assert_eq!(
        support::read(&to.join("log")),
        support::read(&from.join("log"))
    );
}

#[test]
fn a_rust_program_with_io_copy_passes_each_record_on() {
    let mut mount = mount_with_an_empty_and_a_full_log(MANY);
    for (directory, before) in logs(&mount) {
        let (from, mut to) = io::pipe().unwrap();
        let mut follow = File::open(directory.join("follow")).unwrap();
        let copy = thread::spawn(move || io::copy(&mut follow, &mut to));
        let mut lines = BufReader::new(from).lines().map(Result::unwrap);
        for n in 0..before + NEWS {
            if n >= before {
                append(&directory.join("append"), record(n)).unwrap();
            }
            assert_eq!(lines.next(), Some(record(n)));
        }
        // The end of the mount is the end of the file.
        assert!(mount.stop().success());
        let copied = copy.join().unwrap().unwrap();
        assert_eq!(lines.next(), None);
        mount.start();
        assert_eq!(copied, fs::metadata(directory.join("log")).unwrap().len());
    }
}
