//! A mount over a disk that fills up, and over one that fails: every system call that writes, each in turn.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use immuta::{Options, Storage};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use support::files::frames_of;
use support::{Disk, Mount, Reader, eventually, refused, shell, shell_ok};

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap())
}

/// > A write for which the disk has no room is ENOSPC and stores nothing. Readers go on, and writes work again
/// > when there is room.
#[test]
fn a_full_disk_refuses_records_whole_and_takes_them_again_when_there_is_room() {
    for mode in ["always", "1s", "never"] {
        let mut mount = Mount::idle(&["--sync", mode]);
        let disk = Disk::new(&mount.logs(), "256k");
        mount.start();
        let mut follow = Reader::start("cat", &[&mount.file("follow")]);
        let mut append = mount.appender("append");
        let mut lines = mount.appender("append-lines");
        let mut frames = mount.appender("append-frames");
        let mut log = mount.appender("log");
        let mut expected = Vec::new();
        // Fill it, then refuse a while: small records and large ones, single ones and batches.
        for (round, room) in ["256k", "512k", "1m"].into_iter().enumerate() {
            disk.resize(room);
            let mut refused = 0;
            for n in 0.. {
                let size = [10, 999, 5000][n % 3];
                let line = format!("{round}-{n:-<size$}\n");
                let batch = [line.as_str(), "second line of its batch\n"].concat();
                let lines_of =
                    |batch: &str| batch.split_inclusive('\n').map(str::to_owned).collect();
                let (written, records) = match n % 4 {
                    0 => (append.write(line.as_bytes()), vec![line]),
                    1 => (lines.write(batch.as_bytes()), lines_of(&batch)),
                    2 => (
                        frames.write(&frames_of(batch.split_inclusive('\n'))),
                        lines_of(&batch),
                    ),
                    _ => (log.write(batch.as_bytes()), lines_of(&batch)),
                };
                if written.is_ok() {
                    expected.extend(records);
                }
                if let Err(e) = written {
                    assert_eq!(errno(&e), Errno::ENOSPC);
                    refused += 1;
                    if refused == 20 {
                        break;
                    }
                }
            }
            assert_eq!(mount.count(), expected.len() as u64);
        }
        assert_eq!(
            fs::read_to_string(mount.file("log")).unwrap(),
            expected.concat()
        );
        for line in &expected {
            assert_eq!(follow.line().as_deref(), Some(line.trim_end()));
        }
        drop((append, lines, frames, log));
        disk.resize("8m");
        mount.append("the last one\n");
        assert_eq!(follow.line().as_deref(), Some("the last one"));
        drop(follow);
        mount.stop_and_verify();
    }
}

/// Bytes that are free on the disk of the logs.
fn room(mount: &Mount) -> u64 {
    let disk = statvfs(&mount.logs()).unwrap();
    disk.blocks_available() * disk.fragment_size()
}

fn append_file(mount: &Mount) -> File {
    let mut options = File::options();
    options.write(true).open(mount.file("append-file")).unwrap()
}

