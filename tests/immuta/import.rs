//! `immuta import`: another format, another log, and files of records.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use immuta::{Format, Options, RecordNo, Storage};
use support::files::frame;
use support::immuta_cli::{Dir, golden, immuta, prints, refuses, said};

#[test]
fn import_takes_a_log_to_another_format_byte_for_byte() {
    let dir = Dir::new();
    let d = dir.str();
    for from in Format::ALL {
        for to in Format::ALL {
            for (log, records) in [("hello", 1), ("edges", 12), ("thousand", 1000)] {
                let source = golden(from, log);
                let name = format!("{log}-{from}-{to}");
                let to = to.to_string();
                let source = source.to_str().expect("text");
                assert_eq!(
                    prints(&["import", source, d, &name, "--format", &to]),
                    format!("{name}: {records} records in {to}\n")
                );
                assert_eq!(
                    fs::read(dir.file(&format!("{name}.log"))).expect("read"),
                    fs::read(golden(to.parse().expect("a format"), log)).expect("read"),
                    "{name}"
                );
            }
        }
    }
    let there = refuses(&["import", d, d, "hello-bare-bare", "--format", "count8"]);
    assert_eq!(
        there,
        "immuta: cannot import 'hello-bare-bare' into itself (give another directory or name)\n"
    );
    let other = Dir::new();
    let name = "hello-bare-bare";
    prints(&["import", d, other.str(), name, "--format", "count16"]);
    assert_eq!(
        refuses(&["import", d, other.str(), name]),
        "immuta: 'hello-bare-bare' is there already, in the format count16 (import to another name, or with --format count16)\n"
    );
    assert_eq!(
        refuses(&["import", d, other.str()]),
        format!("immuta: '{d}' is a directory (name the log in it behind DIR)\n")
    );
    assert_eq!(
        refuses(&["import", "/proc/version", d]),
        "immuta: cannot import '/proc/version': its name ends in none of .log, .frames, .jsonl (say --input frames, jsonl or lines)\n"
    );
}

#[test]
fn import_goes_on_where_it_was_and_only_with_the_same_log() {
    let (from, into) = (Dir::new(), Dir::new());
    let import = ["import", from.str(), into.str(), "a"];
    from.log("a", Format::Count16, &["one", "two", "three"]);
    into.log("a", Format::Count8, &["one", "two"]);
    assert_eq!(
        prints(&import),
        "a: 3 records in count8 (2 were there already)\n"
    );
    assert_eq!(
        prints(&import),
        "a: 3 records in count8 (3 were there already)\n"
    );
    assert_eq!(prints(&["cat", into.str(), "a"]), "one\ntwo\nthree\n");
    into.log("a", Format::Count8, &["mine"]);
    assert_eq!(
        refuses(&import),
        "immuta: cannot go on importing to 'a': it has 4 records, and the source has 3\n"
    );
    from.log("a", Format::Count16, &["theirs", "5"]);
    assert_eq!(
        refuses(&import),
        "immuta: cannot go on importing to 'a': its last record, 3, is not record 3 of the source\n"
    );
}

/// "Resumable: started again after a kill it goes on where it was; never two copies of a record."
#[test]
fn import_killed_anywhere_has_each_record_once_after_another_run() {
    const RECORDS: u64 = 40_000;
    let (from, into) = (Dir::new(), Dir::new());
    let storage = Storage::open(Options::new(from.path()).namespaces(["a"])).expect("opened");
    let payload = |n: u64| [n.to_le_bytes().to_vec(), vec![7; (n % 2000) as usize]].concat();
    for chunk in 0..RECORDS / 1000 {
        let payloads: Vec<_> = (chunk * 1000..(chunk + 1) * 1000).map(payload).collect();
        storage.append_batch("a", &payloads).expect("appended");
    }
    storage.close().expect("closed");
    for megabytes in [1, 5, 20] {
        let mut child = immuta(&["import", from.str(), into.str(), "a", "--format", "bare"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        let imported = || fs::metadata(into.file("a.log")).map_or(0, |there| there.len());
        while imported() < megabytes << 20 && child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "no progress");
            std::thread::yield_now();
        }
        child.kill().expect("killed, or at its end");
        child.wait().expect("waited for");
    }
    let done = prints(&["import", from.str(), into.str(), "a", "--format", "bare"]);
    assert!(done.starts_with("a: 40000 records in bare"), "{done}");
    let storage = Storage::open(Options::new(into.path())).expect("opened");
    assert_eq!(storage.details("a").expect("details").records, RECORDS);
    let mut stream = storage.stream("a", 0).expect("a stream");
    for n in 0..RECORDS {
        let record = stream.next(None).expect("read").expect("a record");
        assert_eq!(record.record, RecordNo(n));
        assert!(record.payload == payload(n), "record {n}");
    }
}

