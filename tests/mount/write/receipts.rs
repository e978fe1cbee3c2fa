//! What an append file that is open for reading, too, gives back. See docs/semantics.md.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use support::{Mount, Reader, refused, shell_ok};

const APPEND_FILES: &[&str] = &["append", "append-lines", "append-frames"];

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn read_some(file: &mut File) -> String {
    let mut buffer = [0; 4096];
    let got = file.read(&mut buffer).unwrap();
    String::from_utf8(buffer[..got].to_vec()).unwrap()
}

/// What one record of one byte is in each of them.
fn one_record(name: &str) -> &'static [u8] {
    match name {
        "append" => b"x",
        "append-lines" => b"\n",
        _ => b"\x01\0\0\0\0\0\0\0x",
    }
}

// > An append file that is opened for reading and writing gives back a line `RECORD INDEX SIZE` for each record
// > that was appended through that open file, in order, as soon as the write of that record has returned. INDEX
// > is the offset of the record's size field in the log, as the Go library counts.
#[test]
fn a_shell_learns_which_record_it_has_written() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        exec 3<> append
        echo hi >&3; read -r record index size <&3; echo "$record at $index of $size: $(cat $record)"
        echo other > append
        echo one >&3; echo two >&3
        while read -r record index size <&3; do echo "$record at $index of $size: $(cat $record)"; done
        read -r none <&3 || echo "nothing more$none"
        exec 3>&- 4<> append-lines
        printf 'a line\nanother\nhalf' >&4; cat <&4; printf ' a line\n' >&4; head -n 1 <&4
        exec 4>&- 5<> append-frames
        printf '\01\0\0\0\0\0\0\0x\0\0\0\0\0\0\0\0' >&5; cat <&5"#;
    // Record 0 is at byte 8, and each is 8 bytes and its payload.
    let expected = "\
0 at 8 of 3: hi
2 at 33 of 4: one
3 at 45 of 4: two
nothing more
4 57 7
5 72 8
6 88 12
7 108 1
8 117 0
";
    assert_eq!(shell_ok(script, &[&mount.file("")]), expected);
    // As the engine tells whoever uses it without a mount.
    let storage =
        immuta::Storage::open(immuta::Options::new(mount.logs()).read_only(true)).unwrap();
    let mut stream = storage.stream("default", 0).unwrap();
    let mut at = Vec::new();
    while let Some(record) = stream.next(Some(std::time::Duration::ZERO)).unwrap() {
        at.push(record.index.0);
    }
    assert_eq!(at, [8, 19, 33, 45, 57, 72, 88, 108, 117]);
}

#[test]
fn processes_that_share_the_open_file_write_and_read_each_line_once() {
    let mount = Mount::new();
    let script = r#"
import os, sys
directory = sys.argv[1]
file = open(directory + '/append', 'r+b', buffering=0)
file.write(b'first')
print(file.read())
def in_children(work):
    for child in range(4):
        if os.fork() == 0:
            work(child)
            os._exit(0)
    for child in range(4):
        assert os.wait()[1] == 0
def write(child):
    for n in range(250):
        os.write(file.fileno(), b'child %d record %d' % (child, n))
in_children(write)
# They take pieces of one stream, so which has which is open.
out, into = os.pipe()
def read(child):
    while piece := file.read(3 + child):
        os.write(into, piece)
in_children(read)
os.close(into)
index, expected = 21, b''
for n in range(1, 1001):
    size = os.path.getsize('%s/%d' % (directory, n))
    expected += b'%d %d %d\n' % (n, index, size)
    index += 8 + size
print(sorted(open(out, 'rb').read()) == sorted(expected), file.read())"#;
    let mut reader = Reader::python(script, &[&mount.file("")]);
    reader.expect("python", "b'0 8 5\\n'");
    reader.expect("python", "True b''");
    assert!(reader.end("python").success());
}

// > A read from an append file never waits: when there is no line to give, it returns end of file. `poll` tells
// > when there is one.
#[test]
fn a_read_without_a_line_to_give_is_end_of_file_and_poll_knows() {
    let mount = Mount::new();
    for name in APPEND_FILES {
        let mut file = open(&mount.file(name));
        let readable = |file: &File| {
            let flags = PollFlags::POLLIN | PollFlags::POLLOUT;
            let mut fds = [PollFd::new(file.as_fd(), flags)];
            poll(&mut fds, PollTimeout::ZERO).unwrap();
            let events = fds[0].revents().unwrap();
            assert!(events.contains(PollFlags::POLLOUT));
            events.contains(PollFlags::POLLIN)
        };
        assert_eq!(
            (read_some(&mut file), readable(&file)),
            (String::new(), false)
        );
        mount.append("of somebody else");
        assert_eq!(
            (read_some(&mut file), readable(&file)),
            (String::new(), false)
        );
        file.write_all(one_record(name)).unwrap();
        assert!(readable(&file));
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        assert!(readable(&file), "the rest of the line");
        let rest = read_some(&mut file);
        let line = String::from_utf8(byte.to_vec()).unwrap() + &rest;
        let mut fields = line.split_whitespace();
        assert_eq!(fields.next(), Some(&*(mount.count() - 1).to_string()));
        assert_eq!(fields.next_back(), Some("1"));
        assert_eq!(
            (read_some(&mut file), readable(&file)),
            (String::new(), false)
        );
    }
}