/// > A record for which the disk has no room is ENOSPC, from the write or from the `close`. Nothing of it is
/// > stored, and the room that it took is free again.
/// > After a write or an `ftruncate` that failed, nothing is stored, and `close` fails with the same error.
#[test]
fn a_file_for_which_there_is_no_room_is_refused_whole_and_takes_none() {
    const MIB: usize = 1 << 20;
    for mode in ["always", "1s", "never"] {
        let mut mount = Mount::idle(&["--sync", mode]);
        let disk = Disk::new(&mount.logs(), "16m");
        mount.start();
        mount.append("first\n");
        let before = room(&mount);
        let is_as_before = |what: &str| {
            eventually("the room is free again", || room(&mount) == before);
            assert_eq!(mount.count(), 1, "{mode}: {what}");
        };
        let piece = vec![b'x'; MIB];

        // What is written does not fit.
        let mut file = append_file(&mount);
        let refusal = (0..17).find_map(|_| file.write_all(&piece).err()).unwrap();
        assert_eq!(errno(&refusal), Errno::ENOSPC);
        refused(file.write(b"x"), Errno::ENOSPC);
        refused(file.sync_all(), Errno::ENOSPC);
        assert_eq!(nix::unistd::close(file), Err(Errno::ENOSPC));
        is_as_before("a write that does not fit");
        let copied = shell(
            r#"head -c 17M /dev/zero | cat > "$1""#,
            &[&mount.file("append-file")],
        );
        assert!(!copied.status.success());
        is_as_before("cat");

        // It fits, and then the disk is filled by others.
        for size in [50_000, 9 * MIB] {
            let mut file = append_file(&mount);
            file.write_all(&vec![b'x'; size]).unwrap();
            let filler = mount.logs().join("filler");
            fill(&filler);
            assert_eq!(nix::unistd::close(file), Err(Errno::ENOSPC), "{size}");
            fs::remove_file(&filler).unwrap();
            is_as_before("a close that finds no room");
        }

        // A shell does not look at what close says to its own commands: it learns from the write.
        let filler = mount.logs().join("filler");
        fill(&filler);
        for shell_name in ["bash", "dash", "busybox sh"] {
            let script = r#"$2 -c 'echo x > "$1"' sh "$1""#;
            let said = shell(script, &[&mount.file("append-file"), &shell_name]);
            assert!(!said.status.success(), "{shell_name}");
        }
        fs::remove_file(&filler).unwrap();
        is_as_before("a command of the shell");

        // It needs not much more than its own size.
        let mut file = append_file(&mount);
        for _ in 0..11 {
            file.write_all(&piece).unwrap();
        }
        assert_eq!(nix::unistd::close(file), Ok(()));
        assert_eq!(mount.count(), 2);
        disk.resize("64m");
        shell_ok(
            r#"head -c 17M /dev/zero > "$1"; echo small > "$1""#,
            &[&mount.file("append-file")],
        );
        let sizes = [1, 2, 3].map(|n| fs::metadata(mount.file(&n.to_string())).unwrap().len());
        assert_eq!(sizes, [11 << 20, 17 << 20, 6]);
        mount.stop_and_verify();
    }
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
}

/// What is done to a mount while a call fails: each write that returned is in the journal.
fn append_some(mount: &Mount, journal: &mut Vec<String>, round: &str) -> usize {
    let Ok(mut append) = File::options().append(true).open(mount.file("append")) else {
        return 1;
    };
    let mut refused = 0;
    for n in 0..6 {
        let record = format!("{round}-{n}\n");
        match append.write(record.as_bytes()) {
            Ok(_) => journal.push(record),
            Err(e) => {
                assert!(matches!(errno(&e), Errno::EIO | Errno::ENOSPC), "{e}");
                refused += 1;
            }
        }
        if n == 3 {
            let _ = append.sync_data();
        }
    }
    refused
}

