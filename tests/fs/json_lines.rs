//! `log.jsonl` and `follow.jsonl`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use immuta::Durability;
use immuta_fs::fs::errno::Errno;

use crate::gate::GatedDisk;
use crate::transport::{Answer, NOW, PLAIN, ROOT, Tree, WAIT, data, request};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The lines of JSON of a log, made the simple way.
pub(crate) fn json_of(tree: &Tree, records: &[Vec<u8>]) -> Vec<u8> {
    let log = tree.storage.log("ns").unwrap();
    let mut lines = String::new();
    for (n, payload) in records.iter().enumerate() {
        let entry = log.entry(immuta::RecordNo(n as u64)).unwrap();
        let time = humantime::format_rfc3339_nanos(entry.time.unwrap());
        let (index, size) = (entry.index, payload.len());
        lines += &format!(r#"{{"record":{n},"index":{index},"time":"{time}","size":{size},"#);
        match std::str::from_utf8(payload) {
            Ok(text) => {
                lines += r#""text":""#;
                for c in text.chars() {
                    match c {
                        '"' | '\\' => lines.extend(['\\', c]),
                        '\n' => lines += "\\n",
                        '\r' => lines += "\\r",
                        '\t' => lines += "\\t",
                        '\u{8}' => lines += "\\b",
                        '\u{c}' => lines += "\\f",
                        c if c < ' ' => lines += &format!("\\u{:04x}", c as u32),
                        c => lines.push(c),
                    }
                }
            }
            Err(_) => {
                lines += r#""base64":""#;
                for group in payload.chunks(3) {
                    let bits = (0..3).fold(0, |bits, i| {
                        bits << 8 | usize::from(*group.get(i).unwrap_or(&0))
                    });
                    for digit in 0..4 {
                        lines.push(match digit > group.len() {
                            true => '=',
                            false => char::from(BASE64[bits >> (18 - 6 * digit) & 63]),
                        });
                    }
                }
            }
        }
        lines += "\"}\n";
    }
    lines.into_bytes()
}

/// Appends records until their lines are so long at least. Returns the lines.
fn append_json(tree: &Tree, record: &[u8], bytes: usize) -> Vec<u8> {
    let mut records = Vec::new();
    let mut length = 0;
    while length < bytes {
        tree.append(record);
        records.push(record.to_vec());
        length += json_of(tree, &records[..1]).len() - 1;
    }
    json_of(tree, &records)
}

#[test]
fn who_reads_lines_of_json_at_their_end_waits_or_is_told_as_in_follow() {
    let tree = Tree::new();
    let (follow, log, append) = (
        tree.open("follow.jsonl"),
        tree.open("log.jsonl"),
        tree.open("append"),
    );
    tree.fs
        .read(follow, request(2, 0, 1000, WAIT), tree.reply("first"));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1));
    assert_eq!(tree.read(log, 0, 100), Some(data(b"")), "it ends");
    tree.fs.write(append, b"a", PLAIN, tree.reply("writer"));
    let line = json_of(&tree, &[b"a".to_vec()]);
    let end = line.len() as u64;
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("first", data(&line))));
    assert_eq!(tree.read(log, 0, 1000), Some(data(&line)));
    assert_eq!(tree.read(log, end, 1000), Some(data(b"")));
    let again = Some(Answer::Refused(Errno::EAGAIN));
    assert_eq!(tree.read(follow, end, 1000), again);
    assert!(!tree.fs.poll(follow, None).unwrap().readable);
    assert!(tree.fs.poll(log, None).unwrap().readable);

    let asked = tree.open("follow.jsonl");
    let attr = tree.fs.getattr(tree.ino("follow.jsonl"), Some(asked));
    assert_eq!(attr.unwrap().size, end);
    assert_eq!(tree.read(asked, end, 1000), Some(data(b"")));

    // Beyond the end: for that byte, however many lines that takes.
    tree.fs
        .read(follow, request(4, end + 150, 9, WAIT), tree.reply("beyond"));
    tree.fs
        .read(follow, request(6, end, 1000, WAIT), tree.reply("at"));
    tree.fs.write(append, b"b", PLAIN, tree.reply("writer"));
    let both = json_of(&tree, &[b"a".to_vec(), b"b".to_vec()]);
    assert!(both.len() < line.len() + 150);
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("at", data(&both[line.len()..]))));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1));
    tree.fs.write(append, b"c", PLAIN, tree.reply("writer"));
    let all = json_of(&tree, &[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    let beyond = &all[line.len() + 150..][..9];
    assert_eq!(tree.next(), Some(("beyond", data(beyond))));

    let end = all.len() as u64;
    tree.fs
        .read(follow, request(8, end, 9, WAIT), tree.reply("interrupted"));
    tree.fs.interrupt(8);
    assert_eq!(
        tree.next(),
        Some(("interrupted", Answer::Refused(Errno::EINTR)))
    );
    tree.fs
        .read(follow, request(10, end, 9, WAIT), tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.next(), Some(("unmounted", data(b""))));
}

#[test]
fn followers_of_lines_of_json_at_one_place_read_on_each_by_itself() {
    let tree = Tree::new();
    let append = tree.open("append");
    let readers: Vec<u64> = (0..3).map(|_| tree.open("follow.jsonl")).collect();
    let mut at = 0;
    for n in 0..3u8 {
        for (i, reader) in readers.iter().enumerate() {
            let unique = u64::from(n) * 10 + i as u64;
            tree.fs.read(
                *reader,
                request(unique, at, 500, WAIT),
                tree.reply("reader"),
            );
        }
        tree.fs
            .write(append, &[b'a' + n], PLAIN, tree.reply("writer"));
        let records: Vec<Vec<u8>> = (0..=n).map(|n| vec![b'a' + n]).collect();
        let lines = json_of(&tree, &records);
        assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
        for _ in &readers {
            assert_eq!(tree.next(), Some(("reader", data(&lines[at as usize..]))));
        }
        at = lines.len() as u64;
    }
}

#[test]
fn whoever_waits_for_a_line_of_json_gets_end_of_file_when_the_namespace_is_removed() {
    let tree = Tree::new();
    let follow = tree.open("follow.jsonl");
    tree.fs
        .read(follow, request(2, 0, 9, WAIT), tree.reply("at"));
    tree.fs
        .read(follow, request(4, 99, 9, WAIT), tree.reply("beyond"));
    tree.fs.rmdir(ROOT, "ns").unwrap();
    assert_eq!(tree.next(), Some(("at", data(b""))));
    assert_eq!(tree.next(), Some(("beyond", data(b""))));
    assert_eq!(
        tree.read(follow, 0, 9),
        Some(data(b"")),
        "and it stays the end"
    );
}

#[test]
fn the_lines_of_json_end_in_eio_where_a_record_is_damaged() {
    let tree = Tree::new();
    for record in [&b"one"[..], b"two", b"three"] {
        tree.append(record);
    }
    tree.damage(8 + 8 + 3 + 8);
    let line = json_of(&tree, &[b"one".to_vec()]);
    let end = line.len() as u64;
    let eio = Some(Answer::Refused(Errno::EIO));
    for name in ["log.jsonl", "follow.jsonl"] {
        let file = tree.open(name);
        assert_eq!(tree.read(file, 0, 1000), Some(data(&line)), "{name}");
        assert!(tree.fs.poll(file, None).unwrap().readable);
        assert_eq!(tree.read(file, end, 1000), eio, "{name}");
        assert_eq!(tree.read(file, end + 500, 1000), eio, "{name}");
        let ino = tree.ino(name);
        assert_eq!(tree.fs.getattr(ino, None).unwrap().size, end);
        // What lies behind is not known, so neither is the end.
        let asked = tree.fs.getattr(ino, Some(file));
        assert_eq!(asked.map(|attr| attr.size), Err(Errno::EINVAL));
    }
}

#[test]
fn the_size_of_the_lines_is_exact_or_not_known_and_never_goes_back_while_somebody_follows() {
    const MIB: usize = 1 << 20;
    let tree = Tree::new();
    let size = |name: &str| tree.fs.getattr(tree.ino(name), None).unwrap();
    let is_unknown = || {
        let look = size("log.jsonl");
        let seek = |whence| tree.fs.seek_data_or_hole(look.ino, 0, whence);
        let both = [libc::SEEK_DATA, libc::SEEK_HOLE].map(seek);
        look.size == 0 && both == [Err(Errno::EINVAL), Err(Errno::EINVAL)]
    };
    assert_eq!((size("log.jsonl").size, is_unknown()), (0, false));
    let some = append_json(&tree, &[b'x'; 1000], MIB / 2);
    assert_eq!(size("log.jsonl").size, some.len() as u64);
    // More than is measured for who only looks, and then more than for who has it open.
    let mut records = vec![vec![b'x'; 1000]; tree.count() as usize];
    for _ in 0..2 {
        records.push(vec![b'y'; MIB]);
        tree.append(&records[records.len() - 1]);
    }
    assert!(is_unknown());
    let file = tree.open("follow.jsonl");
    let lines = json_of(&tree, &records);
    assert_eq!(size("log.jsonl").size, lines.len() as u64);
    tree.fs.release(file);
    assert_eq!(
        size("log.jsonl").size,
        lines.len() as u64,
        "and it stays known"
    );

    for _ in 0..40 {
        records.push(vec![b'z'; MIB]);
        tree.append(&records[records.len() - 1]);
    }
    let lines = json_of(&tree, &records);
    let file = tree.open("log.jsonl");
    assert!(is_unknown());
    let ino = tree.ino("log.jsonl");
    let asked = tree.fs.getattr(ino, Some(file));
    assert_eq!(asked.map(|attr| attr.size), Err(Errno::EINVAL));
    // From now on it follows: each look brings the size closer to the end, and no read is beyond it.
    let at = lines.len() as u64 / 2 + 77;
    assert_eq!(tree.read(file, 0, 1000), Some(data(&lines[..1000])));
    let far = tree.open("log.jsonl");
    tree.fs
        .read(far, request(2, at, 1000, WAIT), tree.reply("far"));
    assert_eq!(tree.wait(), ("far", data(&lines[at as usize..][..1000])));
    let mut last = at + 1000;
    while last < lines.len() as u64 {
        let look = size("log.jsonl");
        assert!(last <= look.size && !is_unknown(), "{last} {look:?}");
        assert!(last < look.size || look.size == lines.len() as u64);
        last = look.size;
    }
    let end = tree.fs.getattr(ino, Some(file)).unwrap().size;
    assert_eq!(end, lines.len() as u64);
}

#[test]
fn a_read_far_behind_what_is_known_of_the_lines_waits_without_holding_up_others() {
    const FAR: u64 = 9 << 20;
    let tree = Tree::new();
    let lines = append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    let far = tree.open("log.jsonl");
    let (beyond, at) = (lines.len() as u64 + 5, FAR as usize);
    tree.fs
        .read(far, request(2, FAR, 100, NOW), tree.reply("far"));
    tree.fs
        .read(far, request(4, beyond, 100, NOW), tree.reply("beyond"));
    let mut answers = [tree.wait(), tree.wait()];
    answers.sort_by_key(|(who, _)| *who);
    let expected = data(&lines[at..at + 100]);
    assert_eq!(answers, [("beyond", data(b"")), ("far", expected)]);

    // Where a record is damaged, what is behind it cannot be found.
    let tree = Tree::new();
    append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    tree.damage(500_000);
    let file = tree.open("follow.jsonl");
    tree.fs
        .read(file, request(2, FAR, 100, WAIT), tree.reply("far"));
    assert_eq!(tree.wait(), ("far", Answer::Refused(Errno::EIO)));

    // While it waits, which here is as long as the gate is closed.
    let disk = GatedDisk::default();
    let gate = disk.0.clone();
    let tree = Tree::on(Arc::new(disk), Durability::Never);
    let lines = append_json(&tree, &[1; 50_000], FAR as usize + 2_000_000);
    let (file, append) = (tree.open("log.jsonl"), tree.open("append"));
    gate.before_reads.store(true, Ordering::SeqCst);
    let interrupted = ("far", Answer::Refused(Errno::EINTR));
    tree.fs.interrupt(2);
    tree.fs
        .read(file, request(2, FAR, 100, WAIT), tree.reply("far"));
    assert_eq!(
        tree.next(),
        Some(interrupted.clone()),
        "a signal was faster"
    );
    tree.fs
        .read(file, request(4, FAR, 100, WAIT), tree.reply("far"));
    gate.wait_until_reached();
    assert_eq!(tree.write(append, b"meanwhile", PLAIN), Answer::Written(9));
    tree.fs.interrupt(4);
    assert_eq!(tree.next(), Some(interrupted.clone()));
    tree.fs.limit_waits(Duration::from_millis(20)).unwrap();
    tree.fs
        .read(file, request(6, FAR, 100, WAIT), tree.reply("far"));
    assert_eq!(tree.wait(), interrupted, "as long as a read may wait");
    gate.before_reads.store(false, Ordering::SeqCst);
    gate.open();
    let far = std::iter::from_fn(|| {
        tree.fs
            .read(file, request(8, FAR, 100, WAIT), tree.reply("far"));
        Some(tree.wait())
    });
    let expected = data(&lines[at..at + 100]);
    let mut far = far.filter(|answer| *answer != interrupted);
    assert_eq!(
        far.next(),
        Some(("far", expected)),
        "however often it has to ask"
    );

    let tree = Tree::new();
    append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    let file = tree.open("log.jsonl");
    tree.fs.close();
    tree.fs
        .read(file, request(4, FAR, 100, WAIT), tree.reply("late"));
    assert_eq!(tree.wait(), ("late", Answer::Refused(Errno::EIO)));
}