#[test]
fn a_poller_is_woken_by_what_another_process_writes_through_the_same_open_file() {
    let mount = Mount::new();
    let script = r#"
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDWR)
poll = select.poll()
poll.register(fd, select.POLLIN)
go, ready = os.pipe()
if os.fork() == 0:
    os.read(go, 1)
    os.write(fd, b'x')
    os._exit(0)
print(poll.poll(0))
os.write(ready, b'.')
print([event for _, event in poll.poll()], os.read(fd, 100))"#;
    let mut reader = Reader::python(script, &[&mount.file("append")]);
    reader.expect("python", "[]");
    reader.expect("python", "[1] b'0 8 1\\n'");
    assert!(reader.end("python").success());
}

#[test]
fn a_line_is_there_when_a_write_that_waits_for_the_disk_has_returned() {
    for (sync, flags) in [
        ("always", 0),
        ("1h", libc::O_SYNC),
        ("never", libc::O_DSYNC),
    ] {
        let mount = Mount::with(&["--sync", sync]);
        for (n, name) in APPEND_FILES.iter().cycle().take(30).enumerate() {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(flags);
            let mut file = options.open(mount.file(name)).unwrap();
            file.write_all(one_record(name)).unwrap();
            assert_eq!(read_some(&mut file), format!("{n} {} 1\n", 8 + 9 * n));
        }
    }
}

// > For an open file that no process reads from, 16384 runs of consecutive records are kept. Beyond that the
// > oldest lines are lost, and the next read is ENOBUFS, once.
#[test]
fn nobody_has_to_read() {
    const RUNS: u64 = 16384;
    let mount = Mount::new();
    let mut append = open(&mount.file("append"));
    let mut lines = open(&mount.file("append-lines"));
    // In turns, so that no two records through one open file follow each other, but those of one write.
    for _ in 0..=RUNS {
        append.write_all(b"x").unwrap();
        lines.write_all(b"a\nb\n").unwrap();
    }
    for (file, first, last, count) in [
        (&mut append, "3 ", format!("\n{} ", 3 * RUNS), RUNS),
        (&mut lines, "4 ", format!("\n{} ", 3 * RUNS + 2), 2 * RUNS),
    ] {
        refused(file.read(&mut [0; 100]), Errno::ENOBUFS);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(first), "{:?}", &text[..30]);
        assert!(text.contains(&last) && text.lines().count() as u64 == count);
        assert_eq!(read_some(file), "");
    }
}

#[test]
fn what_was_appended_before_a_failure_is_told_and_what_was_refused_is_not() {
    let mount = Mount::with(&["--max-record", "1KiB"]);
    let mut file = open(&mount.file("append-lines"));
    file.write_all(b"one\n").unwrap();
    refused(file.write(&[b'x'; 2000]), Errno::EMSGSIZE);
    file.write_all(b"two\nhalf").unwrap();
    assert_eq!(read_some(&mut file), "0 8 4\n1 20 4\n");
    let mut file = open(&mount.file("append-frames"));
    refused(file.write(&(-1i64).to_le_bytes()), Errno::EINVAL);
    assert_eq!(read_some(&mut file), "");
}

#[test]
fn it_is_read_as_a_pipe_is_and_not_through_the_page_cache() {
    let mount = Mount::new();
    let mut file = open(&mount.file("append"));
    file.write_all(b"x").unwrap();
    for offset in [0, 1] {
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut [0; 10], offset);
        refused(read, Errno::ESPIPE);
    }
    // SAFETY: both descriptors are open, and no offset is given.
    let sent = unsafe {
        let out = File::create("/dev/null").unwrap();
        libc::sendfile(
            std::os::fd::AsRawFd::as_raw_fd(&out),
            std::os::fd::AsRawFd::as_raw_fd(&file),
            std::ptr::null_mut(),
            10,
        )
    };
    assert!(sent <= 0, "{sent} bytes past the reader");
    assert_eq!(read_some(&mut file), "0 8 1\n");
    // Open for writing or reading only, there is nothing to read.
    let mut file = File::options()
        .write(true)
        .open(mount.file("append"))
        .unwrap();
    assert_eq!(
        file.read(&mut [0; 10]).unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
    let denied = fs::read(mount.file("append")).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
}