/// > After a failed write to the disk a namespace takes no more records (EIO) until the daemon is started
/// > again. Committed records stay readable.
#[test]
fn whichever_system_call_fails_no_acknowledged_record_is_lost_and_the_next_start_goes_on() {
    let calls = [
        "pwrite64",
        "pwritev",
        "fdatasync",
        "fsync",
        "ftruncate",
        "openat",
        "write",
        "fallocate",
        "rename",
    ];
    let mut mount = Mount::new();
    let mut journal = Vec::new();
    let mut hits = 0;
    for call in calls {
        for error in ["EIO", "ENOSPC"] {
            for nth in [1, 2, 3, 5, 8] {
                // Each thread counts its own: the first of the main thread is the line that this test waits for. The
                // first one of another thread is that to the lock file: it is tried by itself, below.
                if call == "write" && nth == 1 {
                    continue;
                }
                let round = format!("{call}-{error}-{nth}");
                assert!(mount.stop().success(), "{round}: {}", mount.messages());
                let inject = format!("{call}:error={error}:when={nth}");
                match mount.start_with_failing(&inject, &[]) {
                    Ok(()) => {
                        hits += append_some(&mount, &mut journal, &round);
                        mount.stop();
                    }
                    Err(status) => {
                        assert_eq!(status.code(), Some(1), "{round}: {}", mount.messages());
                        hits += 1;
                    }
                }
                mount.start();
                let log = fs::read_to_string(mount.file("log")).unwrap();
                let records: Vec<&str> = log.split_inclusive('\n').collect();
                let mut rest = records.iter();
                for acknowledged in &journal {
                    assert!(
                        rest.any(|r| r == acknowledged),
                        "{round}: lost {acknowledged:?}\n{}",
                        mount.messages()
                    );
                }
                let known = [
                    "pwrite",
                    "fdatasync",
                    "fsync",
                    "ftruncate",
                    "openat",
                    "write",
                    "fallocate",
                    "rename",
                ];
                assert!(
                    records
                        .iter()
                        .all(|r| known.iter().any(|k| r.starts_with(k))),
                    "{round}: {records:?}"
                );
                mount.append(format!("{round}-after\n"));
                journal.push(format!("{round}-after\n"));
            }
        }
    }
    // Of the calls that an append makes, each fails some write of its round.
    assert!(hits > 20, "{hits} failures: does strace inject?");
    mount.stop_and_verify();
}

/// The lock file says who holds the lock, for people: that it cannot be written is none of the lock.
#[test]
fn a_lock_file_that_cannot_be_written_is_a_lock_all_the_same() {
    for call in ["write", "ftruncate"] {
        for error in ["EIO", "ENOSPC"] {
            let mut mount = Mount::idle(&[]);
            fs::create_dir(mount.logs()).unwrap();
            let lock = mount.logs().join(".immuta.lock");
            File::create(&lock).unwrap();
            let inject = format!("{call}:error={error}");
            let path = lock.to_str().unwrap();
            mount.start_with_failing(&inject, &["-P", path]).unwrap();
            assert_eq!(fs::read(&lock).unwrap(), b"", "{call}: does strace inject?");
            mount.append("one\n");
            let second = Storage::open(Options::new(mount.logs()));
            match second {
                Err(immuta::Error::Locked { holder, .. }) => {
                    assert_eq!(holder.to_string(), "another process");
                }
                other => panic!("{call} {error}: {other:?}"),
            }
            mount.stop_and_verify();
        }
    }
}

/// Records went into a file without a name, were acknowledged, and were gone when the daemon ended.
/// > A log whose file is removed or renamed on the disk takes no more records (EIO) from the next sync on, at
/// > the latest when the daemon ends. Committed records stay readable until then, and `stats` and the daemon's
/// > log say so.
#[test]
fn a_log_that_is_removed_or_renamed_on_the_disk_takes_no_more_records() {
    for (mode, rename) in [
        ("always", false),
        ("always", true),
        ("1s", false),
        ("never", true),
    ] {
        let mut mount = Mount::with(&["--sync", mode]);
        mount.append("kept\n");
        let stats = || fs::read_to_string(mount.file("stats")).unwrap();
        assert!(stats().contains("\"failed\": null"), "{}", stats());
        let log = mount.logs().join("default.log");
        if rename {
            fs::rename(&log, log.with_extension("log.old")).unwrap();
        } else {
            fs::remove_file(&log).unwrap();
        }
        let append = mount.file("append");
        let refused = || support::append(&append, "lost\n").is_err();
        let why = "the file was removed or renamed while it was open";
        if mode == "never" {
            assert!(!refused(), "nothing was synced");
        } else {
            eventually("it takes no more", refused);
            let error = support::append(&append, "lost\n").unwrap_err();
            assert_eq!(errno(&error), Errno::EIO);
            assert!(stats().contains(why), "{}", stats());
            let read = fs::read_to_string(mount.file("log")).unwrap();
            assert!(read.starts_with("kept\n"), "{read}");
        }
        assert_eq!(mount.stop().code(), Some(1), "{mode}: {}", mount.messages());
        assert!(
            mount.messages().contains(why),
            "{mode}: {}",
            mount.messages()
        );
    }
}
