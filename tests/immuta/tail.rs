//! `immuta tail`: which records it prints, in which forms, and how it follows.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use immuta::{Durability, Format, Options, Storage};
use nix::sys::signal::{Signal, kill};
use support::files::frames_of;
use support::immuta_cli::{Dir, immuta, misused, prints, refuses, said};
use support::{Mount, Reader, append, eventually};

fn numbers(dir: &Dir, count: usize) {
    let records: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    dir.log("a", Format::Count8, &records);
}

/// What GNU tail prints of a file with as many lines.
fn lines(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|n| format!("{n}\n")).collect()
}

#[test]
fn it_prints_as_many_records_as_tail_prints_lines() {
    let dir = Dir::new();
    numbers(&dir, 25);
    let tail = |options: &[&str]| prints(&[&["tail", dir.str(), "a"], options].concat());
    assert_eq!(tail(&[]), lines(16..=25));
    for (n, first) in [
        ("3", 23),
        ("-3", 23),
        ("0", 26),
        ("25", 1),
        ("1000", 1),
        ("+1", 1),
        ("+0", 1),
        ("all", 1),
        ("+24", 24),
        ("+26", 26),
        ("+99", 26),
    ] {
        assert_eq!(tail(&["-n", n]), lines(first..=25), "-n {n}");
        assert_eq!(tail(&[&format!("-n{n}")]), lines(first..=25), "-n{n}");
        assert_eq!(tail(&["--records", n]), lines(first..=25), "--records {n}");
    }
    for bad in ["x", "", "1k", "+-1", "--1", "-+1", "99999999999999999999"] {
        assert_eq!(
            misused(&["tail", dir.str(), "a", &format!("-n={bad}")]),
            format!(
                "immuta: invalid value '{bad}' for '--records <N>': not a number such as 10, +1 or all \
                 (immuta tail --help tells how)\n"
            )
        );
    }
}

#[test]
fn records_are_printed_in_four_forms() {
    let dir = Dir::new();
    let options = Options::new(dir.path())
        .format(Format::Count8)
        .namespaces(["a"])
        .sync(Durability::Never);
    let storage = Storage::open(options).unwrap();
    let log = storage.log("a").unwrap();
    let then = Some(UNIX_EPOCH + Duration::new(1_795_255_200, 5));
    let batch: [(&[u8], _); 4] = [
        (b"line\n", then),
        (b"none", None),
        (b"", then),
        (b"\xff\x00", then),
    ];
    log.append_copies(&batch).unwrap();
    log.append_copies(&[("q\"\\\t\u{1}\u{7f}\u{e9}".as_bytes(), then)])
        .unwrap();
    storage.close().unwrap();
    let tail = |form: &str| {
        let output = immuta(&["tail", dir.str(), "a", "--format", form]).output();
        output.unwrap().stdout
    };
    let last = "q\"\\\t\u{1}\u{7f}\u{e9}";
    assert_eq!(
        tail("raw"),
        [b"line\nnone\xff\x00", last.as_bytes()].concat()
    );
    let text = [b"line\nnone\n\n\xff\x00\n", last.as_bytes(), b"\n"].concat();
    assert_eq!(tail("lines"), text);
    let frames = [b"line\n", &b"none"[..], b"", b"\xff\x00", last.as_bytes()];
    assert_eq!(tail("frames"), frames_of(frames));
    let json = [
        r#"{"record":0,"index":8,"time":"2026-11-21T10:00:00.000000005Z","size":5,"text":"line\n"}"#,
        r#"{"record":1,"index":21,"time":null,"size":4,"text":"none"}"#,
        r#"{"record":2,"index":33,"time":"2026-11-21T10:00:00.000000005Z","size":0,"text":""}"#,
        r#"{"record":3,"index":41,"time":"2026-11-21T10:00:00.000000005Z","size":2,"base64":"/wA="}"#,
        "{\"record\":4,\"index\":51,\"time\":\"2026-11-21T10:00:00.000000005Z\",\"size\":8,\"text\":\"q\\\"\\\\\\t\\u0001\u{7f}\u{e9}\"}",
    ];
    assert_eq!(
        String::from_utf8(tail("jsonl")).unwrap(),
        json.join("\n") + "\n"
    );
    assert_eq!(
        misused(&["tail", dir.str(), "a", "--format", "xml"]),
        "immuta: invalid value 'xml' for '--format <FORM>': none of raw, lines, jsonl, frames \
         (immuta tail --help tells how)\n"
    );
}

