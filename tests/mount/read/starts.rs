//! `from/`, `since/` and the frames, with real programs on a real mount.

use std::fs;

use support::files::frame;
use support::{Mount, Reader, append, eventually, tails};

fn ten(mount: &Mount) {
    for n in 0..10 {
        mount.append(format!("record {n}\n"));
    }
}

// > `from/N` is like `follow`, from record N on, also when record N is not written yet. `from/-N` begins with
// > the last N records, `from/end` with the next one.
#[test]
fn every_tail_follows_from_a_record_on() {
    let mount = Mount::new();
    ten(&mount);
    for (tail, arguments) in tails() {
        for (name, first) in [("8", "record 8"), ("-2", "")] {
            let count = mount.count();
            let file = mount.file("from").join(name);
            if name == "-2" && tail.is_absolute() {
                continue; // The Rust one waits for inotify, which a relative name has not: see the semantics.
            }
            let mut command = std::process::Command::new(&tail);
            command
                .args(&arguments)
                .args(["-n", "1000", "-f"])
                .arg(file);
            let mut reader = Reader::from(command);
            if first.is_empty() {
                assert_eq!(
                    reader.line(),
                    Some(format!("record {}", count - 2)),
                    "{tail:?} {name}"
                );
                assert_eq!(
                    reader.line(),
                    Some(format!("record {}", count - 1)),
                    "{tail:?} {name}"
                );
            } else {
                for n in 8..count {
                    assert_eq!(
                        reader.line(),
                        Some(format!("record {n}")),
                        "{tail:?} {name}"
                    );
                }
            }
            mount.append(format!("record {count}\n"));
            assert_eq!(
                reader.line(),
                Some(format!("record {count}")),
                "{tail:?} {name}"
            );
        }
    }
}

#[test]
fn cat_of_a_record_that_is_not_there_yet_waits_for_it_and_skips_those_before() {
    let mount = Mount::new();
    ten(&mount);
    let mut reader = Reader::start("cat", &[&mount.file("from").join("12")]);
    let mut end = Reader::start("cat", &[&mount.file("from/end")]);
    // In their reads, not on the way there: `end` is where the log ends when its name is looked up.
    eventually("both wait", || {
        let stats = fs::read_to_string(mount.file("stats")).unwrap();
        stats.contains("\"blocked_readers\": 2")
    });
    for n in 10..13 {
        mount.append(format!("record {n}\n"));
    }
    assert_eq!(reader.line().as_deref(), Some("record 12"));
    for n in 10..13 {
        assert_eq!(end.line(), Some(format!("record {n}")));
    }
}

// > `since/TIME` is like `follow`, from the first record at or after TIME: a point in time (`2026-11-21T10:00:00Z`) or a while ago (`10m`, `2h`, `3d`).
#[test]
fn since_begins_at_a_time() {
    let mount = Mount::new();
    mount.append("before\n");
    let between = fs::metadata(mount.file("0")).unwrap().modified().unwrap()
        + std::time::Duration::from_nanos(1);
    mount.append("after\n");
    let between = humantime::format_rfc3339_nanos(between).to_string();
    let mut later = Reader::start("cat", &[&mount.file("since").join(between)]);
    assert_eq!(later.line().as_deref(), Some("after"));
    let mut hour = Reader::start("cat", &[&mount.file("since/1h")]);
    assert_eq!(hour.line().as_deref(), Some("before"));
    assert_eq!(hour.line().as_deref(), Some("after"));
    mount.append("now\n");
    assert_eq!(
        (later.line().as_deref(), hour.line().as_deref()),
        (Some("now"), Some("now"))
    );
}

// > A name in `from/` or `since/` that is no number or time is ENOENT. A listing of `from/` or `since/` is
// > empty, since every start exists.
#[test]
fn what_is_no_start_is_not_there_and_nothing_is_listed() {
    let mount = Mount::new();
    for name in ["from/x", "from/01", "since/yesterday", "since/5", "from/-"] {
        let error = fs::metadata(mount.file(name)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name}");
    }
    for name in ["from", "since"] {
        assert_eq!(fs::read_dir(mount.file(name)).unwrap().count(), 0);
        assert!(fs::remove_dir(mount.file(name)).is_err());
        assert!(fs::create_dir(mount.file(name).join("1")).is_err());
    }
}

// > `frames` and `follow-frames` show each record as its size, 8 bytes little-endian, followed by its bytes.
// > `follow-frames` waits at the end as `follow` does.
#[test]
fn frames_carry_any_bytes_and_can_be_followed() {
    const READER: &str = r#"
import struct, sys
with open(sys.argv[1], 'rb', buffering=0) as frames:
    def exactly(n):
        data = b''
        while len(data) < n:
            data += frames.read(n - len(data))
        return data
    while True:
        size, = struct.unpack('<q', exactly(8))
        print(exactly(size).hex(), flush=True)
"#;
    let mount = Mount::new();
    let records: [&[u8]; 4] = [b"\0\n\xff", b"a", b"\n\n", &[7; 100_000]];
    let mut reader = Reader::start("python3", &[&"-c", &READER, &mount.file("follow-frames")]);
    let mut expected = Vec::new();
    for record in records {
        append(&mount.file("append"), record).unwrap();
        let hex: String = record.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(reader.line(), Some(hex));
        expected.extend(frame(record));
    }
    assert!(fs::read(mount.file("frames")).unwrap() == expected);
    // Behind its header the log is the same bytes.
    assert!(fs::read(mount.logs().join("default.log")).unwrap()[8..] == expected);
}
