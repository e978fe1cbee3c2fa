//! `append-file`: open to close is one record, whoever writes it and however its writer ends. See
//! docs/semantics.md.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{
    DEADLINE, Mount, Random, Reader, append, eventually, names, read, refused, shell_ok, wait,
};

/// More than is kept in memory.
const LARGE: usize = 3_000_000;

fn open(mount: &Mount) -> File {
    File::options()
        .write(true)
        .open(mount.file("append-file"))
        .unwrap()
}

/// Closes a file, and says how that went.
fn close(file: File) -> Result<(), Errno> {
    nix::unistd::close(file)
}

fn record(mount: &Mount, n: u64) -> Vec<u8> {
    read(&mount.file(&n.to_string()))
}

/// Ends the daemon. Its records are whole, and beside them is nothing.
#[track_caller]
fn is_whole(mut mount: Mount) {
    mount.stop_and_verify();
    let expected = [".immuta.lock", "default.idx", "default.log"];
    assert!(names(&mount.logs()).iter().eq(&expected));
}

/// Whether the daemon has a file open that has no name.
fn spools(mount: &Mount) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", mount.pid())).unwrap();
    open.flatten()
        .filter_map(|e| fs::read_link(e.path()).ok())
        .any(|path| path.starts_with(mount.logs()) && path.to_string_lossy().ends_with("(deleted)"))
}

/// What programs do with a file `$1`, in the directory of a namespace.
const WAYS: &[&str] = &[
    r#"cat "$1" > append-file"#,
    r#"cat "$1" >> append-file"#,
    r#"cp "$1" append-file"#,
    r#"dd if="$1" of=append-file bs=1M 2> /dev/null"#,
    r#"/bin/dd if="$1" of=append-file bs=100000 oflag=append conv=notrunc,fdatasync 2> /dev/null"#,
    r#"dd if="$1" of=append-file bs=1M conv=fsync 2> /dev/null"#,
    r#"tee append-file < "$1" > /dev/null"#,
    r#"tee -a append-file < "$1" > /dev/null"#,
    r#"curl -s -o append-file "file://$1""#,
    r#"python3 -c 'import sys; open("append-file", "wb").write(open(sys.argv[1], "rb").read())' "$1""#,
    r#"python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], "append-file")' "$1""#,
    r#"(head -c 2000 "$1"; tail -c +2001 "$1") > append-file"#,
    r#"{ head -c 2000 "$1"; true > /dev/null; tail -c +2001 "$1"; } > append-file"#,
    r#"exec 3> append-file; head -c 2000 "$1" >&3; true >&3; tail -c +2001 "$1" >&3; exec 3>&-"#,
    r#"exec 3> append-file 4>&3; head -c 2000 "$1" >&3; exec 3>&-; tail -c +2001 "$1" >&4; exec 4>&-"#,
];

// > Everything written to `append-file` between open and close is one record, byte for byte, of any size. No
// > reader sees any of it before the close.
// > It is stored when the process that opened the file closes its last descriptor of it, or ends by itself, with
// > any exit status. That `close` returns when the record is there.
#[test]
fn whatever_writes_a_file_it_is_one_record_when_the_next_command_looks() {
    for options in [&[][..], &["--sync", "always"]] {
        let mount = Mount::with(options);
        let mut random = Random(21);
        let mut count = 0;
        for bytes in [5000, LARGE] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let expected = random.bytes(bytes);
            fs::write(file.path(), &expected).unwrap();
            for shell in ["bash", "dash", "busybox sh"] {
                for way in WAYS {
                    // The shell that does it may be a child of the one that looks, or the same.
                    for script in [
                        r#"cd "$2"; $4 -euc "$3" sh "$1" && cat count"#,
                        r#"cd "$2"; $4 -euc "$3; cat count" sh "$1""#,
                    ] {
                        let arguments: [&dyn AsRef<std::ffi::OsStr>; 4] =
                            [&file.path(), &mount.file(""), way, &shell];
                        let said = shell_ok(script, &arguments);
                        count += 1;
                        assert_eq!(said, format!("{count}\n"), "{shell}: {way}");
                    }
                    assert!(record(&mount, count - 1) == expected, "{shell}: {way}");
                }
            }
        }
        is_whole(mount);
    }
}