#[test]
fn since_is_a_time_or_a_while_ago_and_goes_together_with_a_number() {
    let dir = Dir::new();
    let storage = Storage::open(Options::new(dir.path()).namespaces(["a", "old"])).unwrap();
    let hours_ago = |hours: u64| Some(SystemTime::now() - Duration::from_secs(hours * 3600));
    let log = storage.log("a").unwrap();
    for hours in [5, 4, 3, 2, 1] {
        let text = format!("{hours} hours ago");
        log.append_copies(&[(text.as_bytes(), hours_ago(hours))])
            .unwrap();
    }
    let old = storage.log("old").unwrap();
    old.append_copies(&[(b"of whenever", None)]).unwrap();
    storage.close().unwrap();
    let tail = |options: &[&str]| prints(&[&["tail", dir.str(), "a"], options].concat());
    assert_eq!(tail(&["--since", "150m"]), "2 hours ago\n1 hours ago\n");
    assert_eq!(tail(&["--since", "150m", "-n", "1"]), "1 hours ago\n");
    assert_eq!(
        tail(&["--since", "150m", "-n", "+3"]),
        "2 hours ago\n1 hours ago\n"
    );
    assert_eq!(tail(&["--since", "10m"]), "");
    assert_eq!(
        tail(&["--since", "2026-01-01T00:00:00Z"]).lines().count(),
        5
    );
    assert_eq!(tail(&["--since", "2999-01-01T00:00:00Z"]), "");
    assert_eq!(
        misused(&["tail", dir.str(), "a", "--since", "yesterday"]),
        "immuta: invalid value 'yesterday' for '--since <TIME>': neither a time such as 2026-11-21T10:00:00Z nor a \
         while ago such as 10m, 2h or 3d (immuta tail --help tells how)\n"
    );
    assert_eq!(
        refuses(&["tail", dir.str(), "old", "--since", "2h"]),
        "immuta: cannot tell what came when: no record of 'old' has a known time (leave --since away)\n"
    );
}

#[test]
fn it_follows_beside_a_daemon_until_it_is_stopped() {
    let mount = Mount::new();
    for n in 1..=12 {
        mount.append(format!("{n}\n"));
    }
    let logs = mount.logs();
    let follow = |options: &[&str]| {
        let mut command = immuta(&["tail", "-f", logs.to_str().unwrap(), "default"]);
        command.args(options);
        Reader::from(command)
    };
    let mut last = follow(&["-n", "2"]);
    let mut new = follow(&["-n", "0"]);
    let mut json = follow(&["-n", "0", "--format", "jsonl"]);
    let mut from_14 = follow(&["-n", "+15"]);
    last.expect("-n 2", "11");
    last.expect("-n 2", "12");
    for n in 13..100 {
        // Until they say so it cannot be known that they wait; what is known then is all that is there.
        mount.append(format!("{n}\n"));
        last.expect("-n 2", &n.to_string());
        if n > 14 {
            from_14.expect("-n +15", &n.to_string());
        }
    }
    let first = new.line().unwrap().parse::<u32>().unwrap();
    assert!((13..100).contains(&first), "{first}");
    assert!(json.line().unwrap().starts_with("{\"record\":"));
    kill(last.pid(), Signal::SIGINT).unwrap();
    let status = support::wait(&mut last.child);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(Signal::SIGINT as i32)
    );
}

#[test]
fn it_waits_for_a_time_that_is_still_to_come() {
    let mount = Mount::new();
    let logs = mount.logs();
    loop {
        let early = mount.count();
        let then = SystemTime::now() + Duration::from_secs(1);
        let since = humantime::format_rfc3339_nanos(then).to_string();
        let arguments = [
            "tail",
            "-f",
            logs.to_str().unwrap(),
            "default",
            "--since",
            &since,
        ];
        let mut tail = Reader::from(immuta(&arguments));
        mount.append("early\n");
        let time = fs::metadata(mount.file(&early.to_string()))
            .unwrap()
            .modified();
        if time.unwrap() >= then {
            continue; // The machine was too slow for this.
        }
        eventually("the time has come", || SystemTime::now() > then);
        mount.append("late\n");
        return tail.expect("tail", "late");
    }
}

#[test]
fn it_ends_when_nobody_reads_though_nothing_comes() {
    let mount = Mount::new();
    mount.append("one\n");
    let mut tail = immuta(&["tail", "-f", mount.logs().to_str().unwrap(), "default"]);
    let mut child = tail
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 4];
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

