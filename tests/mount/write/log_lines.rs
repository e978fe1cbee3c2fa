//! Writing to `log`: a program whose log file it is just works, and nothing that is there is changed. See
//! docs/semantics.md.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use support::{DEADLINE, Mount, Reader, read, refused, shell, shell_ok};

fn open_to_read_too(mount: &Mount) -> File {
    let mut options = File::options();
    options.read(true).append(true);
    options.open(mount.file("log")).unwrap()
}

// > `log`, opened with O_APPEND, takes lines as `append-lines` does.
#[test]
fn a_program_whose_log_file_it_is_just_works() {
    let mut mount = Mount::new();
    let script = r#"
        set -e
        cd "$1"
        echo redirected >> log
        printf 'in two '>> log; printf 'records\n' >> log
        (exec >> log 2>&1; echo to standard output; echo to standard error >&2)
        { printf 'in '; /usr/bin/printf 'one '; printf 'record\n'; } >> log
        echo piped | tee -a log > "$2/tee"
        echo dd | dd of=log oflag=append conv=notrunc status=none
        seq 1000 | sed -n 's/^/sed /w /dev/stdout' >> log
        cat "$2/tee" >> log
        python3 - <<'END'
import logging, logging.handlers, os
open('log', 'a').write('python\n')
with open('log', 'a+') as file:
    file.write('a+\n')
    file.seek(0)
    assert file.readline() == 'redirected\n'
    file.write('more\n')
for handler in [logging.FileHandler('log'), logging.handlers.WatchedFileHandler('log')]:
    log = logging.getLogger(type(handler).__name__)
    log.addHandler(handler)
    log.warning('of a %s', log.name)
    handler.close()
# systemd's StandardOutput=append:, nginx, rsyslog.
fd = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
os.writev(fd, [b'gathered ', b'from ', b'pieces\nand', b' more\n'])
END
        sed '/^sed /d' log; cat count"#;
    let elsewhere = tempfile::tempdir().unwrap();
    let said = shell_ok(script, &[&mount.file(""), &elsewhere.path()]);
    let expected = "\
redirected
in two\u{20}
records
to standard output
to standard error
in one record
piped
dd
piped
python
a+
more
of a FileHandler
of a WatchedFileHandler
gathered from pieces
and more
1016
";
    assert_eq!(said, expected);
    assert_eq!(read(&mount.file("1")), b"in two ");
    mount.stop_and_verify();
}

// > Opening `log` for writing without O_APPEND, or with O_TRUNC, is EPERM, for root too. So are `ftruncate`, and
// > a write after O_APPEND was taken away.
#[test]
fn what_is_there_is_not_overwritten() {
    let mut mount = Mount::new();
    mount.append("kept\n");
    let open_with = |flags: i32| {
        let access = flags & libc::O_ACCMODE;
        OpenOptions::new()
            .read(access != libc::O_WRONLY)
            .write(access != libc::O_RDONLY)
            .custom_flags(flags & !libc::O_ACCMODE)
            .open(mount.file("log"))
    };
    for flags in [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_WRONLY | libc::O_CREAT,
        libc::O_WRONLY | libc::O_TRUNC,
        libc::O_RDONLY | libc::O_TRUNC,
        libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC,
        libc::O_RDWR | libc::O_APPEND | libc::O_TRUNC,
    ] {
        refused(open_with(flags), Errno::EPERM);
    }
    for flags in [libc::O_WRONLY, libc::O_RDWR] {
        let mut file = open_with(flags | libc::O_APPEND | libc::O_CREAT).unwrap();
        for length in [0, 1, 5, 1 << 40] {
            refused(file.set_len(length), Errno::EPERM);
        }
        // SAFETY: a call without pointers.
        let failed = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 100) };
        assert_eq!((failed, Errno::last()), (-1, Errno::EPERM));
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        refused(file.write(b"over"), Errno::EPERM);
        refused(file.write_at(b"over", 0), Errno::EPERM);
        refused(file.write_at(b"over", i64::MAX as u64 - 10), Errno::EPERM);
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).unwrap();
        // As on any file that is open with O_APPEND.
        assert_eq!(file.write_at(b"behind\n", 0).unwrap(), 7);
        assert_eq!(file.seek(SeekFrom::Start(0)).unwrap(), 0);
        assert_eq!(file.write(b"behind\n").unwrap(), 7);
    }
    assert_eq!(
        read(&mount.file("log")),
        b"kept\nbehind\nbehind\nbehind\nbehind\n"
    );
    mount.stop_and_verify();
}

