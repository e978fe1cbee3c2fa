//! The program `immuta`: what it says, word for word, and its exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use immuta::{Format, Options, RecordNo, Storage};
use support::immuta_cli::{Dir, immuta, prints, refuses, said};

fn golden(format: Format, log: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/golden/{format}/{log}.log"))
}

#[test]
fn append_creates_in_the_format_it_is_told_and_keeps_the_one_that_is_there() {
    let dir = Dir::new();
    let d = dir.str();
    assert_eq!(prints(&["append", d, "a", "--format", "count16", "x"]), "");
    assert_eq!(prints(&["append", d, "a", "--format", "bare", "y"]), "");
    assert_eq!(prints(&["cat", d, "a"]), "x\ny\n");
    let stat = prints(&["stat", d, "a"]);
    assert!(
        stat.starts_with("a: 2 records, 2 bytes of payload, 34 on disk, format count16, from 20"),
        "{stat}"
    );
    let (status, _, err) = said(&["append", d, "b", "--format", "json", "x"]);
    assert_eq!(status, Some(2));
    assert_eq!(
        err,
        "immuta: invalid value 'json' for '--format <FORMAT>': none of bare, count8, count16 (immuta append --help tells how)\n"
    );
}

#[test]
fn a_log_whose_format_cannot_be_told_names_the_option_that_decides() {
    let dir = Dir::new();
    let d = dir.str();
    let both = [1u64, 16, 8, 0].map(u64::to_le_bytes).concat();
    fs::write(dir.file("both.log"), &both).expect("written");
    let why = "immuta: cannot tell the format of 'both': it could be count8 with 1 record or count16 with 1 record, and \
               its bytes do not tell which (no byte was changed; 'immuta cat LOGS_DIR both --assume-format count8' shows it as count8; \
               name the right format with --assume-format)\n";
    for command in ["stat", "cat", "verify", "append", "repair"] {
        let (status, _, err) = said(&[command, d, "both"]);
        assert_eq!((status, &*err), (Some(1), why), "{command}");
    }
    // The way out that the message names.
    assert_eq!(
        prints(&["cat", d, "both", "--assume-format", "count8"]),
        "\u{8}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n"
    );
    assert_eq!(
        prints(&["stat", d, "both", "--assume-format", "count16"]),
        "both: 1 records, 8 bytes of payload, 32 on disk, format count16, 1 indexed later\n"
    );
    assert!(!dir.file("both.idx").exists());
}

#[test]
fn verify_lists_each_damage_and_tells_by_its_exit_status() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("good", Format::Count8, &["one", "two"]);
    dir.log("worn", Format::Count16, &["one", "two", "three"]);
    fs::copy(golden(Format::Count16, "hello"), dir.file("theirs.log")).expect("copied");
    assert_eq!(
        prints(&["verify", d]),
        "good: 2 records, 6 bytes of payload, 30 on disk, no damage\n\
         theirs: 1 records, 11 bytes of payload, 35 on disk, no damage (1 compared with what was found when the index was made, not with what was written)\n\
         worn: 3 records, 11 bytes of payload, 51 on disk, no damage\n"
    );
    dir.change("worn.log", |bytes| bytes[16 + 11 + 8] ^= 1);
    let text = "good: 2 records, 6 bytes of payload, 30 on disk, no damage\n\
                worn: record 1 at byte 27: its bytes are not those that were written\n\
                worn: 3 records, 8 bytes of payload, 51 on disk, 1 damaged\n";
    assert_eq!(
        said(&["verify", d, "good", "worn"]),
        (Some(1), text.into(), String::new())
    );
    let json = "{\"namespace\":\"worn\",\"format\":\"count16\",\"records\":3,\"bytes\":8,\"disk_bytes\":51,\"checksummed\":3,\"rebuilt\":0,\
                \"damaged\":[{\"record\":1,\"offset\":27,\"what\":\"its bytes are not those that were written\"}],\"unlisted\":0}\n";
    assert_eq!(
        said(&["verify", d, "worn", "--json"]),
        (Some(1), json.into(), String::new())
    );
    assert_eq!(
        refuses(&["verify", d, "none"]),
        format!("immuta: no namespace 'none' in '{d}' (there are: good, theirs, worn)\n")
    );
}