/// Writes as the Go library does: a size of 0, the payload, the size, then the header, each with a call of
/// its own.
fn write_as_go_does(file: &mut File, payload: &[u8], count: u64) {
    use std::os::unix::fs::FileExt;
    let end = file.metadata().unwrap().len().max(16);
    file.write_all_at(&0u64.to_le_bytes(), end).unwrap();
    file.write_all_at(payload, end + 8).unwrap();
    file.write_all_at(&(payload.len() as u64).to_le_bytes(), end)
        .unwrap();
    let header = [count.to_le_bytes(), end.to_le_bytes()].concat();
    file.write_all_at(&header, 0).unwrap();
}

#[test]
fn it_follows_a_go_program_that_knows_no_lock() {
    let dir = Dir::new();
    let mut file = File::create(dir.file("events.log")).unwrap();
    file.write_all(&[0; 16]).unwrap();
    write_as_go_does(&mut file, b"first record", 1);
    let mut tail = Reader::from(immuta(&["tail", "-f", dir.str(), "events"]));
    tail.expect("tail", "first record");
    for n in 1..200 {
        let payload = format!("record {n}");
        write_as_go_does(&mut file, payload.as_bytes(), n + 1);
        tail.expect("tail", &payload);
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "it left something"
    );
}

/// `immuta tail -f`, with what it says in a file.
fn follow(logs: &Path, namespace: &str, said: &Path) -> Reader {
    let mut command = immuta(&["tail", "-f", logs.to_str().unwrap(), namespace]);
    command.stderr(File::create(said).unwrap());
    Reader::from(command)
}

/// It waits in poll(2): then it has the log open.
fn has_opened(tail: &Reader) {
    let wchan = format!("/proc/{}/wchan", tail.pid());
    eventually("it waits", || {
        fs::read_to_string(&wchan).is_ok_and(|wchan| wchan.contains("poll"))
    });
}

/// It ended with exit status 1 when the log was removed, whatever came then.
#[test]
fn a_log_that_is_removed_and_made_again_or_replaced_is_followed_from_its_beginning() {
    let mount = Mount::new();
    mount.append("another\n");
    let (logs, again) = (mount.logs(), mount.path().join("again"));
    let said_in = logs.join("said");
    let said = |line: &str| {
        let all = fs::read_to_string(&said_in).unwrap();
        all.lines().last().is_some_and(|last| last == line)
    };
    fs::create_dir(&again).unwrap();
    let mut tail = follow(&logs, "again", &said_in);
    has_opened(&tail);
    fs::remove_dir(&again).unwrap();
    eventually("it says that it was removed", || {
        said("immuta: 'again' was removed: waiting until it is made again")
    });
    fs::create_dir(&again).unwrap();
    for record in ["first\n", "second\n"] {
        append(&again.join("append"), record).unwrap();
        tail.expect("tail", record.trim_end());
    }
    assert!(said(
        "immuta: 'again' is there again: following the new one from its beginning"
    ));
    // A log that is moved into the place of another, as a mirror's program does.
    let on_disk = |name: &str| logs.join(name);
    fs::copy(on_disk("default.log"), on_disk("new")).unwrap();
    fs::remove_file(on_disk("again.idx")).unwrap();
    fs::rename(on_disk("new"), on_disk("again.log")).unwrap();
    tail.expect("tail", "another");
    assert!(said(
        "immuta: 'again' was replaced: following the new one from its beginning"
    ));
    // What cannot be opened is said, and may be replaced.
    fs::remove_file(on_disk("again.log")).unwrap();
    fs::write(on_disk("text"), "no log at all").unwrap();
    fs::rename(on_disk("text"), on_disk("again.log")).unwrap();
    eventually("it says why not", || {
        let all = fs::read_to_string(&said_in).unwrap();
        all.lines().last().unwrap().contains("--assume-format")
    });
    fs::copy(on_disk("default.log"), on_disk("new")).unwrap();
    fs::rename(on_disk("new"), on_disk("again.log")).unwrap();
    tail.expect("tail", "another");
    kill(tail.pid(), Signal::SIGINT).unwrap();
    support::wait(&mut tail.child);
}

/// A directory of logs, in another one, in which "a" has one record.
fn one_record() -> (Dir, PathBuf) {
    let dir = Dir::new();
    let logs = dir.file("logs");
    let storage = Storage::open(Options::new(&logs).namespaces(["a"])).unwrap();
    storage.append("a", &b"one\n"[..]).unwrap();
    storage.close().unwrap();
    // Its files are closed: they, too, would keep the directory.
    (dir, logs)
}

