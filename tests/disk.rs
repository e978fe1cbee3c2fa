//! A mount over a disk that fills up, and over one that fails: every system call that writes, each in turn.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use common::{Mount, Reader};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A small disk of its own for the logs. Unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: &Path, size: &str) -> Disk {
        fs::create_dir(path).unwrap();
        let size = format!("size={size}");
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(size.as_str()),
        )
        .unwrap();
        Disk(path.to_owned())
    }

    fn resize(&self, size: &str) {
        let size = format!("size={size}");
        mount(
            None::<&str>,
            &self.0,
            None::<&str>,
            MsFlags::MS_REMOUNT,
            Some(size.as_str()),
        )
        .unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Each line as a frame.
fn frames_of(lines: &str) -> Vec<u8> {
    let frame = |line: &str| [&(line.len() as u64).to_le_bytes()[..], line.as_bytes()].concat();
    lines.split_inclusive('\n').flat_map(frame).collect()
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap())
}

/// > A write for which the disk has no room is ENOSPC and stores nothing; readers go on, and writes work again when there is room.
#[test]
fn a_full_disk_refuses_records_whole_and_takes_them_again_when_there_is_room() {
    for mode in ["always", "1s", "never"] {
        let mut mount = Mount::idle(&["--sync", mode]);
        let disk = Disk::new(&mount.logs(), "256k");
        mount.start();
        let mut follow = Reader::start("cat", &[&mount.file("follow")]);
        let mut append = File::options()
            .append(true)
            .open(mount.file("append"))
            .unwrap();
        let mut lines = File::options()
            .append(true)
            .open(mount.file("append-lines"))
            .unwrap();
        let mut frames = File::options()
            .append(true)
            .open(mount.file("append-frames"))
            .unwrap();
        let mut log = File::options()
            .append(true)
            .open(mount.file("log"))
            .unwrap();
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
                    2 => (frames.write(&frames_of(&batch)), lines_of(&batch)),
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

/// > After a failed write to the disk a namespace takes no more records, EIO, until the daemon is started again; what is committed stays readable.
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
                let round = format!("{call}-{error}-{nth}");
                assert!(mount.stop().success(), "{round}: {}", mount.messages());
                let inject = format!("inject={call}:error={error}:when={nth}");
                let strace = [
                    "strace",
                    "-D",
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    "signal=none",
                    "-e",
                    &inject,
                ];
                match mount.start_under(&strace) {
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
