//! `log.jsonl` and `follow.jsonl`, with real programs on a real mount.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use support::{Mount, Reader, append, eventually, read, refused, shell_ok, tails, waits_in_mount};

const MIB: usize = 1 << 20;

/// Prints of each line, as a JSON parser understands it, the number, the size and the bytes in hexadecimal.
const PARSE: &str = r#"
import base64, json, sys
for line in open(sys.argv[1], encoding='utf-8', newline='\n'):
    assert line.endswith('\n')
    r = json.loads(line)
    rest = [name for name in r if name not in ('record', 'index', 'time', 'size')]
    payload = r['text'].encode() if rest == ['text'] else base64.b64decode(r['base64'], validate=True)
    assert len(payload) == r['size']
    print(r['record'], r['index'], r['time'], rest[0], payload.hex(), flush=True)
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

// > `log.jsonl` and `follow.jsonl` show each record as one line of JSON with its `record` (the number), `index`
// > (the offset of its size field in the log), `time` (null where it is not known), `size`, and its bytes: as
// > they are in `text`, or in `base64` where they are not UTF-8. `log.jsonl` ends, `follow.jsonl` waits at the
// > end as `follow` does.
#[test]
fn a_json_parser_gets_every_record_as_it_is() {
    let mut mount = Mount::new();
    let records: Vec<Vec<u8>> = vec![
        b"hello\n".to_vec(),
        b"no newline".to_vec(),
        (0..128).collect(),
        (0..=255).collect(),
        "\"q\\uote\" \u{2028} é 🎈 \u{10ffff}\n".into(),
        b"cut \xf0\x9f\x8e".to_vec(),
        b"\xed\xa0\x80 a surrogate".to_vec(),
        vec![0xff; 100_000],
        "ä\n".repeat(100_000).into_bytes(),
    ];
    let mut follow = Reader::python(PARSE, &[&mount.file("follow.jsonl")]);
    let mut index = 8;
    let mut expected = Vec::new();
    for (n, record) in records.iter().enumerate() {
        append(&mount.file("append"), record).unwrap();
        let modified = fs::metadata(mount.file(&n.to_string())).unwrap().modified();
        let time = humantime::format_rfc3339_nanos(modified.unwrap()).to_string();
        let name = match std::str::from_utf8(record) {
            Ok(_) => "text",
            Err(_) => "base64",
        };
        expected.push(format!("{n} {index} {time} {name} {}", hex(record)));
        follow.expect("follow.jsonl", &expected[n]);
        index += 8 + record.len();
    }
    follow.wait_until_blocked();
    let printed = |mount: &Mount| {
        shell_ok(
            r#"python3 -c "$1" "$2""#,
            &[&PARSE, &mount.file("log.jsonl")],
        )
    };
    assert_eq!(printed(&mount), expected.join("\n") + "\n");
    // Without the index the times are not known.
    drop(follow);
    mount.restart_without_index();
    for line in printed(&mount).lines() {
        assert_eq!(line.split(' ').nth(2), Some("None"));
    }
}

/// The last line of so many, as `jq` would show what matters of it.
fn line(n: usize, text: &str) -> String {
    let size = text.len();
    format!("\"record\":{n},\"index\":I,\"time\":\"T\",\"size\":{size},\"text\":\"{text}\"}}")
}

/// A line without what is not the same each time.
fn without_place(line: &str) -> String {
    let (front, rest) = line.split_once("\"index\":").unwrap();
    let (_, rest) = rest.split_once(",\"time\":\"").unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    format!("{}\"index\":I,\"time\":\"T\"{rest}", &front[1..])
}

#[test]
fn every_tail_shows_the_last_lines_of_json_and_each_new_one() {
    let mount = Mount::new();
    (0..10).for_each(|n| mount.append(format!("record {n}")));
    for (tail, arguments) in tails() {
        for file in ["follow.jsonl", "log.jsonl"] {
            let who = format!("{tail:?} {file}");
            let count = mount.count() as usize;
            let mut command = Command::new(&tail);
            command.args(&arguments).args(["-n", "3", "-f"]);
            command.arg(mount.file(file));
            let mut reader = Reader::from(command);
            for n in count - 3..count {
                let shown = reader.line().unwrap();
                assert_eq!(
                    without_place(&shown),
                    line(n, &format!("record {n}")),
                    "{who}"
                );
            }
            for n in count..count + 2 {
                mount.append(format!("record {n}"));
                let shown = reader.line().unwrap();
                assert_eq!(
                    without_place(&shown),
                    line(n, &format!("record {n}")),
                    "{who}"
                );
            }
        }
    }
}