#[test]
fn repair_says_what_it_cuts_and_loses_nothing() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one", "two", "three"]);
    assert_eq!(
        prints(&["repair", d, "orders"]),
        "orders: 3 records, 43 bytes on disk, in order: nothing to repair\n"
    );
    let broken = dir.change("orders.log", |bytes| bytes.truncate(40));
    let why = refuses(&["cat", d, "orders"]);
    assert!(
        why.starts_with(
            "immuta: record 2 of 'orders' is damaged at byte 30 of the log: its size is negative or reaches beyond the end of the \
             file (no byte was changed; immuta repair '"
        ),
        "{why}"
    );
    let cut = dir.file("orders.cut-30");
    let plan = format!(
        "orders: would keep 2 records, bytes 0 to 30, format count8\n\
         orders: would cut 10 bytes, 30 to 40: a torn record; to be saved in '{}'\n\
         orders: would set the count, which was 3, to 2\n",
        cut.display()
    );
    let refused = why.strip_prefix("immuta: ").expect("a message");
    let plan = format!("{plan}orders: opening it is refused: {refused}");
    assert_eq!(prints(&["repair", d, "orders", "--dry-run"]), plan);
    assert_eq!(fs::read(dir.file("orders.log")).expect("read"), broken);
    assert!(!cut.exists());

    let held = Storage::open(Options::new(dir.path()).only(["other"])).expect("opened");
    let why = refuses(&["repair", d, "orders"]);
    assert!(why.contains("is in use by pid"), "{why}");
    drop(held);

    let done = format!(
        "orders: kept 2 records, bytes 0 to 30, format count8\n\
         orders: cut 10 bytes, 30 to 40: a torn record; saved in '{}'\n\
         orders: set the count, which was 3, to 2\n",
        cut.display()
    );
    assert_eq!(prints(&["repair", d, "orders"]), done);
    assert_eq!(fs::read(&cut).expect("saved"), broken[30..]);
    assert_eq!(prints(&["cat", d, "orders"]), "one\ntwo\n");
    assert_eq!(
        prints(&["repair", d, "orders"]),
        "orders: 2 records, 30 bytes on disk, in order: nothing to repair\n"
    );

    // The same place again, with other bytes: what was saved is not written over.
    prints(&["append", d, "orders", "another"]);
    dir.change("orders.log", |bytes| bytes.truncate(44));
    let why = refuses(&["repair", d, "orders"]);
    assert_eq!(
        why,
        format!(
            "immuta: cannot save what is cut to '{}': it holds other bytes already (move it away, and try again)\n",
            cut.display()
        )
    );
    fs::rename(&cut, dir.file("orders.cut-30.first")).expect("renamed");
    prints(&["repair", d, "orders"]);
    assert_eq!(
        refuses(&["repair", d, "none"]),
        format!("immuta: no namespace 'none' in '{d}' (there are: orders)\n")
    );
}

#[test]
fn repair_of_a_bare_log_takes_the_format_it_is_told() {
    let dir = Dir::new();
    let d = dir.str();
    fs::copy(golden(Format::Bare, "hello"), dir.file("a.log")).expect("copied");
    dir.change("a.log", |bytes| bytes.extend_from_slice(&[7, 0, 0, 0, 0]));
    let done = format!(
        "a: kept 1 records, bytes 0 to 19, format bare\n\
         a: cut 5 bytes, 19 to 24: a torn record; saved in '{}'\n\
         a: made the index again for 1 records from record 0 on; their times are not known\n",
        dir.file("a.cut-19").display()
    );
    let repair = ["repair", d, "a", "--assume-format", "bare"];
    assert_eq!(prints(&repair), done);
    assert_eq!(prints(&["cat", d, "a"]), "hello world\n");
}

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
fn regression_repair_tells_damage_that_it_cannot_mend() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one", "two", "three"]);
    let damaged = dir.change("orders.log", |bytes| bytes[8 + 11 + 8] ^= 1);
    let text = "orders: record 1 at byte 19: its bytes are not those that were written\n\
                orders: 3 records, 43 bytes on disk, 1 damaged record, which cannot be mended; all others are readable\n";
    for options in [&[][..], &["--dry-run"]] {
        assert_eq!(
            said(&[&["repair", d, "orders"], options].concat()),
            (Some(1), text.into(), String::new())
        );
    }
    dir.change("orders.log", |bytes| bytes[8 + 8] ^= 1);
    let (status, text, _) = said(&["repair", d, "orders"]);
    assert_eq!(status, Some(1));
    assert!(
        text.ends_with("2 damaged records, which cannot be mended; all others are readable\n"),
        "{text}"
    );
    fs::write(dir.file("orders.log"), damaged).expect("written");
    // What is damaged in the index can be made again.
    dir.change("orders.log", |bytes| bytes[8 + 11 + 8] ^= 1);
    dir.change("orders.idx", |bytes| {
        let entry = bytes.len() - 40;
        bytes[entry] ^= 1;
    });
    let (status, text, _) = said(&["repair", d, "orders"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("(delete that file with the log closed, and it is rebuilt, without times)")
            && text.ends_with(
                "of which those in the index are mended as is said above; all others are readable\n"
            ),
        "{text}"
    );
}

