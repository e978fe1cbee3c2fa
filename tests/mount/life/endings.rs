//! The life of a mount: killed and ended in every way, and what is there afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use support::{DEADLINE, Mount, Reader, append, eventually, read, umount, wait};

/// Appends numbered records until the mount fails, and says after each one that it was acknowledged.
fn write_until_it_fails(file: &Path, name: &str, from: u64, acknowledged: &AtomicU64) {
    let Ok(mut file) = File::options().append(true).open(file) else {
        return;
    };
    for n in from.. {
        if file.write_all(format!("{name} {n}\n").as_bytes()).is_err() {
            return;
        }
        acknowledged.store(n + 1, Ordering::Release);
    }
}

// > After `kill -9` of the daemon every record whose write has returned is there.
// > A mount point left behind by a daemon that was killed is taken over by the next one.
#[test]
fn kills_under_load_lose_no_acknowledged_record_and_leave_no_reader_waiting() {
    // A long run: IMMUTA_KILLS=1000 cargo test --release --test mount kills
    let kills = std::env::var("IMMUTA_KILLS").map_or(50, |kills| kills.parse().unwrap());
    const RECORDS_A_ROUND: u64 = 200;
    let mut mount = Mount::with(&["--log-level", "warn"]);
    let writers = [
        ("a", "append"),
        ("b", "append"),
        ("c", "append"),
        ("d", "append"),
        ("e", "append-lines"),
        ("f", "append-lines"),
        ("g", "append-lines"),
        ("h", "append-lines"),
    ];
    // For each writer, the number that it is to write next.
    let mut next: BTreeMap<&str, u64> = writers.iter().map(|(name, _)| (*name, 0)).collect();
    // Of each writer, the records that are in the log.
    let mut stored: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut seen = 0;
    for _ in 0..kills {
        let mut reader = Command::new("cat")
            .arg(mount.file("follow"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let counters = [const { AtomicU64::new(0) }; 8];
        std::thread::scope(|s| {
            for ((name, file), counter) in writers.iter().zip(&counters) {
                let (path, from) = (mount.file(file), next[name]);
                s.spawn(move || write_until_it_fails(&path, name, from, counter));
            }
            eventually("the writers have written", || {
                let written = writers.iter().zip(&counters).map(|((name, _), counter)| {
                    counter.load(Ordering::Acquire).saturating_sub(next[name])
                });
                written.sum::<u64>() >= RECORDS_A_ROUND
            });
            mount.kill();
        });
        assert!(!wait(&mut reader).success(), "the reader saw no error");

        mount.start();
        let text = String::from_utf8(read(&mount.file("log"))).unwrap();
        // What was read before is unchanged; only the rest has to be looked at.
        for line in text[seen..].lines() {
            let (name, number) = line.split_once(' ').unwrap();
            let (name, _) = *writers.iter().find(|(w, _)| *w == name).unwrap();
            stored
                .entry(name)
                .or_default()
                .push(number.parse().unwrap());
        }
        seen = text.len();
        assert_eq!(mount.count(), text.lines().count() as u64);
        for ((name, _), counter) in writers.iter().zip(&counters) {
            let acknowledged = counter.load(Ordering::Acquire).max(next[name]);
            let stored = stored.entry(name).or_default();
            // The one that was on its way may be there or not; all before it are, once, in order.
            let on_its_way = stored.last() == Some(&acknowledged);
            let all = acknowledged + u64::from(on_its_way);
            assert!(
                stored.iter().copied().eq(0..all),
                "writer {name}: {acknowledged} acknowledged, {stored:?}"
            );
            next.insert(name, all);
        }
    }
    mount.stop_and_verify();
}

/// A process that holds the mount in use: with its working directory, and with open files.
fn sitter(mount: &Mount, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut sitter = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(mount.file(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(sitter.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (sitter, stdout)
}

// > SIGTERM and SIGINT end the daemon: reads that wait get end of file, the logs are synced, the mount point is free,
// > and its exit status is 0.
#[test]
fn a_signal_ends_the_daemon_whoever_uses_the_mount() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for script in [
            "echo ready; read -r",
            r#"cd "$1"; echo ready; read -r"#,
            r#"exec 3<"$1/log" 4>"$1/append"; read -r line <&3; echo ready; read -r"#,
            r#"exec 3<"$1/0"; exec 4<"$1"; echo ready; read -r"#,
        ] {
            let mut mount = Mount::new();
            mount.append("first");
            let mut follower = Reader::start("cat", &[&mount.file("follow")]);
            assert_eq!(follower.line().as_deref(), Some("first"));
            follower.wait_until_blocked();
            let (mut sitter, _stdout) = sitter(&mount, script);

            mount.signal(signal);
            assert_eq!(mount.wait().code(), Some(0), "{signal}, {script}");
            assert!(!mount.is_mounted());
            assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
            assert_eq!(follower.line(), None);
            assert!(wait(&mut follower.child).success(), "it got no end of file");
            // Closed in order: the next start has nothing to say.
            let messages = mount.messages();
            mount.start();
            assert_eq!(read(&mount.file("0")), b"first");
            assert_eq!(mount.messages(), messages);
            drop(sitter.stdin.take());
            wait(&mut sitter);
            mount.stop_and_verify();
        }
    }
}

#[test]
fn umount_ends_the_daemon() {
    let mut mount = Mount::new();
    mount.append("first");
    umount(&mount.path());
    assert_eq!(mount.wait().code(), Some(0));
    assert!(!mount.is_mounted());
    mount.start();
    assert_eq!(read(&mount.file("0")), b"first");
    mount.stop_and_verify();
}

#[test]
fn umount_of_a_mount_in_use_is_refused_and_harms_nothing() {
    let mut mount = Mount::new();
    let mut follower = Reader::start("cat", &[&mount.file("follow")]);
    follower.wait_until_blocked();
    let output = Command::new("umount").arg(mount.path()).output().unwrap();
    assert!(!output.status.success());
    mount.append("first");
    assert_eq!(follower.line().as_deref(), Some("first"));
    assert!(mount.stop().success());
}

// > `umount -l` ends the reads that wait.
#[test]
fn a_lazy_umount_ends_the_reads_that_wait_and_then_the_daemon() {
    let mut mount = Mount::new();
    mount.append("first");
    let mut follower = Reader::start("cat", &[&mount.file("follow")]);
    let mut next = Reader::start("cat", &[&mount.file("1")]);
    assert_eq!(follower.line().as_deref(), Some("first"));
    follower.wait_until_blocked();
    next.wait_until_blocked();
    let status = Command::new("umount")
        .arg("-l")
        .arg(mount.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(follower.line(), None);
    assert!(wait(&mut follower.child).success());
    assert_eq!(next.line(), None);
    assert!(wait(&mut next.child).success());
    assert_eq!(mount.wait().code(), Some(0));
}

#[test]
fn a_lazy_umount_lets_a_writer_that_has_the_file_open_go_on() {
    let mut mount = Mount::new();
    let mut file = mount.appender("append");
    file.write_all(b"before").unwrap();
    let status = Command::new("umount")
        .arg("-l")
        .arg(mount.path())
        .status()
        .unwrap();
    assert!(status.success());
    file.write_all(b"after").unwrap();
    drop(file);
    assert_eq!(mount.wait().code(), Some(0));
    mount.start();
    assert_eq!(read(&mount.file("log")), b"before\nafter\n");
    mount.stop_and_verify();
}

// > When the kernel cuts the mount off (`umount -f` while it is in use), the daemon unmounts it and ends with status 1.
#[test]
fn a_mount_that_the_kernel_cuts_off_is_cleared_away_and_is_a_failure() {
    let mut mount = Mount::new();
    mount.append("first");
    let (mut sitter, _stdout) = sitter(&mount, r#"cd "$1"; echo ready; read -r"#);
    let force = Command::new("umount")
        .arg("-f")
        .arg(mount.path())
        .output()
        .unwrap();
    if nix::unistd::geteuid().is_root() {
        assert!(!force.status.success(), "it was not in use");
        assert_eq!(mount.wait().code(), Some(1));
        let said = mount.messages();
        let expected = format!(
            "immuta-fs: the kernel has cut off the mount on '{}': by umount -f, or because a request was not answered in \
             time\n",
            mount.path().display()
        );
        assert!(said.ends_with(&expected), "{said}");
        assert!(!mount.is_mounted());
        mount.start();
    }
    drop(sitter.stdin.take());
    wait(&mut sitter);
    assert_eq!(read(&mount.file("0")), b"first");
    mount.stop_and_verify();
}

/// Runs a second daemon to its end.
fn second(logs: &Path, mountpoint: &Path) -> (Option<i32>, String) {
    let output = Command::new("timeout")
        .arg(DEADLINE.as_secs().to_string())
        .arg(env!("CARGO_BIN_EXE_immuta-fs"))
        .args([logs, mountpoint])
        .output()
        .unwrap();
    assert!(output.stdout.is_empty());
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

// > A second daemon on the same directory of logs fails, and names the process that holds the directory.
#[test]
fn a_second_daemon_on_the_same_logs_says_who_holds_them() {
    let mut mount = Mount::new();
    let other = tempfile::tempdir().unwrap();
    let expected = format!(
        "immuta-fs: '{}' is in use by pid {} (immuta-fs): a directory has one writer (use its mount '{}', or mount with \
         --read-only)\n",
        mount.logs().display(),
        mount.pid(),
        mount.path().display()
    );
    assert_eq!(second(&mount.logs(), other.path()), (Some(1), expected));
    mount.append("first");
    mount.stop_and_verify();
}

#[test]
fn a_second_mount_on_the_same_mount_point_is_refused() {
    let mut mount = Mount::new();
    let other = tempfile::tempdir().unwrap();
    let expected = format!(
        "immuta-fs: cannot mount on '{}': logs are mounted there already (use them, or unmount them first)\n",
        mount.path().display()
    );
    assert_eq!(second(other.path(), &mount.path()), (Some(1), expected));
    mount.append("first");
    mount.stop_and_verify();
}

#[test]
fn a_killed_daemon_ends_its_readers_with_an_error() {
    let mut mount = Mount::new();
    let mut readers: Vec<Reader> = ["follow", "0"]
        .map(|name| Reader::start("cat", &[&mount.file(name)]))
        .into();
    let mut poller = Reader::shell(
        r#"exec 3<"$1"; echo ready; read -r line <&3; echo "status $?""#,
        &[&mount.file("follow")],
    );
    assert_eq!(poller.line().as_deref(), Some("ready"));
    for reader in readers.iter().chain([&poller]) {
        reader.wait_until_blocked();
    }
    mount.kill();
    for reader in &mut readers {
        assert_eq!(reader.line(), None);
        assert!(!wait(&mut reader.child).success());
    }
    assert_eq!(poller.line().as_deref(), Some("status 1"));
}

#[test]
fn a_mount_of_something_else_is_not_taken_over() {
    let mut mount = Mount::new();
    // The next daemon clears away what its own kind has left, not what is mounted on top of it.
    let tmpfs = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(mount.path())
        .status()
        .unwrap();
    if !tmpfs.success() {
        return; // Only root may.
    }
    fs::write(mount.path().join("file"), "foreign").unwrap();
    mount.kill();
    let (code, message) = second(&mount.logs(), &mount.path());
    let umount = Command::new("umount").arg(mount.path()).status().unwrap();
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("not empty"), "{message}");
    assert!(umount.success());
    mount.start();
    assert!(mount.is_mounted());
}

#[test]
fn a_restart_keeps_everything() {
    let mut mount = Mount::new();
    fs::create_dir(mount.path().join("other")).unwrap();
    let records = [&b"a"[..], b"b\n", b"\0\n\n", &[b'x'; 100_000]];
    for round in 0..4 {
        for record in records {
            append(&mount.file("append"), record).unwrap();
            append(&mount.path().join("other/append"), record).unwrap();
        }
        match round {
            0 | 1 => mount.restart(),
            _ => {
                mount.kill();
                mount.start();
            }
        }
        for namespace in ["default", "other"] {
            let directory = mount.path().join(namespace);
            for n in 0..(round + 1) * records.len() {
                assert!(read(&directory.join(n.to_string())) == records[n % records.len()]);
            }
            assert!(
                !directory
                    .join((round * records.len() + 5).to_string())
                    .exists()
            );
        }
    }
    mount.stop_and_verify();
}

/// Appends some records, ends the daemon with `end`, changes its files, and starts it again.
fn changed_on_disk(end: fn(&mut Mount), change: impl Fn(&Path)) -> Mount {
    // Nothing but an orderly end syncs: then a killed daemon always leaves a log with an end that was not
    // synced.
    let mut mount = Mount::with(&["--sync", "never"]);
    for n in 0..100 {
        mount.append(format!("record {n}\n"));
    }
    end(&mut mount);
    change(&mount.logs());
    mount.start();
    mount
}

fn serves_the_first(mount: &mut Mount, records: u64) {
    let expected: String = (0..records).map(|n| format!("record {n}\n")).collect();
    assert_eq!(mount.count(), records);
    assert_eq!(
        String::from_utf8(read(&mount.file("log"))).unwrap(),
        expected
    );
    mount.append("and more\n");
    mount.restart();
    assert_eq!(
        String::from_utf8(read(&mount.file("log"))).unwrap(),
        expected + "and more\n"
    );
    mount.stop_and_verify();
}

fn stop(mount: &mut Mount) {
    assert!(mount.stop().success());
}

#[test]
fn garbage_behind_the_last_record_is_cut_off_with_a_warning() {
    for end in [stop, Mount::kill] {
        for garbage in [
            &b"\x05\0\0\0\0\0\0\0ab"[..],
            b"\xff",
            &[0xff; 300],
            &[0; 64],
        ] {
            let mut mount = changed_on_disk(end, |logs| {
                append(&logs.join("default.log"), garbage).unwrap();
            });
            let messages = mount.messages();
            assert!(
                messages.contains("WARN") && messages.contains("default"),
                "{garbage:?}: {messages}"
            );
            serves_the_first(&mut mount, 100);
        }
    }
}

/// Cuts into the last record of the log.
fn cut(logs: &Path) {
    let path = logs.join("default.log");
    let length = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length - 3).unwrap();
}

#[test]
fn a_log_that_lost_what_was_not_synced_serves_the_records_that_are_whole() {
    let mut mount = changed_on_disk(Mount::kill, cut);
    assert!(mount.messages().contains("WARN"), "{}", mount.messages());
    serves_the_first(&mut mount, 99);
}

#[test]
fn a_log_that_lost_what_was_synced_is_left_alone_and_the_others_are_served() {
    let mut mount = changed_on_disk(stop, |logs| {
        cut(logs);
        fs::write(logs.join("other.log"), 0u64.to_le_bytes()).unwrap();
    });
    let log = fs::read(mount.logs().join("default.log")).unwrap();
    let messages = mount.messages();
    assert!(
        messages.contains("record 99 of 'default' is damaged at byte 1780 of the log"),
        "{messages}"
    );
    assert!(mount.file("error").exists() && !mount.file("log").exists());
    append(&mount.path().join("other/append"), "first").unwrap();
    assert_eq!(read(&mount.path().join("other/log")), b"first\n");
    stop(&mut mount);
    assert!(fs::read(mount.logs().join("default.log")).unwrap() == log);
}

#[test]
fn a_lost_index_is_made_again() {
    for end in [stop, Mount::kill] {
        let mut mount = changed_on_disk(end, |logs| {
            fs::remove_file(logs.join("default.idx")).unwrap();
        });
        serves_the_first(&mut mount, 100);
        let mut mount = changed_on_disk(end, |logs| {
            let file = File::options()
                .write(true)
                .open(logs.join("default.idx"))
                .unwrap();
            file.set_len(200).unwrap();
        });
        serves_the_first(&mut mount, 100);
    }
}