#[test]
fn an_import_of_a_file_goes_on_where_it_was_and_only_with_the_same_file() {
    let dir = Dir::new();
    let d = dir.str();
    let file = dir.file("a.jsonl");
    let path = file.to_str().unwrap();
    let line = |text: &str| format!("{{\"text\":\"{text}\"}}\n");
    fs::write(&file, [line("one"), line("two")].concat()).unwrap();
    assert_eq!(prints(&["import", path, d]), "a: 2 records in count8\n");
    fs::write(&file, [line("one"), line("two"), line("three")].concat()).unwrap();
    let again = "a: 3 records in count8 (2 were there already)\n";
    assert_eq!(prints(&["import", path, d]), again);
    assert_eq!(prints(&["import", path, d]), again.replace('2', "3"));
    assert_eq!(prints(&["cat", d, "a"]), "one\ntwo\nthree\n");
    fs::write(&file, line("one")).unwrap();
    assert_eq!(
        refuses(&["import", path, d]),
        "immuta: cannot go on importing to 'a': it has 3 records, and the source has 1\n"
    );
    fs::write(&file, [line("one"), line("two"), line("four")].concat()).unwrap();
    assert_eq!(
        refuses(&["import", path, d]),
        "immuta: cannot go on importing to 'a': its last record, 2, is not record 2 of the source\n"
    );
}

#[test]
fn what_is_no_record_is_said_where_it_is_and_what_came_before_it_is_kept() {
    let dir = Dir::new();
    let d = dir.str();
    let import = |name: &str, bytes: &[u8]| {
        let path = dir.file(name);
        fs::write(&path, bytes).unwrap();
        let (status, out, err) = said(&["import", path.to_str().unwrap(), d]);
        assert_eq!((status, &*out), (Some(1), ""), "{err}");
        let shown = format!("'{}'", path.display());
        assert!(err.contains(&shown), "{err}");
        err.replace(&shown, "FILE")
    };
    let after = "(those before it are appended)\n";
    assert_eq!(
        import("cut.frames", &[frame(b"good"), vec![5, 0, 0]].concat()),
        format!(
            "immuta: frame 2 of FILE, at byte 12: it is cut off, or these are no frames {after}"
        )
    );
    assert_eq!(prints(&["cat", d, "cut"]), "good\n");
    for (name, size) in [("short.frames", 100u64), ("huge.frames", u64::MAX)] {
        let bytes = [frame(b"good"), size.to_le_bytes().to_vec(), b"few".to_vec()].concat();
        assert_eq!(
            import(name, &bytes),
            format!(
                "immuta: frame 2 of FILE, at byte 12: it is cut off, or these are no frames {after}"
            )
        );
    }
    let good = "{\"size\":4,\"text\":\"good\"}\n";
    for (n, (line, why)) in [
        (
            "{\"text\":\"x\"",
            "no record: EOF while parsing an object at line 1 column 11",
        ),
        ("{}\n", "it has not one of text and base64"),
        (
            "{\"text\":\"x\",\"base64\":\"\"}\n",
            "it has not one of text and base64",
        ),
        (
            "{\"base64\":\"*\"}\n",
            "its base64 is none: Invalid symbol 42, offset 0.",
        ),
        (
            "{\"text\":\"x\",\"size\":2}\n",
            "it says 2 bytes, and has 1",
        ),
        ("{\"text\":\"x\",\"time\":\"noon\"}\n", "'noon' is no time"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("j{n}");
        assert_eq!(
            import(&format!("{name}.jsonl"), [good, line].concat().as_bytes()),
            format!("immuta: line 2 of FILE, at byte 25: {why} {after}")
        );
        assert_eq!(prints(&["cat", d, &name]), "good\n");
    }
}