// > An `append-file` that is closed without a write makes no record.
#[test]
fn a_shell_stores_what_it_says_itself_and_nothing_where_it_says_nothing() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        : > append-file; : >> append-file; true > append-file; printf '' > append-file; cat count
        echo one > append-file; printf 'two, ' > append-file; cat count
        { echo three; echo of; echo several; } > append-file; cat count
        exec 3> append-file; echo four >&3; (echo of >&3); cat count; echo a while >&3; exec 3>&-; cat count"#;
    for shell in ["bash", "dash", "busybox sh"] {
        let before = mount.count();
        let said = shell_ok(
            r#"$2 -euc "$3" sh "$1""#,
            &[&mount.file(""), &shell, &script],
        );
        let counts: Vec<String> = [0, 2, 3, 3, 4].map(|n| (before + n).to_string()).into();
        assert_eq!(said.lines().collect::<Vec<_>>(), counts, "{shell}");
        let records: Vec<_> = (before..before + 4).map(|n| record(&mount, n)).collect();
        assert_eq!(
            records,
            [
                &b"one\n"[..],
                b"two, ",
                b"three\nof\nseveral\n",
                b"four\nof\na while\n"
            ],
            "{shell}"
        );
    }
    is_whole(mount);
}

// > Writes to it are put together in the order in which they arrive, from any process and thread. Their offsets
// > are ignored.
#[test]
fn descriptors_of_one_open_are_one_file_and_those_of_another_are_not() {
    let mount = Mount::new();
    let (mut one, mut other) = (open(&mount), open(&mount));
    let mut duplicate = one.try_clone().unwrap();
    one.write_all(b"1").unwrap();
    other.write_all(b"2").unwrap();
    assert_eq!(close(one), Ok(()));
    assert_eq!(mount.count(), 0, "there is a duplicate");
    duplicate.write_all(b"1").unwrap();
    refused(duplicate.write_at(b"x", 7), Errno::ESPIPE);
    assert_eq!(close(duplicate), Ok(()));
    assert_eq!(
        mount.count(),
        1,
        "that the other one is open does not matter"
    );
    assert_eq!(close(other), Ok(()));
    assert_eq!(mount.count(), 2);
    assert_eq!([record(&mount, 0), record(&mount, 1)], [&b"11"[..], b"2"]);

    // Threads: each writes, one closes, and the one that has opened it is gone.
    let path = mount.file("append-file");
    let file = std::thread::spawn(move || File::options().append(true).open(path).unwrap());
    let file = file.join().unwrap();
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| (&file).write_all(&[b'x'; 100_000]).unwrap());
        }
    });
    std::thread::spawn(move || close(file).unwrap())
        .join()
        .unwrap();
    assert_eq!(mount.count(), 3);
    assert!(record(&mount, 2) == [b'x'; 800_000]);
    is_whole(mount);
}

#[test]
fn twenty_at_once_are_twenty_whole_records_from_processes_and_from_threads() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"; jobs=()
        for i in {10..29}; do (yes "line of $i" | head -c 2000000) | cat > append-file & jobs+=($!); done
        for job in "${jobs[@]}"; do wait $job || exit; done; cat count"#;
    assert_eq!(shell_ok(script, &[&mount.file("")]), "20\n");
    std::thread::scope(|s| {
        for i in 30..50 {
            let mut file = open(&mount);
            s.spawn(move || {
                let line = format!("line of {i}\n").repeat(2_000_000 / 11 + 1);
                let (front, back) = line.as_bytes()[..2_000_000].split_at(777_777);
                file.write_all(front).unwrap();
                file.write_all(back).unwrap();
                close(file).unwrap();
            });
        }
    });
    assert_eq!(mount.count(), 40);
    let mut seen = BTreeSet::new();
    for n in 0..40 {
        let bytes = record(&mount, n);
        let line = bytes[..11].to_vec();
        assert!(
            bytes == line.repeat(2_000_000 / 11 + 1)[..2_000_000],
            "record {n}"
        );
        seen.insert(line);
    }
    assert_eq!(seen.len(), 40);
    is_whole(mount);
}