#[test]
fn regression_a_directory_without_logs_is_said_to_be_one() {
    let dir = Dir::new();
    let d = dir.str();
    let none = format!("immuta: no logs in '{d}' (give the directory that holds them)\n");
    for command in ["stat", "verify"] {
        assert_eq!(refuses(&[command, d]), none);
    }
    for command in ["stat", "verify", "cat", "tail", "export", "repair"] {
        assert_eq!(
            refuses(&[command, d, "orders"]),
            format!(
                "immuta: no namespace 'orders' in '{d}' (it holds no logs: give the directory that does)\n"
            )
        );
        assert_eq!(
            refuses(&[command, "/no/such", "orders"]),
            "immuta: no directory '/no/such' (give the directory that holds the logs)\n"
        );
        assert_eq!(
            refuses(&[command, "/proc/self/status", "orders"]),
            "immuta: '/proc/self/status' is not a directory (give the one that holds the logs)\n"
        );
    }
    assert_eq!(
        fs::read_dir(dir.path()).expect("listed").count(),
        0,
        "something was made"
    );
    // A directory of logs that has none yet is in order.
    Storage::open(Options::new(dir.path()))
        .and_then(|storage| storage.close())
        .expect("closed");
    let (status, out, err) = said(&["verify", d]);
    assert_eq!((status, &*out), (Some(0), ""));
    assert_eq!(err, format!("immuta: no logs in '{d}'\n"));
}

#[test]
fn a_log_that_is_not_there_is_answered_with_those_that_are() {
    let dir = Dir::new();
    let d = dir.str();
    for name in ["orders", "other"] {
        dir.log(name, Format::Count8, &["one"]);
    }
    let why = format!("immuta: no namespace 'nope' in '{d}' (there are: orders, other)\n");
    for command in ["stat", "verify", "cat", "tail", "export", "repair"] {
        assert_eq!(refuses(&[command, d, "nope"]), why, "{command}");
    }
    assert_eq!(
        refuses(&["import", d, d, "nope", "--assume-format", "bare"])
            .lines()
            .count(),
        1
    );
    let elsewhere = dir.file("elsewhere");
    assert_eq!(
        refuses(&["import", d, elsewhere.to_str().expect("text"), "nope"]),
        why
    );
    for n in 0..12 {
        fs::copy(dir.file("other.log"), dir.file(&format!("z{n:02}.log"))).expect("copied");
    }
    assert_eq!(
        refuses(&["cat", d, "nope"]),
        format!(
            "immuta: no namespace 'nope' in '{d}' (there are: orders, other, z00, z01, z02, z03, z04, z05, z06, z07, and 4 more)\n"
        )
    );
    assert_eq!(
        refuses(&["cat", d, "a/b"]),
        "immuta: namespace 'a/b' is not a name: use 1 to 200 of A-Z a-z 0-9 . _ -, not starting with a dot\n"
    );
}

#[test]
fn what_cannot_be_written_to_is_said_with_the_way_out() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one"]);
    let log = dir.file("orders.log");
    let log = log.to_str().expect("text");
    for (arguments, why) in [
        (&["append", log, "orders", "x"][..], format!("'{log}' is not a directory (give one for the logs)")),
        (&["append", "/proc/no", "orders", "x"], "cannot create the directory '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["import", log, "/proc/no"], "cannot create the directory '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["import", "/no/such.log", d], "cannot import '/no/such.log': it is not there (name a file, or a directory of logs)".into()),
        (&["import", "/no/such", d, "--input", "lines"], "cannot read '/no/such': No such file or directory (name a file that you may read, or - for standard input)".into()),
        (&["import", d, "/tmp/x"], format!("'{d}' is a directory (name the log in it behind DIR)")),
        (&["man", "/proc/no"], "cannot write to '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["cat", d, "orders", "--from", "2"], "'orders' has no record 2: it has 1, and the first one is 0".into()),
        (&["export", d, "orders", "--from", "1"], "'orders' has no record 1: it has 1, and the first one is 0".into()),
    ] {
        assert_eq!(refuses(arguments), format!("immuta: {why}\n"), "{arguments:?}");
    }
    assert_eq!(prints(&["cat", d, "orders", "--from", "1"]), "");
    let held = Storage::open(Options::new(dir.path())).expect("opened");
    let why = refuses(&["append", d, "orders", "x"]);
    assert!(
        why.starts_with(&format!("immuta: '{d}' is in use by pid "))
            && why.ends_with(": a directory has one writer (end that program, and try again)\n"),
        "{why}"
    );
    drop(held);
}