/// Programs on `log.jsonl`: what each is to print, given all lines.
type Expected = fn(&str) -> String;
const PROGRAMS: &[(&str, Expected)] = &[
    ("cat log.jsonl", str::to_owned),
    ("wc -c < log.jsonl", |l| format!("{}\n", l.len())),
    ("wc -l < log.jsonl", |l| format!("{}\n", l.lines().count())),
    ("grep -c record log.jsonl", |l| {
        format!("{}\n", l.lines().count())
    }),
    ("head -c 10000 log.jsonl", |l| l[..10_000].to_owned()),
    ("head -n 1 log.jsonl", |l| {
        l.lines().next().unwrap().to_owned() + "\n"
    }),
    ("tail -n 1 log.jsonl", |l| {
        l.lines().last().unwrap().to_owned() + "\n"
    }),
    ("busybox tail -n 1 log.jsonl", |l| {
        l.lines().last().unwrap().to_owned() + "\n"
    }),
    ("$RUST_TAIL -n 1 log.jsonl", |l| {
        l.lines().last().unwrap().to_owned() + "\n"
    }),
    ("tail -c 5 log.jsonl", |l| l[l.len() - 5..].to_owned()),
    ("tail -c +12345678 log.jsonl", |l| {
        l[12_345_677..].to_owned()
    }),
    (
        "dd if=log.jsonl bs=1000000 skip=11 count=1 iflag=fullblock status=none",
        |l| l[11_000_000..12_000_000].to_owned(),
    ),
    ("tac log.jsonl | tac", str::to_owned),
    ("cp log.jsonl \"$1/copy\" && cat \"$1/copy\"", str::to_owned),
    (
        "python3 -c 'print(len(open(\"log.jsonl\").readlines()))'",
        |l| format!("{}\n", l.lines().count()),
    ),
];

// > `st_size` of `log.jsonl` and `follow.jsonl` is the number of bytes that can be read from them now. Where it
// > would take long to find out, it is 0, as in `/proc`: then `lseek(SEEK_END)` is EINVAL, and programs read to
// > the end.
#[test]
fn programs_read_all_lines_whether_or_not_their_length_is_known() {
    let mut mount = Mount::new();
    let record = "a record with \"quoted\" text, ".repeat(4000) + "\n";
    let mut lines = mount.appender("append-lines");
    for _ in 0..18 * MIB / record.len() {
        lines.write_all(record.as_bytes()).unwrap();
    }
    drop(lines);
    let all = fs::read_to_string(mount.file("log.jsonl")).unwrap();
    let size = |mount: &Mount| fs::metadata(mount.file("log.jsonl")).unwrap().len();
    assert_eq!(size(&mount), all.len() as u64);
    let scratch = tempfile::tempdir().unwrap();
    for (script, expected) in PROGRAMS {
        mount.restart();
        assert_eq!(size(&mount), 0);
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {script}"), "bash"])
            .arg(scratch.path())
            .current_dir(mount.file(""))
            .env("LC_ALL", "C")
            .env("RUST_TAIL", support::installed_tool("tail"))
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && err.is_empty(), "{script}: {err}");
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(
            out == expected(&all),
            "{script} printed {} bytes",
            out.len()
        );
    }
    mount.restart();
    let mut file = File::open(mount.file("follow.jsonl")).unwrap();
    refused(file.seek(SeekFrom::End(0)), Errno::EINVAL);
    // Read by anybody, in either file, it is known, and a small thing to keep so.
    assert_eq!(read(&mount.file("log.jsonl")).len(), all.len());
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), all.len() as u64);
    mount.append("one more");
    let archived = shell_ok(
        r#"cd "$1" && tar -cf - log.jsonl | tar -xOf - | tail -n 1"#,
        &[&mount.file("")],
    );
    assert!(
        archived.ends_with("\"size\":8,\"text\":\"one more\"}\n"),
        "{archived}"
    );
}