#[test]
fn programs_that_would_change_it_say_so_and_change_nothing() {
    let mut mount = Mount::new();
    mount.append("kept\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let script = r#"
        cd "$1"
        cp log "$2/x"
        for command in 'echo x > log' 'echo x 1<> log' 'tee log < /dev/null' 'cp "$2/x" log' 'cp -f "$2/x" log' \
            'mv "$2/x" log' 'install "$2/x" log' 'dd if="$2/x" of=log' 'dd if="$2/x" of=log conv=notrunc' \
            'sed -i s/kept/lost/ log' 'truncate -s 0 log' 'truncate -s +1 log' \
            'fallocate -l 99 log' 'touch log' 'shred -n 1 log' ': > log' 'sort -o log log' \
            'python3 -c "open(\"log\", \"w\")"' 'python3 -c "open(\"log\", \"r+\")"'
        do
            if LC_ALL=C bash -c "$command" bash "$1" "$2" > "$2/said" 2>&1; then
                echo "not refused: $command"
            elif ! grep -q 'Operation not permitted' "$2/said"; then
                echo "$command:"; cat "$2/said"
            fi
        done
        ls "$2"; cat log count"#;
    let said = shell_ok(script, &[&mount.file(""), &elsewhere.path()]);
    assert_eq!(said, "said\nx\nkept\n1\n");
    mount.stop_and_verify();
}

#[test]
fn it_is_not_mapped_for_writing() {
    let mount = Mount::new();
    mount.append(vec![b'x'; 8192]);
    let file = open_to_read_too(&mount);
    for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE] {
        for flags in [libc::MAP_SHARED, libc::MAP_SHARED_VALIDATE] {
            // SAFETY: a new mapping at an address that the kernel chooses.
            let mapped = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    protection,
                    flags,
                    file.as_raw_fd(),
                    0,
                )
            };
            assert_eq!((mapped, Errno::last()), (libc::MAP_FAILED, Errno::ENODEV));
        }
    }
    assert_eq!(read(&mount.file("0")), vec![b'x'; 8192]);
}

// > `st_size` of `follow` and `log` is the number of bytes that can be read from them now.
#[test]
fn its_size_is_true_after_each_write_also_where_the_kernel_guesses_another_one() {
    let mount = Mount::new();
    let mut log = open_to_read_too(&mount);
    let mut text = String::new();
    // A line that waits is not there yet; one that somebody else has appended, with a newline of ours, is.
    for (n, piece) in [
        "one\n",
        "half",
        " and",
        " half\n",
        "two\nthree\n",
        "x",
        "\n",
    ]
    .into_iter()
    .cycle()
    .take(70)
    .enumerate()
    {
        log.write_all(piece.as_bytes()).unwrap();
        text += piece;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if n % 3 == 0 {
            mount.append("no newline");
            let waits = text.split_off(whole);
            text += "no newline\n";
            text += &waits;
        }
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        assert_eq!(log.metadata().unwrap().len(), whole as u64);
        assert_eq!(fs::metadata(mount.file("log")).unwrap().len(), whole as u64);
        assert_eq!(log.seek(SeekFrom::End(0)).unwrap(), whole as u64);
        assert_eq!(log.read(&mut [0; 100]).unwrap(), 0);
        log.rewind().unwrap();
        let mut same = Vec::new();
        log.read_to_end(&mut same).unwrap();
        assert_eq!(same, &text.as_bytes()[..whole], "in the same open file");
        assert_eq!(read(&mount.file("log")), &text.as_bytes()[..whole]);
    }
    let said = shell_ok(
        r#"cd "$1"; wc -c < log; stat -c %s log"#,
        &[&mount.file("")],
    );
    assert_eq!(said, format!("{0}\n{0}\n", text.len()));
}

/// Whoever asks for the size or the end while others write gets one that was true, and no byte that is not the
/// log's.
#[test]
fn its_size_is_true_while_others_write() {
    const LINES: usize = 3000;
    const LINE: &[u8] = b"0123456789 a line of 31 bytes.\n";
    let mount = Mount::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut log = mount.appender("log");
                    for n in 0..LINES {
                        let (start, end) = LINE.split_at(1 + n % 29);
                        log.write_all(start).unwrap();
                        log.write_all(end).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for _ in 0..LINES {
                // The newline is not written: it is shown.
                mount.append(&LINE[..LINE.len() - 1]);
            }
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut log = open_to_read_too(&mount);
        let mut seen = 0;
        while !done.load(Ordering::SeqCst) {
            let sizes = [
                log.metadata().unwrap().len(),
                log.seek(SeekFrom::End(0)).unwrap(),
                fs::metadata(mount.file("log")).unwrap().len(),
            ];
            for size in sizes {
                assert_eq!(
                    size % LINE.len() as u64,
                    0,
                    "{sizes:?}: not the end of a line"
                );
                assert!(size >= seen, "{sizes:?}: it was {seen}");
                seen = size;
            }
            let mut last = vec![0; 10 * LINE.len()];
            let at = seen.saturating_sub(last.len() as u64);
            let got = log.read_at(&mut last, at).unwrap();
            assert!(last[..got].chunks(LINE.len()).all(|line| line == LINE));
        }
    });
    assert_eq!(mount.count(), 3 * LINES as u64);
    assert_eq!(
        fs::metadata(mount.file("log")).unwrap().len(),
        (3 * LINES * LINE.len()) as u64
    );
}