/// A program, killed when the test ends before it, with its group if it leads one.
struct Program(Child);

impl Deref for Program {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not when it has been waited for: its number may be another one's.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill(Pid::from_raw(-(self.0.id() as i32)), Signal::SIGKILL);
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A Python program with `fd` open on an `append-file`, and `os`, `signal`, `sys`, `threading` imported.
fn python(mount: &Mount, script: &str) -> Program {
    let script = format!(
        "import os, signal, socket, sys, threading, time\nfd = os.open(sys.argv[1], os.O_WRONLY)\n\
         def write_all(data):\n    while data: data = data[os.write(fd, data):]\n{script}"
    );
    let program = Command::new("python3")
        .args(["-c", &script])
        .arg(mount.file("append-file"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Program(program)
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    // A byte at a time: what comes behind it is for the next call.
    BufReader::with_capacity(1, stdout)
        .read_line(&mut line)
        .unwrap();
    line
}

/// Until the kernel has closed what a process had open, also where nobody waits for an answer.
fn nothing_is_left_of_it(mount: &Mount) {
    eventually("the daemon has closed what it held", || !spools(mount));
}

// > When a signal kills the process that opened the file, nothing is stored. Other processes that have the file
// > open get ECANCELED.
#[test]
fn nothing_is_stored_of_a_writer_that_is_killed() {
    let mount = Mount::new();
    let threads = "\nfor _ in range(5): threading.Thread(target=signal.pause, daemon=True).start()";
    for bytes in [10, LARGE] {
        for (what, script) in [
            ("one thread", ""),
            ("many threads", threads),
            ("a descriptor more", "\nos.dup(fd)"),
        ] {
            for signal in ["KILL", "TERM", "INT", "PIPE", "SEGV", "ABRT", "HUP"] {
                let script = format!(
                    "write_all(b'x' * {bytes}){script}\nif '{signal}' != 'KILL': signal.signal(signal.SIG{signal}, signal.SIG_DFL)\n\
                     os.kill(os.getpid(), signal.SIG{signal})\ntime.sleep({})",
                    DEADLINE.as_secs()
                );
                let ended = wait(&mut python(&mount, &script));
                assert!(ended.code().is_none(), "{what}, {signal}: {ended}");
                assert_eq!(mount.count(), 0, "{what}, {signal}");
            }
        }
    }
    nothing_is_left_of_it(&mount);

    // In the middle of its writes.
    for program in ["cat /dev/zero", "dd if=/dev/zero bs=1M"] {
        let mut writer = Reader::shell(
            &format!(r#"echo $$; exec {program} > "$1" 2> /dev/null"#),
            &[&mount.file("append-file")],
        );
        let pid: i32 = writer.line().unwrap().parse().unwrap();
        eventually("it has written much", || {
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            let written = io.lines().find_map(|l| l.strip_prefix("wchar: "));
            written.is_some_and(|n| n.parse::<u64>().unwrap() > 30_000_000)
        });
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert!(!writer.end(program).success());
        assert_eq!(mount.count(), 0, "{program}");
    }
    nothing_is_left_of_it(&mount);
    assert!(mount.messages().contains(
        "namespace 'default': 10 bytes written to 'append-file' are not stored: the process that had it open \
         was killed by SIGKILL"
    ));
    is_whole(mount);
}

/// Ctrl-C: the shell and what it runs get the signal, and end by it. What it runs says when it is there: a shell
/// that is about to start it would wait for it.
#[test]
fn an_interrupted_shell_stores_nothing() {
    let mount = Mount::new();
    for shell in [&["bash"][..], &["dash"], &["busybox", "sh"]] {
        for script in [
            r#"(echo half; sh -c "$2"; echo more) > "$1""#,
            r#"{ echo half; sh -c "$2"; echo more; } > "$1""#,
            r#"exec 3> "$1"; echo half >&3; sh -c "$2"; echo more >&3"#,
        ] {
            // Whatever runs the tests may ignore SIGINT.
            let mut writer = Command::new("setsid")
                .args(["env", "--default-signal=INT"])
                .args(shell)
                .args(["-c", script, "sh"])
                .arg(mount.file("append-file"))
                .arg("echo ready >&2; exec sleep 1000")
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map(Program)
                .unwrap();
            let mut ready = String::new();
            let mut stderr = BufReader::new(writer.stderr.take().unwrap());
            stderr.read_line(&mut ready).unwrap();
            assert_eq!(ready, "ready\n");
            // The group's leader is the shell itself: `setsid` has become it.
            let group = Pid::from_raw(-(writer.id() as i32));
            kill(group, Signal::SIGINT).unwrap();
            let ended = wait(&mut writer);
            // What the shell had started may be the last to have it.
            stderr.read_to_string(&mut ready).unwrap();
            assert!(!ended.success(), "{shell:?}: {script}");
            assert_eq!(mount.count(), 0, "{shell:?}: {script}");
        }
    }
    append(&mount.file("append"), "goes on").unwrap();
    assert_eq!(mount.count(), 1);
}

#[test]
fn a_writer_that_ends_by_itself_has_closed_its_file_whatever_it_ends_with() {
    let mount = Mount::new();
    let threads = "for _ in range(5): threading.Thread(target=signal.pause, daemon=True).start()\n";
    let mut count = 0;
    for bytes in [10, LARGE] {
        for threads in ["", threads] {
            for (end, status) in [
                ("sys.exit(0)", 0),
                ("sys.exit(1)", 1),
                ("os._exit(143)", 143),
                ("raise Exception('no')", 1),
                (
                    "signal.signal(signal.SIGTERM, lambda *_: os._exit(7)); os.kill(os.getpid(), signal.SIGTERM); signal.pause()",
                    7,
                ),
            ] {
                let script = format!("write_all(b'x' * {bytes})\n{threads}{end}");
                let ended = wait(&mut python(&mount, &script));
                assert_eq!(ended.code(), Some(status), "{end}");
                count += 1;
                assert_eq!(mount.count(), count, "{end}");
                assert_eq!(
                    fs::metadata(mount.file(&(count - 1).to_string()))
                        .unwrap()
                        .len(),
                    bytes as u64
                );
            }
        }
    }
    is_whole(mount);
}

#[test]
fn whoever_inherits_a_file_from_a_killed_opener_learns_that_it_is_lost() {
    let mount = Mount::new();
    let script = r#"
write_all(b'half')
if os.fork() == 0:
    sys.stdin.read(1)
    for call in (lambda: os.write(fd, b'more'), lambda: os.fsync(fd), lambda: os.close(fd)):
        try: call(); print('done', flush=True)
        except OSError as e: print(e.errno, flush=True)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"#;
    let mut opener = python(&mount, script);
    assert_eq!(wait_keeping_stdin(&mut opener), None);
    opener.stdin.take().unwrap().write_all(b"x").unwrap();
    for _ in 0..3 {
        assert_eq!(line(&mut opener), format!("{}\n", libc::ECANCELED));
    }
    assert_eq!(line(&mut opener), "");
    nothing_is_left_of_it(&mount);
    assert_eq!(mount.count(), 0);
}

/// Waits for the process alone: `Child::wait` would close its standard input, which its child reads.
fn wait_keeping_stdin(child: &mut Child) -> Option<i32> {
    let mut code = None;
    eventually("the process ends", || match child.try_wait().unwrap() {
        Some(status) => {
            code = status.code();
            true
        }
        None => false,
    });
    code
}

// > When a process that inherited the file is killed, or closes it, nothing is lost: what it wrote stays in the
// > record, and the other processes go on.
#[test]
fn a_killed_child_takes_nothing_away_from_its_parents_file() {
    let mount = Mount::new();
    let script = r#"
write_all(b'a')
if os.fork() == 0:
    write_all(b'b')
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
if os.fork() == 0:
    write_all(b'c')
    os.close(fd)
    os._exit(0)
os.wait()
write_all(b'd')
os.close(fd)
"#;
    assert!(wait(&mut python(&mount, script)).success());
    assert_eq!((mount.count(), record(&mount, 0)), (1, b"abcd".to_vec()));
    let script = r#"cd "$1"; (echo one; bash -c 'echo half; kill -9 $$'; echo two) > append-file 2> /dev/null; cat 1"#;
    let said = shell_ok(script, &[&mount.file("")]);
    assert!(
        said.starts_with("one\nhalf\n") && said.ends_with("two\n"),
        "{said}"
    );
}

// > A write after the opener's close is EBADF: the record is complete.
#[test]
fn a_write_behind_the_openers_close_is_refused_and_the_log_of_the_daemon_says_why() {
    let mount = Mount::new();
    let script = r#"
write_all(b'the record')
if os.fork() == 0:
    sys.stdin.read(1)
    try: os.write(fd, b'late')
    except OSError as e: print(e.errno, flush=True)
    os.fsync(fd)
    os.close(fd)
    os._exit(0)
"#;
    let mut opener = python(&mount, script);
    assert_eq!(wait_keeping_stdin(&mut opener), Some(0));
    assert_eq!(mount.count(), 1);
    opener.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_eq!(line(&mut opener), format!("{}\n", libc::EBADF));
    assert_eq!(line(&mut opener), "");
    assert_eq!(
        (mount.count(), record(&mount, 0)),
        (1, b"the record".to_vec())
    );
    assert!(mount.messages().contains(
        "namespace 'default': a write of 4 bytes to 'append-file' was refused: the process that opened the file \
         has closed it, and that was the end of the record (close it when all have written)"
    ));
}

// > When the opener closes the file before anything was written, the other processes that have it open go on.
// > The record is stored at the last close, and not at all if one of them was killed.
#[test]
fn a_file_that_was_handed_on_is_stored_when_the_last_one_closes_it() {
    let mount = Mount::new();
    // Python closes what it hands to a child as soon as that has started.
    let script = r#"
import subprocess, sys
for end in ("", "; kill -9 $$"):
    child = subprocess.Popen(["sh", "-c", "read go; echo by a child" + end], stdin=subprocess.PIPE,
                             stdout=open(sys.argv[1], "wb"))
    child.communicate(b"go\n")
"#;
    let mut parent = Command::new("python3");
    let parent = parent.args(["-c", script]).arg(mount.file("append-file"));
    assert!(parent.status().unwrap().success());
    eventually("it is stored", || mount.count() == 1);
    assert_eq!(record(&mount, 0), b"by a child\n");

    // Over a socket, to a process that is no child.
    let script = r#"
ours, theirs = socket.socketpair()
if os.fork() == 0:
    fd, = socket.recv_fds(theirs, 1, 1)[1]
    theirs.recv(1)
    write_all(b'from ')
    write_all(b'elsewhere')
    os._exit(0)
socket.send_fds(ours, [b'x'], [fd])
os.close(fd)
ours.send(b'y')
os.wait()
"#;
    // The child has inherited the file as well: a close of it, too, is not the last.
    assert!(wait(&mut python(&mount, script)).success());
    eventually("it is stored", || mount.count() == 2);
    assert_eq!(record(&mount, 1), b"from elsewhere");
    eventually("what was killed is known", || {
        mount
            .messages()
            .contains("11 bytes written to 'append-file' are not stored")
    });
    is_whole(mount);
}

// > After a write or an `ftruncate` that failed, nothing is stored, and `close` fails with the same error.
// > `>` and `>>` mean the same on append files: opening them with O_TRUNC, and `ftruncate` to 0, change nothing.
// > Append files have no offset: `lseek` and `pwrite` are ESPIPE.
#[test]
fn it_has_no_size_to_change_and_no_offset() {
    let mount = Mount::new();
    let path = mount.file("append-file");
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    file.write_all(b"half").unwrap();
    file.set_len(0).unwrap();
    refused(std::io::Seek::rewind(&mut file), Errno::ESPIPE);
    refused(file.write_at(b"x", 0), Errno::ESPIPE);
    file.write_all(b" and half").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 0);
    assert_eq!(close(file), Ok(()));
    assert_eq!(record(&mount, 0), b"half and half");
    refused(nix_io(nix::unistd::truncate(&path, 7)), Errno::EPERM);

    let mut file = open(&mount);
    file.write_all(b"this ends in a hole").unwrap();
    refused(file.set_len(1000), Errno::EPERM);
    refused(file.write_all(b"x"), Errno::EPERM);
    refused(file.sync_all(), Errno::EPERM);
    assert_eq!(close(file), Err(Errno::EPERM));
    assert_eq!(mount.count(), 1);

    // A file with holes: by a program that writes them, and by one that seeks.
    let holes = tempfile::NamedTempFile::new().unwrap();
    holes.as_file().write_all_at(b"data", 0).unwrap();
    holes.as_file().set_len(5_000_000).unwrap();
    let said = shell_ok(
        r#"cd "$1"; cp "$2" append-file; cat count; cp --sparse=never "$2" append-file; cmp "$2" 1; cat count"#,
        &[&mount.file(""), &holes.path()],
    );
    assert_eq!(said, "1\n2\n");
}

fn nix_io(result: nix::Result<()>) -> std::io::Result<()> {
    Ok(result?)
}

#[test]
fn it_is_a_file_that_can_be_written_and_nothing_else() {
    let mount = Mount::new();
    mount.append("x");
    let path = mount.file("append-file");
    let attributes = fs::metadata(&path).unwrap();
    assert_eq!(attributes.permissions().mode() & 0o7777, 0o600);
    assert_eq!((attributes.len(), attributes.nlink()), (0, 1));
    assert_eq!(
        attributes.modified().unwrap(),
        fs::metadata(mount.file("append"))
            .unwrap()
            .modified()
            .unwrap()
    );
    refused(File::open(&path), Errno::EACCES);
    // Each look gives a number of its own: whoever writes much holds up nobody else.
    let again = fs::metadata(&path).unwrap();
    assert_ne!(attributes.ino(), again.ino());
    // What makes a new file beside it and renames that, or removes it first, says so and stores nothing.
    let script = r#"
        cd "$1"; echo y > "$2/y"
        for command in "install $2/y append-file" "mv $2/y append-file" "sed -i s/a/b/ append-file" "ln -sf $2/y append-file"; do
            if $command 2> "$2/errors"; then echo "$command was done"; fi
            [ -s "$2/errors" ] || echo "$command says nothing"
        done; cat count"#;
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(
        shell_ok(script, &[&mount.file(""), &elsewhere.path()]),
        "1\n"
    );
}

/// How many records an index says to be on the disk (docs/format.md).
fn synced(mount: &Mount) -> u64 {
    let index = fs::read(mount.logs().join("default.idx")).unwrap();
    let field = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().unwrap());
    let newest = [0, 64]
        .into_iter()
        .max_by_key(|slot| field(slot + 16))
        .unwrap();
    field(newest + 24)
}

// > After `fsync`, and with O_SYNC or O_DSYNC, the `close` that stores an `append-file` returns when the record is on the disk.
#[test]
fn a_close_waits_for_the_disk_when_the_writer_has_asked_for_it() {
    let mount = Mount::with(&["--sync", "1h"]);
    let mut count = 0;
    for bytes in [10, LARGE] {
        for way in ["plain", "fsync", "fdatasync", "O_SYNC", "O_DSYNC"] {
            let flags = match way {
                "O_SYNC" => libc::O_SYNC,
                "O_DSYNC" => libc::O_DSYNC,
                _ => 0,
            };
            let mut options = File::options();
            let options = options.write(true).custom_flags(flags);
            let mut file = options.open(mount.file("append-file")).unwrap();
            file.write_all(&vec![b'x'; bytes]).unwrap();
            match way {
                "fsync" => file.sync_all().unwrap(),
                "fdatasync" => file.sync_data().unwrap(),
                _ => {}
            }
            let before = synced(&mount);
            assert_eq!(
                (mount.count(), before <= count),
                (count, true),
                "no record is there to be synced"
            );
            assert_eq!(close(file), Ok(()));
            count += 1;
            let expected = if way == "plain" { before } else { count };
            assert_eq!((mount.count(), synced(&mount)), (count, expected), "{way}");
        }
    }
}

// > When the daemon ends, an `append-file` that is not closed is not stored, and the daemon's log says so.
#[test]
fn the_end_of_the_daemon_is_no_close() {
    let mut mount = Mount::new();
    for bytes in [10, LARGE] {
        let mut file = open(&mount);
        file.write_all(&vec![b'x'; bytes]).unwrap();
        assert!(mount.stop().success());
        assert_eq!(close(file), Err(Errno::ENOTCONN));
        assert!(mount.messages().contains(&format!(
            "namespace 'default': {bytes} bytes written to 'append-file' are not stored: it was not closed \
             before the end"
        )));
        mount.start();
        let mut file = open(&mount);
        file.write_all(&vec![b'x'; bytes]).unwrap();
        mount.kill();
        drop(file);
        mount.start();
        assert_eq!(mount.count(), 0);
    }
    is_whole(mount);
}

#[test]
fn a_file_that_is_open_when_the_mount_is_taken_away_is_stored_when_it_is_closed() {
    let mut mount = Mount::new();
    let (mut closed, mut killed) = (
        open(&mount),
        python(
            &mount,
            "write_all(b'x'); print(1, flush=True); signal.pause()",
        ),
    );
    closed.write_all(b"before").unwrap();
    line(&mut killed);
    shell_ok(r#"umount -l "$1""#, &[&mount.path()]);
    eventually("the daemon knows", || {
        mount.messages().contains("is not mounted any more")
    });
    closed.write_all(b" and after").unwrap();
    assert_eq!(close(closed), Ok(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(mount.wait().success(), "it ends with the last open file");
    mount.start();
    assert_eq!(
        (mount.count(), record(&mount, 0)),
        (1, b"before and after".to_vec())
    );
    is_whole(mount);
}

#[test]
fn a_removed_namespace_takes_its_open_file_with_it() {
    let mount = Mount::new();
    let orders = mount.path().join("orders");
    for bytes in [10, LARGE] {
        fs::create_dir(&orders).unwrap();
        let mut file = File::create(orders.join("append-file")).unwrap();
        file.write_all(&vec![b'x'; bytes]).unwrap();
        fs::remove_dir(&orders).unwrap();
        assert_eq!(close(file), Err(Errno::ESTALE));
    }
    is_whole(mount);
}

// > A large record is stored at constant memory, and needs little more room than its own size. Meanwhile
// > readers, and other namespaces, go on.
#[test]
fn a_large_record_takes_no_memory() {
    let long = std::env::var_os("IMMUTA_LONG").is_some_and(|value| value != "0");
    let mib: u64 = if long { 3 << 10 } else { 256 };
    let mount = Mount::new();
    mount.append("first");
    fs::create_dir(mount.path().join("other")).unwrap();
    let before = mount.peak_kib();
    // Numbers, so that a piece in the wrong place is seen.
    let script = r#"seq -f %015.0f 1 $(($2 << 16)) | tee >(md5sum > "$3") > "$1/append-file" && cat "$1/count""#;
    let sum = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Reader::shell(script, &[&mount.file(""), &mib.to_string(), &sum.path()]);
    let mut elsewhere = 0;
    while writer.child.try_wait().unwrap().is_none() {
        append(&mount.path().join("other/append"), "x").unwrap();
        elsewhere += 1;
        assert_eq!(read(&mount.file("0")), b"first");
        assert_eq!(
            read(&mount.path().join("other/count")),
            format!("{elsewhere}\n").into_bytes()
        );
    }
    assert_eq!(writer.line().as_deref(), Some("2"));
    assert!(writer.end("the writer").success());
    assert_eq!(fs::metadata(mount.file("1")).unwrap().len(), mib << 20);
    eventually("the sum is there", || !read(sum.path()).is_empty());
    let sums = shell_ok(
        r#"md5sum < "$1"; cat "$2""#,
        &[&mount.file("1"), &sum.path()],
    );
    let sums: Vec<&str> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
    let grown = mount.peak_kib() - before;
    assert!(grown < 30 << 10, "the daemon grew by {grown} KiB");
    nothing_is_left_of_it(&mount);
}