// > A byte's offset in `log.jsonl` and `follow.jsonl` never changes, also after more appends and after a remount.
#[test]
fn a_line_of_json_stays_where_it_is() {
    let mut mount = Mount::new();
    let mut before = Vec::new();
    let mut random = support::Random(7);
    for round in 0..4 {
        for n in 0..50 {
            let size = random.below(3000);
            let record = [random.bytes(n % 3), vec![b'a'; size]].concat();
            append(&mount.file("append"), [b"r", &record[..]].concat()).unwrap();
        }
        match round {
            1 => mount.restart(),
            2 => {
                mount.kill();
                mount.start();
            }
            _ => {}
        }
        // Somewhere first, where nobody was since the mount began.
        let file = File::open(mount.file("follow.jsonl")).unwrap();
        for _ in 0..before.len().min(20) {
            let at = random.below(before.len());
            let mut piece = vec![0; 777.min(before.len() - at)];
            file.read_exact_at(&mut piece, at as u64).unwrap();
            assert!(piece == before[at..at + piece.len()], "at {at}");
        }
        let after = read(&mount.file("log.jsonl"));
        assert!(after.len() > before.len() && after.starts_with(&before));
        before = after;
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

// > Where a record is damaged, `log.jsonl` and `follow.jsonl` give everything before it, and then EIO.
#[test]
fn lines_of_json_end_where_a_record_is_damaged() {
    let mount = Mount::new();
    ["one", "two", "three"].iter().for_each(|r| mount.append(r));
    flip(&mount.logs().join("default.log"), 8 + 8 + 3 + 8);
    for name in ["log.jsonl", "follow.jsonl"] {
        let mut file = File::open(mount.file(name)).unwrap();
        let mut text = Vec::new();
        refused(file.read_to_end(&mut text), Errno::EIO);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(without_place(&text), line(0, "one") + "\n", "{name}");
        refused(file.read(&mut [0]), Errno::EIO);
    }
    assert!(
        mount.messages().contains("record 1"),
        "{}",
        mount.messages()
    );
}

// > For a read of `log.jsonl` far behind what was read before, the daemon reads everything in between. Meanwhile
// > the mount goes on, and a signal ends the read with EINTR.
#[test]
fn reads_far_behind_what_is_known_hold_up_nobody() {
    const READ: &str = r#"
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print('open', flush=True)
print(os.pread(file, 1, int(sys.argv[2])) == b'\\')
"#;
    let mut mount = Mount::new();
    // Each byte is six in a line.
    let record = vec![1; 4 * MIB];
    let mut file = mount.appender("append-file");
    for _ in 0..16 {
        file.write_all(&record).unwrap();
    }
    drop(file);
    let readers: Vec<Reader> = (0..12)
        .map(|n| {
            let at = (300 * MIB / 6 * 6 - n * 6_000_000).to_string();
            let file = mount.file("log.jsonl");
            Reader::python(READ, &[&file, &at])
        })
        .collect();
    for mut reader in readers {
        reader.expect("a far reader", "open");
        // More of them than the daemon has threads, and yet it answers.
        mount.append("meanwhile");
        kill(reader.pid(), Signal::SIGTERM).unwrap();
        support::wait(&mut reader.child);
    }
    mount.restart();
    let place = lines_prefix(&mount) + 300 * MIB / 6 * 6;
    let mut reader = Reader::python(READ, &[&mount.file("log.jsonl"), &place.to_string()]);
    reader.expect("a far reader", "open");
    reader.expect("a far reader", "True");
}

/// How long the first line is before its text.
fn lines_prefix(mount: &Mount) -> usize {
    let file = File::open(mount.file("log.jsonl")).unwrap();
    let mut front = [0; 300];
    file.read_exact_at(&mut front, 0).unwrap();
    let text = b"\"text\":\"";
    let at = front.windows(text.len()).position(|w| w == text).unwrap();
    at + text.len()
}

#[test]
fn a_record_of_any_size_is_shown_at_constant_memory() {
    const SIZE: usize = 64 * MIB;
    let mut mount = Mount::new();
    for last in [&b"text"[..], b"\xff"] {
        let mut file = mount.appender("append-file");
        let piece = "some text, with \"quotes\"\n".repeat(40_000);
        let mut left = SIZE - last.len();
        while left > 0 {
            let n = left.min(piece.len());
            file.write_all(&piece.as_bytes()[..n]).unwrap();
            left -= n;
        }
        file.write_all(last).unwrap();
    }
    // So that what storing took is not counted.
    mount.restart();
    let peak_kib = |mount: &Mount| -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak_kib(&mount);
    let mut file = File::open(mount.file("log.jsonl")).unwrap();
    let (mut read, mut newlines) = (0, 0);
    let mut piece = vec![0; 128 << 10];
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            n => {
                read += n;
                newlines += piece[..n].iter().filter(|b| **b == b'\n').count();
            }
        }
    }
    assert_eq!(newlines, 2);
    assert!(read > SIZE + SIZE / 3 * 4, "{read}");
    let grown = peak_kib(&mount) - before;
    assert!(grown < 20 << 10, "the daemon grew by {grown} KiB");
}