#[test]
fn it_ends_when_the_directory_is_removed() {
    let (dir, logs) = one_record();
    let said_in = dir.file("said");
    let mut tail = follow(&logs, "a", &said_in);
    tail.expect("tail", "one");
    has_opened(&tail);
    fs::remove_dir_all(&logs).unwrap();
    assert_eq!(support::wait(&mut tail.child).code(), Some(1));
    let said = fs::read_to_string(&said_in).unwrap();
    let why = format!(
        "immuta: the directory '{}' was removed or replaced: nothing more will come",
        logs.display()
    );
    assert_eq!(said.lines().last(), Some(&*why), "{said}");
}

/// It held the files of the log that was gone, and the kernel told nobody that the directory had gone behind them.
#[test]
fn regression_it_ends_when_the_directory_is_removed_long_after_the_log() {
    let (dir, logs) = one_record();
    let said_in = dir.file("said");
    let said = || fs::read_to_string(&said_in).unwrap();
    let mut tail = follow(&logs, "a", &said_in);
    tail.expect("tail", "one");
    fs::remove_file(logs.join("a.log")).unwrap();
    eventually("it says that it was removed", || {
        said().ends_with("waiting until it is made again\n")
    });
    has_opened(&tail);
    fs::remove_dir_all(&logs).unwrap();
    assert_eq!(support::wait(&mut tail.child).code(), Some(1));
    assert!(
        said().ends_with("was removed or replaced: nothing more will come\n"),
        "{}",
        said()
    );
}

#[test]
fn a_log_that_is_not_there_is_said_so() {
    let dir = Dir::new();
    let arguments = ["tail", "-f", dir.str(), "short"];
    assert_eq!(
        refuses(&arguments),
        format!(
            "immuta: no namespace 'short' in '{}' (it holds no logs: give the directory that does)\n",
            dir.str()
        )
    );
    let why = refuses(&["tail", "-f", "/nowhere", "a"]);
    assert_eq!(
        why,
        "immuta: no directory '/nowhere' (give the directory that holds the logs)\n"
    );
}

#[test]
fn a_damaged_record_is_told_and_those_behind_it_are_printed() {
    let dir = Dir::new();
    dir.log("a", Format::Count8, &["one", "two", "three"]);
    dir.change("a.log", |bytes| bytes[8 + 11 + 8] ^= 1);
    let why = "immuta: record 1 of 'a' is damaged at byte 19 of the log: its bytes are not those that were written\n";
    assert_eq!(
        said(&["tail", dir.str(), "a"]),
        (Some(1), "one\nthree\n".into(), why.into())
    );
    let (status, json, err) = said(&["tail", dir.str(), "a", "--format", "jsonl"]);
    assert_eq!((status, err.as_str()), (Some(1), why));
    let numbers: Vec<&str> = json.lines().map(|line| &line[..12]).collect();
    assert_eq!(numbers, ["{\"record\":0,", "{\"record\":2,"]);
}

#[test]
fn a_mount_point_stands_for_the_directory_of_its_logs() {
    let mount = Mount::new();
    append(&mount.file("append"), "one\n").unwrap();
    let (path, logs) = (mount.path(), mount.logs());
    let place = path.to_str().unwrap();
    for command in ["tail", "cat", "export"] {
        assert_eq!(prints(&[command, place, "default"]), "one\n");
    }
    for command in ["stat", "verify"] {
        let line = prints(&[command, place]);
        assert!(
            line.starts_with("default: 1 records, 4 bytes of payload, 20 on disk, "),
            "{line}"
        );
        assert_eq!(prints(&[command, place, "default"]), line);
    }
    let in_use = |way_out: String| {
        format!(
            "immuta: '{}' is in use by pid {} (immuta-fs): a directory has one writer ({way_out})\n",
            logs.display(),
            mount.pid()
        )
    };
    let through = in_use(format!(
        "append through its mount: '{place}/default/append'"
    ));
    let unmount = in_use(format!("unmount '{place}' first"));
    for dir in [place, logs.to_str().unwrap()] {
        assert_eq!(refuses(&["append", dir, "default", "x"]), through);
        assert_eq!(refuses(&["repair", dir, "default"]), unmount);
        let import = ["import", "-", dir, "default", "--input", "lines"];
        assert_eq!(refuses(&import), unmount);
    }
    let inside = format!("{place}/default");
    assert_eq!(
        refuses(&["stat", &inside]),
        format!(
            "immuta: '{inside}' is in the mount '{place}' (give the mount, and the name of the log; or use the files there)\n"
        )
    );
}