#[test]
fn who_watches_or_tails_it_learns_of_what_is_written_to_it() {
    let mount = Mount::new();
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    inotify
        .add_watch(&mount.file("log"), AddWatchFlags::IN_MODIFY)
        .unwrap();
    let mut tails: Vec<Reader> = vec![
        Reader::start(
            "tail",
            &[&"-n", &"+1", &"-s", &"0.05", &"-f", &mount.file("log")],
        ),
        Reader::start(
            "busybox",
            &[&"tail", &"-n", &"+1", &"-f", &mount.file("log")],
        ),
        Reader::start(
            support::installed_tool("tail"),
            &[&"-n", &"+1", &"-f", &mount.file("log")],
        ),
        Reader::start("cat", &[&mount.file("follow")]),
    ];
    let mut log = mount.appender("log");
    for n in 0..5 {
        let line = format!("line {n} with a tail");
        log.write_all(&line.as_bytes()[..6]).unwrap();
        log.write_all(&line.as_bytes()[6..]).unwrap();
        log.write_all(b"\n").unwrap();
        for tail in &mut tails {
            assert_eq!(tail.line().as_deref(), Some(&*line));
        }
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        assert_eq!(poll(&mut fds, timeout).unwrap(), 1);
        let events: BTreeSet<_> = inotify
            .read_events()
            .unwrap()
            .iter()
            .map(|e| e.mask.bits())
            .collect();
        assert_eq!(events, BTreeSet::from([AddWatchFlags::IN_MODIFY.bits()]));
    }
}

#[test]
fn a_line_without_its_end_becomes_a_record_at_its_openers_close() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        printf open >> log; cat count
        exec 3>> log 4< log; printf par >&3; (printf tial >&3; :); cat count; exec 3>&-; cat count
        bash -c 'printf killed >> log; exec 3>> log; printf "whole\nopen" >&3; kill -KILL $$'
        until [ "$(cat count)" = 5 ]; do :; done
        cat log"#;
    assert_eq!(
        shell_ok(script, &[&mount.file("")]),
        "1\n1\n2\nopen\npartial\nkilled\nwhole\nopen\n"
    );
}

#[test]
fn a_line_in_it_is_as_long_as_a_record_may_be_and_a_file_limit_holds_as_on_any_file() {
    let mount = Mount::with(&["--max-record", "1KiB"]);
    let mut log = mount.appender("log");
    refused(log.write(&[b'x'; 1025]), Errno::EMSGSIZE);
    log.write_all(&[b'x'; 1023]).unwrap();
    log.write_all(b"\n").unwrap();
    assert_eq!(mount.count(), 1);
    let limited =
        r#"ulimit -f 2; trap '' XFSZ; for i in 1 2 3; do printf '%1023s\n' $i; done >> "$1""#;
    let output = shell(limited, &[&mount.file("log")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(mount.count(), 2);
}

#[test]
fn a_disk_is_waited_for_as_on_an_append_file() {
    for sync in ["always", "1h", "never"] {
        let mut mount = Mount::with(&["--sync", sync]);
        for flags in [0, libc::O_DSYNC, libc::O_SYNC] {
            let mut options = File::options();
            let mut log = options
                .append(true)
                .custom_flags(flags)
                .open(mount.file("log"))
                .unwrap();
            log.write_all(b"one\ntw").unwrap();
            log.sync_data().unwrap();
            log.write_all(b"o\n").unwrap();
            log.sync_all().unwrap();
        }
        mount.kill();
        mount.start();
        assert_eq!(read(&mount.file("log")), "one\ntwo\n".repeat(3).as_bytes());
        mount.stop_and_verify();
    }
}

#[test]
fn a_daemon_of_ones_own_may_have_it_as_standard_output() {
    let mount = Mount::new();
    let log = mount.appender("log");
    let mut child = std::process::Command::new("bash")
        .args([
            "-c",
            "for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf end",
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    assert!(support::wait(&mut child).success());
    let expected = "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nend\n";
    support::eventually("the last line is a record", || {
        read(&mount.file("log")) == expected.as_bytes()
    });
}