#[test]
fn whoever_follows_lines_of_json_while_others_write_gets_each_once() {
    const RECORDS: usize = 3000;
    let mount = Mount::new();
    let mut reader = Reader::python(PARSE, &[&mount.file("follow.jsonl")]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = mount.appender("append-lines");
            for n in 0..RECORDS {
                let line = format!("{n:-<width$}\n", width = n % 97 + 5);
                file.write_all(line.as_bytes()).unwrap();
            }
        });
        for n in 0..RECORDS {
            let line = reader.line().unwrap();
            let text = hex(format!("{n:-<width$}\n", width = n % 97 + 5).as_bytes());
            assert!(
                line.starts_with(&format!("{n} ")) && line.ends_with(&text),
                "{line}"
            );
        }
    });
}

// > `sendfile(2)` and `splice(2)` from a file that waits are EINVAL where something is in it: programs that try
// > them first read instead, and wait.
// > From a file that waits and has nothing in it yet, `sendfile(2)` and `splice(2)` return end of file at once,
// > and so do programs that try them first.
#[test]
fn a_cat_that_tries_sendfile_waits_where_something_is_in_the_file() {
    const SENDFILE: &str = r#"
import errno, os, sys
r, w = os.pipe()
def call(what):
    try: return what()
    except OSError as e: return -e.errno
for name in sys.argv[1:]:
    for stat in False, True, True:
        file = os.open(name, os.O_RDONLY)
        if stat: os.fstat(file)
        said = [call(c) for c in (lambda: os.sendfile(w, file, None, 4096), lambda: os.splice(file, w, 4096))]
        assert said == [0 if os.fstat(file).st_size == 0 else -errno.EINVAL] * 2, (name, stat, said)
print('done')
"#;
    let mount = Mount::new();
    let names = ["follow", "follow-frames", "follow.jsonl", "from/0"];
    for count in 0..2 {
        let [next, end] = [count.to_string(), "from/end".into()].map(|name| mount.file(&name));
        let files: Vec<PathBuf> = names.iter().map(|name| mount.file(name)).collect();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&next, &end];
        arguments.extend(files.iter().map(|f| f as &dyn AsRef<std::ffi::OsStr>));
        Reader::python(SENDFILE, &arguments).expect("sendfile", "done");
        let cat = |file: &PathBuf| Reader::start("busybox", &[&"cat", file]);
        for empty in [next, end] {
            assert!(cat(&empty).end("cat").success());
        }
        let mut cats: Vec<Reader> = files.iter().map(cat).collect();
        if count == 0 {
            cats.drain(..)
                .for_each(|cat| assert!(cat.end("cat").success()));
        }
        cats.iter_mut()
            .for_each(|cat| assert!(cat.line().is_some()));
        eventually("each cat waits", || {
            cats.iter().all(|cat| waits_in_mount(cat.pid()))
        });
        mount.append(format!("record {count}\n"));
        for cat in &mut cats {
            let line = cat.line().unwrap();
            assert!(line.contains(&format!("record {count}")), "{line}");
        }
    }
}
