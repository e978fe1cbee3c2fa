//! A mount that only reads, beside a writer: another daemon's, a library's, and one like the Go library's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::SystemTime;

use immuta::{Format, Namespace, Options, Storage};
use nix::errno::Errno;
use support::{Mount, Reader, append, refused};
use support::{files::APPEND_FILES, names};

/// Writes as the Go library v0.2.0 does: a placeholder for the size, the payload, the size, and when it
/// commits the header, each with a call of its own.
const GO_LIKE: &str = r#"
import os, struct, sys
log = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
if os.fstat(log).st_size == 0:
    os.pwrite(log, struct.pack('<qq', 0, 0), 0)
count, last = struct.unpack('<qq', os.pread(log, 16, 0))
end = os.fstat(log).st_size
print('open', flush=True)
for line in sys.stdin.buffer:
    payload = line.rstrip(b'\n')
    os.pwrite(log, struct.pack('<q', 0), end)
    os.pwrite(log, payload, end + 8)
    os.pwrite(log, struct.pack('<q', len(payload)), end)
    count, last = count + 1, end
    os.pwrite(log, struct.pack('<qq', count, last), 0)
    end += 8 + len(payload)
    print(count, flush=True)
"#;

/// > `--read-only` takes no lock and changes nothing on the disk. It shows, live, what another process writes
/// > to the logs, a Go program included, and logs that are made later.
#[test]
fn a_go_program_is_followed_while_it_writes() {
    let mut mount = Mount::idle(&["--read-only"]);
    fs::create_dir(mount.logs()).unwrap();
    let mut writer = std::process::Command::new("python3")
        .args(["-u", "-c", GO_LIKE])
        .arg(mount.logs().join("default.log"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    let mut output = std::io::BufReader::new(writer.stdout.take().unwrap());
    let mut answer = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        line.trim_end().to_owned()
    };
    assert_eq!(answer(), "open");
    writeln!(input, "before").unwrap();
    assert_eq!(answer(), "1");

    mount.start();
    let mut follow = Reader::start("cat", &[&mount.file("follow")]);
    let mut tail = Reader::start("tail", &[&"-n", &"+1", &"-f", &mount.file("log")]);
    let mut next = Reader::start("cat", &[&mount.file("1")]);
    assert_eq!(follow.line().as_deref(), Some("before"));
    assert_eq!(tail.line().as_deref(), Some("before"));
    next.wait_until_blocked();
    for n in 1..200 {
        writeln!(input, "record {n}").unwrap();
        assert_eq!(answer(), (n + 1).to_string());
        assert_eq!(follow.line(), Some(format!("record {n}")));
    }
    assert_eq!(next.line().as_deref(), Some("record 1"));
    for n in 1..200 {
        assert_eq!(tail.line(), Some(format!("record {n}")));
    }
    assert_eq!(mount.count(), 200);
    drop((follow, tail));
    let before = fs::read(mount.logs().join("default.log")).unwrap();
    assert!(mount.stop().success(), "{}", mount.messages());
    assert!(fs::read(mount.logs().join("default.log")).unwrap() == before);
    assert_eq!(names(&mount.logs()), ["default.log".to_owned()].into());
    drop(input);
    support::wait(&mut writer);
}

#[test]
fn another_daemon_is_followed_and_so_are_the_logs_that_it_makes() {
    let writer = Mount::new();
    writer.append("one\n");
    let mut reader = Mount::idle(&["--read-only"]);
    symlink(writer.logs(), reader.logs()).unwrap();
    reader.start();
    let mut follow = Reader::start("cat", &[&reader.file("follow")]);
    assert_eq!(follow.line().as_deref(), Some("one"));
    writer.append("two\n");
    assert_eq!(follow.line().as_deref(), Some("two"));

    fs::create_dir(writer.path().join("later")).unwrap();
    append(&writer.path().join("later/append"), "in the later one\n").unwrap();
    support::eventually("the new log is shown", || {
        reader.path().join("later/0").exists()
    });
    let mut later = Reader::start("cat", &[&reader.path().join("later/follow")]);
    assert_eq!(later.line().as_deref(), Some("in the later one"));
    append(&writer.path().join("later/append"), "and more\n").unwrap();
    assert_eq!(later.line().as_deref(), Some("and more"));
    drop((follow, later));
    assert!(reader.stop().success());
    writer.append("the writer never noticed\n");
}

/// > With `--read-only`, each name shows its own log, also the name of a copy made beside it (`cp orders.*
/// > backup.*`).
#[test]
fn a_copy_of_a_log_beside_it_shows_its_own_bytes() {
    let writer = Mount::new();
    writer.append("one\n");
    for kind in ["log", "idx"] {
        let of = |name: &str| writer.logs().join(format!("{name}.{kind}"));
        fs::copy(of("default"), of("backup")).unwrap();
    }
    writer.append("two\n");
    let mut reader = Mount::idle(&["--read-only"]);
    symlink(writer.logs(), reader.logs()).unwrap();
    reader.start();
    let copied_later = |kind: &str| {
        let of = |name: &str| writer.logs().join(format!("{name}.{kind}"));
        fs::copy(of("backup"), of("later")).unwrap();
    };
    copied_later("idx");
    copied_later("log");
    let path = |name: &str| reader.path().join(name);
    support::eventually("the later copy is shown", || {
        fs::read_to_string(path("later/log")).is_ok_and(|text| text == "one\n")
    });
    let expected = [".immuta", "backup", "default", "later"].map(str::to_owned);
    assert_eq!(names(&reader.path()), expected.into());
    let mut follow = Reader::start("cat", &[&path("backup/follow")]);
    assert_eq!(follow.line().as_deref(), Some("one"));
    writer.append("three\n");
    support::eventually("the third is shown", || reader.count() == 3);
    for (name, text) in [
        ("default", "one\ntwo\nthree\n"),
        ("backup", "one\n"),
        ("later", "one\n"),
    ] {
        assert_eq!(
            fs::read_to_string(path(name).join("log")).unwrap(),
            text,
            "{name}"
        );
        let count = format!("{}\n", text.lines().count());
        assert_eq!(
            fs::read_to_string(path(name).join("count")).unwrap(),
            count,
            "{name}"
        );
    }
    assert!(follow.rest().is_empty());
    assert!(reader.stop().success());
}

/// > With `--read-only`, a namespace that its writer removes is gone, and reads from it get end of file. A
/// > namespace that is made again under that name is a new one.
#[test]
fn a_namespace_that_its_writer_removes_and_makes_again_is_followed() {
    let writer = Mount::new();
    writer.append("another\n");
    fs::create_dir(writer.path().join("again")).unwrap();
    let mut reader = Mount::idle(&["--read-only"]);
    symlink(writer.logs(), reader.logs()).unwrap();
    reader.start();
    let theirs = reader.path().join("again");
    let follow = Reader::start("cat", &[&theirs.join("follow")]);
    support::eventually("it waits for a record", || {
        let stats = fs::read_to_string(theirs.join("stats")).unwrap();
        stats.contains(r#""blocked_readers": 1"#)
    });
    fs::remove_dir(writer.path().join("again")).unwrap();
    assert!(follow.end("cat").success());
    support::eventually("it is gone", || !theirs.exists());
    fs::create_dir(writer.path().join("again")).unwrap();
    append(&writer.path().join("again/append"), "second\n").unwrap();
    support::eventually("it is there again, and another", || {
        fs::read_to_string(theirs.join("log")).is_ok_and(|text| text == "second\n")
    });
    // A log that is moved into the place of another, as a mirror's program does.
    let mut follow = Reader::start("cat", &[&theirs.join("follow")]);
    assert_eq!(follow.line().as_deref(), Some("second"));
    let on_disk = |name: &str| writer.logs().join(name);
    fs::copy(on_disk("default.log"), on_disk("new")).unwrap();
    fs::remove_file(on_disk("again.idx")).unwrap();
    fs::rename(on_disk("new"), on_disk("again.log")).unwrap();
    assert!(follow.end("cat").success());
    support::eventually("the other log is shown", || {
        fs::read_to_string(theirs.join("log")).is_ok_and(|text| text == "another\n")
    });
    assert!(reader.stop().success());
}

/// > With `--read-only` every call that would change something is EROFS: opening a file for writing, `mkdir`,
/// > `rmdir`, `chmod`, `chown`, `utimes`, `unlink`, `rename`, `link`, `symlink` and `mknod`.
#[test]
fn nothing_is_written_through_a_mount_that_only_reads() {
    let mut mount = Mount::new();
    mount.append("x\n");
    fs::create_dir(mount.path().join("empty")).unwrap();
    assert!(mount.stop().success());
    mount.options(&["--read-only"]);
    mount.start();
    for name in APPEND_FILES.iter().chain(&["log"]) {
        let file = mount.file(name);
        refused(File::options().append(true).open(&file), Errno::EROFS);
        refused(
            File::options().write(true).truncate(true).open(&file),
            Errno::EROFS,
        );
        let cut = nix::unistd::truncate(&file, 0);
        refused(cut.map_err(Into::into), Errno::EROFS);
    }
    let (root, new) = (mount.path(), mount.file("new"));
    refused(fs::create_dir(root.join("new")), Errno::EROFS);
    refused(fs::create_dir(&new), Errno::EROFS);
    refused(fs::remove_dir(root.join("empty")), Errno::EROFS);
    refused(fs::remove_dir(mount.file("from")), Errno::EROFS);
    refused(File::create_new(&new), Errno::EROFS);
    let me = nix::unistd::geteuid().as_raw();
    for path in [
        root.clone(),
        mount.file(""),
        mount.file("log"),
        mount.file("0"),
    ] {
        let all = fs::Permissions::from_mode(0o777);
        refused(fs::set_permissions(&path, all), Errno::EROFS);
        refused(chown(&path, Some(me), None), Errno::EROFS);
        let now = File::open(&path).unwrap().set_modified(SystemTime::now());
        refused(now, Errno::EROFS);
    }
    refused(fs::remove_file(mount.file("0")), Errno::EROFS);
    refused(fs::rename(mount.file("0"), &new), Errno::EROFS);
    refused(fs::rename(mount.file(""), root.join("new")), Errno::EROFS);
    refused(fs::hard_link(mount.file("0"), &new), Errno::EROFS);
    refused(symlink("0", &new), Errno::EROFS);
    let fifo = nix::unistd::mkfifo(&new, nix::sys::stat::Mode::S_IRWXU);
    refused(fifo.map_err(Into::into), Errno::EROFS);
    assert_eq!(fs::read_to_string(mount.file("log")).unwrap(), "x\n");
}

/// > `--format` chooses the format of new logs. A log keeps the format it has.
#[test]
fn a_new_log_has_the_format_that_was_asked_for_and_an_old_one_keeps_its_own() {
    let mut mount = Mount::new();
    mount.append("old\n");
    assert!(mount.stop().success());
    mount.options(&["--format", "count16"]);
    mount.start();
    fs::create_dir(mount.path().join("new")).unwrap();
    append(&mount.path().join("new/append"), "new\n").unwrap();
    mount.append("old\n");
    mount.stop_and_verify();
    let storage = Storage::open(Options::new(mount.logs())).unwrap();
    assert_eq!(storage.log("default").unwrap().format(), Format::Count8);
    assert_eq!(storage.log("new").unwrap().format(), Format::Count16);
    assert!(storage.create(&Namespace::new("other").unwrap()).is_ok());
}

/// > A log whose bytes fit two formats, and do not tell which one it is, is not mounted. The message names both
/// > readings, and `--assume-format`, which decides.
#[test]
fn a_log_that_could_be_two_is_mounted_when_it_is_said_which_it_is() {
    let mut mount = Mount::idle(&[]);
    fs::create_dir(mount.logs()).unwrap();
    // As bare, three empty records and one of 8 bytes; as count16, no record in front of something torn ...
    let bytes: Vec<u8> = [0i64, 0, 0, 8, 7]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    fs::write(mount.logs().join("default.log"), &bytes).unwrap();
    mount.start();
    let readings = "it could be bare with 4 records or count16 with 0 records, and its bytes do not tell which";
    let messages = mount.messages();
    assert!(messages.contains(readings), "{messages}");
    assert!(messages.contains("--assume-format"), "{messages}");
    assert!(fs::read(mount.logs().join("default.log")).unwrap() == bytes);
    assert!(mount.stop().success());
    mount.options(&["--assume-format", "bare"]);
    mount.start();
    assert_eq!(mount.count(), 4);
    assert_eq!(fs::read(mount.file("3")).unwrap(), 7i64.to_le_bytes());
    mount.append("more\n");
    mount.stop_and_verify();
}
