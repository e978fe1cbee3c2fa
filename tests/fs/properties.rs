//! Any records, read anywhere, and any calls.

use immuta_fs::fs::{ReadMode, SetAttr, WriteMode};
use proptest::prelude::*;

use crate::json_lines::json_of;
use crate::transport::{ACCESSES, Answer, ME, ROOT, Tree, data, me, open_start, request};
use support::files::frames_of;

fn text_of(records: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records {
        text.extend_from_slice(record);
        if record.last() != Some(&b'\n') {
            text.push(b'\n');
        }
    }
    text
}

fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let small = proptest::collection::vec(prop_oneof![2 => any::<u8>(), 1 => Just(b'\n')], 0..40);
    // Above the engine's limit for a run, read in pieces.
    let large = (
        1usize << 20..(1 << 20) + 9,
        prop_oneof![Just(b'\n'), Just(b'x')],
    )
        .prop_map(|(size, last)| {
            let mut record: Vec<u8> = (0..size).map(|i| i as u8).collect();
            record[size - 1] = last;
            record
        });
    proptest::collection::vec(prop_oneof![20 => small, 1 => large], 0..60)
}

/// Texts and what is none, of sizes that are read in one piece and in many.
fn json_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = "[\\PC\\x00-\\x1f\"\\\\]{0,40}".prop_map(String::into_bytes);
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let size = prop_oneof![4 => 60_000usize..400_000, 1 => (1usize << 20)..(1 << 20) + 99];
    let long = (size, any::<bool>()).prop_map(|(size, is_text)| {
        let pattern = "plain text of some length, then \"é\u{1}\n\\";
        let mut record = pattern.as_bytes().repeat(size / pattern.len() + 1);
        if !is_text {
            record.truncate(size);
            record.push(0xff);
        }
        record
    });
    proptest::collection::vec(prop_oneof![20 => text, 10 => bytes, 3 => long], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_and_frames_are_the_records_wherever_they_are_read(
        records in records(),
        from in any::<prop::sample::Index>(),
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 1u32..300_000), 1..30),
    ) {
        let tree = Tree::new();
        for record in &records {
            tree.append(record);
        }
        for (name, bytes) in [("log", text_of(&records)), ("frames", frames_of(&records))] {
            prop_assert_eq!(tree.fs.getattr(tree.ino(name), None).unwrap().size, bytes.len() as u64);
            let file = tree.open(name);
            // Here and there, and each time a piece further on.
            for (at, size) in &reads {
                let mut at = at.index(bytes.len() + 1);
                for _ in 0..3 {
                    let expected = &bytes[at..bytes.len().min(at + *size as usize)];
                    prop_assert_eq!(tree.read(file, at as u64, *size), Some(data(expected)));
                    at += expected.len();
                }
            }
        }
        let from = from.index(records.len() + 1);
        let file = open_start(&tree, "from", &from.to_string());
        let text = text_of(&records[from..]);
        if !text.is_empty() {
            prop_assert_eq!(tree.read(file, 0, u32::MAX), Some(data(&text)));
            let middle = text.len() / 2;
            prop_assert_eq!(tree.read(file, middle as u64, u32::MAX), Some(data(&text[middle..])));
        }
        for (n, record) in records.iter().enumerate() {
            let fh = tree.open(&n.to_string());
            prop_assert_eq!(tree.read(fh, 0, 2 << 20), Some(data(record)));
            prop_assert_eq!(tree.read(fh, record.len() as u64, 10), Some(data(b"")));
        }
    }

    #[test]
    fn lines_of_json_are_the_records_wherever_they_are_read(
        records in json_records(),
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 1u32..300_000), 1..20),
    ) {
        let tree = Tree::new();
        for record in &records {
            tree.append(record);
        }
        let lines = json_of(&tree, &records);
        // Here and there at first, so that places are found that nobody has been at.
        for file in [tree.open("log.jsonl"), tree.open("follow.jsonl")] {
            for (at, size) in &reads {
                let mut at = at.index(lines.len());
                for _ in 0..3 {
                    let expected = &lines[at..lines.len().min(at + *size as usize)];
                    if !expected.is_empty() {
                        prop_assert_eq!(tree.read(file, at as u64, *size), Some(data(expected)));
                    }
                    at += expected.len();
                }
            }
        }
        prop_assert_eq!(tree.fs.getattr(tree.ino("log.jsonl"), None).unwrap().size, lines.len() as u64);
        let (file, mut read) = (tree.open("log.jsonl"), Vec::new());
        while let Some(Answer::Data(piece)) = tree.read(file, read.len() as u64, 10_007) {
            if piece.is_empty() {
                break;
            }
            read.extend(piece);
        }
        prop_assert!(read == lines);
    }

    #[test]
    fn no_number_from_the_kernel_makes_it_panic(
        calls in proptest::collection::vec((0u8..17, any::<u64>(), any::<u64>(), any::<u64>(), ".{0,9}"), 1..200),
    ) {
        let tree = Tree::new();
        tree.append(b"x\ny");
        let ns = tree.fs.lookup(ROOT, "ns").unwrap().ino;
        for (call, a, b, c, name) in calls {
            // Numbers near those that exist, and any.
            let ino = match a % 5 {
                0 => a,
                1 => a % 8,
                _ => ns + a % 600,
            };
            let fh = if b % 2 == 0 { b % 40 } else { b };
            let fs = &tree.fs;
            match call {
                0 => drop(fs.lookup(ino, &name)),
                1 => drop(fs.getattr(ino, Some(fh))),
                2 => {
                    let mode = (c % 3 == 0).then_some(a as u16);
                    let uid = (c % 5 == 0).then_some(a as u32);
                    let gid = (b % 5 == 0).then_some(c as u32);
                    let size = (b % 2 == 0).then_some(c);
                    let change = SetAttr { mode, uid, gid, size, times: c % 2 == 0, fh: Some(fh) };
                    fs.setattr(ME, ino, change, tree.reply("setattr"));
                }
                3 => drop(fs.mkdir(ME, ino, &name, c as u16)),
                4 => drop(fs.rmdir(ino, &name)),
                5 => drop(fs.opendir(ino)),
                6 => drop(fs.readdir(ino, fh, c, |entry| entry.next_offset % 7 == 0)),
                7 => drop(fs.open(me(), ino, ACCESSES[c as usize % ACCESSES.len()])),
                8 => fs.read(fh, request(a, c, b as u32, ReadMode { nonblock: c % 2 == 0, for_page_cache: c % 3 == 0 }), tree.reply("read")),
                9 => fs.write(fh, name.as_bytes(), WriteMode { uid: 1, durable: c % 2 == 0, append: c % 3 == 0, offset: 0 }, tree.reply("write")),
                10 => fs.flush(me(), fh, tree.reply("flush")),
                11 => fs.release(fh),
                12 => drop(fs.poll(fh, None)),
                13 => fs.forget(ino, c),
                14 => drop(fs.getxattr(ino, format!("user.{name}").as_bytes(), c as u32)),
                15 => drop(fs.listxattr(ino, c as u32)),
                _ => fs.interrupt(a),
            }
        }
        tree.fs.close();
        prop_assert_eq!(tree.fs.parked_reads(), 0);
    }
}
