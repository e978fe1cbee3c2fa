//! What is left after a crash, a cut, a flipped bit, a lost index: every place where it can happen, one after
//! the other.

use crate::bench::{Bench, contents, owned};
use immuta::{Error, Format, Options, RecordNo, Storage};

const RECORDS: [&[u8]; 6] = [
    b"first\n",
    b"",
    b"third",
    b"4",
    b"the last but one",
    b"the last",
];

/// A log with `RECORDS`, whose writer was killed, and the bytes of both of its files.
fn killed() -> (Bench, Vec<u8>, Vec<u8>) {
    killed_as(Format::Count8)
}

fn killed_as(format: Format) -> (Bench, Vec<u8>, Vec<u8>) {
    let bench = Bench::with_format(format);
    let storage = bench.open();
    for record in RECORDS {
        storage.append("a", record).expect("appended");
    }
    storage.abandon();
    drop(storage);
    let log = bench.disk.with(&bench.log_path(), |bytes| bytes.clone());
    let index = bench.disk.with(&bench.index_path(), |bytes| bytes.clone());
    (bench, log, index)
}

fn put(bench: &Bench, log: &[u8], index: &[u8]) {
    bench
        .disk
        .with(&bench.log_path(), |bytes| *bytes = log.to_vec());
    bench
        .disk
        .with(&bench.index_path(), |bytes| *bytes = index.to_vec());
}

/// Puts a header into a log that counts `count` of `RECORDS`.
fn set_count(format: Format, log: &mut [u8], count: usize) {
    let bytes: usize = RECORDS[..count - 1].iter().map(|r| r.len() + 8).sum();
    let last = format.header_bytes() + bytes as u64;
    let header = [(count as u64).to_le_bytes(), last.to_le_bytes()].concat();
    let length = format.header_bytes() as usize;
    log[..length].copy_from_slice(&header[..length]);
}

fn read(storage: &Storage) -> Vec<Vec<u8>> {
    contents(&storage.log("a").expect("there"))
}

/// "After a power cut, what is beyond the promise is either whole and right or cut off." "Two crashes in a
/// row are no worse than one: the tail is cut before anything is appended."
#[test]
fn a_tail_torn_at_any_byte_of_the_last_two_records_is_cut_to_whole_records() {
    for format in Format::ALL {
        tear_the_last_two_records_of(format);
    }
}

fn tear_the_last_two_records_of(format: Format) {
    let (bench, log, index) = killed_as(format);
    let start = format.header_bytes() as usize;
    let ends = [log.len() - 16 - 24, log.len() - 16, log.len()];
    for cut in ends[0]..=log.len() {
        let kept = RECORDS.len() - 2 + ends[1..].iter().filter(|end| **end <= cut).count();
        // The count may have reached the disk or not.
        for count in [RECORDS.len() - 2, RECORDS.len()] {
            let mut torn = log[..cut].to_vec();
            set_count(format, &mut torn, count);
            put(&bench, &torn, &index);
            let storage = bench.open();
            let mut expected = owned(&RECORDS[..kept]);
            assert_eq!(read(&storage), expected, "cut at {cut}, count {count}");
            let recovery = storage.log("a").expect("there").recovery().clone();
            let left = cut - ends[..].iter().rfind(|end| **end <= cut).expect("one");
            assert_eq!(
                recovery.cut.map_or(0, |cut| cut.bytes),
                left as u64,
                "cut at {cut}"
            );

            // The second crash, in the middle of the next append.
            storage.append("a", &b"after"[..]).expect("appended");
            expected.push(b"after".to_vec());
            storage.abandon();
            drop(storage);
            let again = bench.disk.with(&bench.log_path(), |bytes| {
                bytes.extend_from_slice(&log[start..start + 12]);
                bytes.len()
            });
            let storage = bench.open();
            assert_eq!(read(&storage), expected, "cut at {cut} and {again}");
            assert!(storage.verify("a").expect("read").is_clean());
            storage.close().expect("closed");
            drop(storage);
            let storage = bench.open();
            assert!(storage.log("a").expect("there").recovery().clean);
        }
    }
}

#[test]
fn a_log_cut_inside_its_header_is_an_empty_log_again() {
    let (bench, log, _) = killed();
    for length in 0..8 {
        put(&bench, &log[..length], b"");
        let storage = bench.open();
        assert_eq!(read(&storage), owned(&[]));
        let cut = storage
            .log("a")
            .expect("there")
            .recovery()
            .cut
            .map_or(0, |cut| cut.bytes);
        assert_eq!(cut, length as u64);
        storage.append("a", &b"x"[..]).expect("appended");
        drop(storage);
        assert_eq!(read(&bench.open()), owned(&[b"x"]));
    }
}

#[test]
fn a_log_that_lost_records_its_index_vouches_for_is_refused_and_not_changed() {
    for format in Format::ALL {
        lose_records_of(format);
    }
}

fn lose_records_of(format: Format) {
    let (bench, log, _) = killed_as(format);
    drop(bench.open()); // closes it in order
    let index = bench.disk.with(&bench.index_path(), |bytes| bytes.clone());
    for length in 0..log.len() {
        put(&bench, &log[..length], &index);
        let storage = Storage::open(bench.options()).expect("the directory opens");
        let failed = storage.failed();
        assert!(
            matches!(&*failed[0].1, Error::Damaged { .. }),
            "{length}: {:?}",
            failed[0].1
        );
        assert!(matches!(
            storage.create(&failed[0].0),
            Err(Error::Exists { .. })
        ));
        drop(storage);
        assert_eq!(
            bench.disk.with(&bench.log_path(), |bytes| bytes.clone()),
            log[..length]
        );
        // The way out that the error names.
        let storage = Storage::open(bench.options().repair(true)).expect("opened");
        let kept = read(&storage);
        assert_eq!(kept, owned(&RECORDS[..kept.len()]));
        storage.append("a", &b"goes on"[..]).expect("appended");
    }
}

/// "Each entry checkable by itself, rebuilt from the log when lost or behind (times then unknown)."
#[test]
fn an_index_lost_behind_or_garbage_is_made_again() {
    let (bench, log, index) = killed();
    let mut variants: Vec<Vec<u8>> = (0..=index.len())
        .step_by(8)
        .map(|n| index[..n].to_vec())
        .collect();
    variants.push(vec![0xff; index.len()]);
    variants.push(vec![0; 1000]);
    variants.push([&index[..128], &[0x55; 400][..]].concat());
    for variant in variants {
        put(&bench, &log, &variant);
        let storage = bench.open();
        assert_eq!(
            read(&storage),
            owned(&RECORDS),
            "index of {} bytes",
            variant.len()
        );
        let handle = storage.log("a").expect("there");
        let rebuilt = handle.recovery().rebuilt;
        let unknown = (0..6)
            .filter(|n| handle.entry(RecordNo(*n)).expect("an entry").time.is_none())
            .count();
        assert_eq!(unknown as u64, rebuilt);
        assert!(storage.verify("a").expect("read").is_clean());
    }
    bench.disk.remove_file(&bench.index_path());
    assert_eq!(read(&bench.open()), owned(&RECORDS));
}

/// "Damage in the middle (a flipped bit) is found on read by CRC: that record is EIO, all others are served;
/// `verify` lists them."
#[test]
fn a_flipped_bit_in_a_payload_or_size_damages_that_record_alone() {
    for format in Format::ALL {
        flip_bits_of(format);
    }
}

fn flip_bits_of(format: Format) {
    let (bench, log, _) = killed_as(format);
    drop(bench.open());
    let index = bench.disk.with(&bench.index_path(), |bytes| bytes.clone());
    let mut at = format.header_bytes() as usize;
    for (n, record) in RECORDS.iter().enumerate() {
        for byte in at..at + 8 + record.len() {
            let mut flipped = log.clone();
            flipped[byte] ^= 0x10;
            put(&bench, &flipped, &index);
            let storage = bench.open();
            let mut stream = storage.stream("a", 0).expect("a stream");
            for (i, expected) in RECORDS.iter().enumerate() {
                match stream.next(None) {
                    Ok(Some(got)) => assert!(
                        i != n && got.payload == *expected,
                        "byte {byte}, record {i}"
                    ),
                    Err(Error::Damaged { record, .. }) => {
                        assert_eq!((i, record), (n, Some(RecordNo(n as u64))))
                    }
                    other => panic!("byte {byte}: {other:?}"),
                }
            }
            let report = storage.verify("a").expect("read");
            let damaged: Vec<_> = report.damaged.iter().map(|damage| damage.record).collect();
            assert_eq!(damaged, [Some(RecordNo(n as u64))], "byte {byte}");
            drop((stream, storage));
            assert_eq!(
                bench.disk.with(&bench.log_path(), |bytes| bytes.clone()),
                flipped,
                "byte {byte}"
            );
        }
        at += 8 + record.len();
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_mended_from_the_index() {
    for format in [Format::Count8, Format::Count16] {
        flip_header_bits_of(format);
    }
}

fn flip_header_bits_of(format: Format) {
    let (bench, log, _) = killed_as(format);
    drop(bench.open());
    let index = bench.disk.with(&bench.index_path(), |bytes| bytes.clone());
    for bit in 0..format.header_bytes() as usize * 8 {
        let mut flipped = log.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        put(&bench, &flipped, &index);
        assert_eq!(read(&bench.open()), owned(&RECORDS), "bit {bit}");
        assert_eq!(
            bench.disk.with(&bench.log_path(), |bytes| bytes.clone()),
            log,
            "bit {bit}"
        );
    }
}

/// "Nothing that a file contains makes it panic, allocate without bound."
#[test]
fn no_count_and_no_size_is_believed_beyond_the_file() {
    for count in [i64::MIN, -1, 1, 7, i64::from(u32::MAX), i64::MAX] {
        for size in [i64::MIN, -1, 0, 1, 11, i64::MAX - 16, i64::MAX] {
            let bench = Bench::new();
            drop(bench.open());
            let bytes = [
                &count.to_le_bytes()[..],
                &size.to_le_bytes(),
                b"hello world",
            ]
            .concat();
            bench
                .disk
                .with(&bench.log_path(), |log| *log = bytes.clone());
            bench.disk.remove_file(&bench.index_path());
            let storage = Storage::open(bench.options()).expect("the directory opens");
            match storage.log("a") {
                Ok(log) => assert!(log.state().count <= 1, "{count} {size}"),
                Err(_) => {
                    drop(storage);
                    assert_eq!(bench.disk.with(&bench.log_path(), |log| log.clone()), bytes);
                    let storage = Storage::open(bench.options().repair(true)).expect("opened");
                    assert!(storage.log("a").expect("repaired").state().count <= 1);
                }
            }
        }
    }
}

#[test]
fn garbage_of_any_kind_is_opened_or_refused_but_never_a_panic() {
    let mut random = support::Random(42);
    for round in 0..3000 {
        let bench = Bench::with_format(Format::ALL[round / 3 % 3]);
        drop(bench.open());
        let mut garbage = |most: u64| -> Vec<u8> {
            let length = random.draw() % most;
            let mask = [0xff, 0x01, 0x00, 0x0f][(random.draw() % 4) as usize];
            (0..length).map(|_| random.draw() as u8 & mask).collect()
        };
        let (log, index) = (garbage(200), garbage(400));
        bench.disk.with(&bench.log_path(), |bytes| *bytes = log);
        bench
            .disk
            .with(&bench.index_path(), |bytes| match round % 3 {
                0 => *bytes = index,
                1 => bytes.extend(index),
                _ => bytes.clear(),
            });
        for repair in [false, true] {
            let storage =
                Storage::open(bench.options().repair(repair)).expect("the directory opens");
            if let Ok(log) = storage.log("a") {
                let report = log.verify().expect("read");
                if report.is_clean() {
                    contents(&log);
                }
                log.append(b"on").expect("appended");
            }
        }
    }
}

#[test]
fn a_copied_index_gets_an_id_of_its_own_and_keeps_its_times() {
    let bench = Bench::new();
    let storage = bench.open();
    storage.append("a", &b"x"[..]).expect("appended");
    storage.close().expect("closed");
    let first = storage.log("a").expect("there").id();
    drop(storage);
    let log = bench.disk.with(&bench.log_path(), |bytes| bytes.clone());
    let index = bench.disk.with(&bench.index_path(), |bytes| bytes.clone());
    drop(Storage::open(bench.options().namespaces(["b"])).expect("opened"));
    bench
        .disk
        .with(&bench.dir.path().join("b.log"), |bytes| *bytes = log);
    bench
        .disk
        .with(&bench.dir.path().join("b.idx"), |bytes| *bytes = index);
    for _ in 0..2 {
        let storage = bench.open();
        let (a, b) = (
            storage.log("a").expect("there"),
            storage.log("b").expect("there"),
        );
        assert_eq!(a.id(), first);
        assert_ne!(b.id(), first);
        let time = |log: &immuta::Log| log.entry(RecordNo(0)).expect("an entry").time;
        assert_eq!(time(&a), time(&b));
        assert!(time(&a).is_some());
        assert_eq!(contents(&b), owned(&[b"x"]));
    }
}

#[test]
fn odd_things_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("target.log"), b"not ours").expect("written");
    std::fs::create_dir(dir.path().join("directory.log")).expect("made");
    std::fs::write(dir.path().join(".hidden.log"), b"x").expect("written");
    std::fs::write(dir.path().join("a b.log"), b"x").expect("written");
    std::fs::write(dir.path().join("notes.txt"), b"x").expect("written");
    std::os::unix::fs::symlink(
        outside.path().join("target.log"),
        dir.path().join("link.log"),
    )
    .expect("linked");
    std::os::unix::fs::symlink(outside.path().join("new.idx"), dir.path().join("a.idx"))
        .expect("linked");
    let storage = Storage::open(Options::new(dir.path()).namespaces(["a"])).expect("opened");
    assert_eq!(storage.namespaces().len(), 1);
    storage.append("a", &b"x"[..]).expect("appended");
    storage.close().expect("closed");
    assert_eq!(
        std::fs::read(outside.path().join("target.log")).expect("read"),
        b"not ours"
    );
    assert!(
        !outside.path().join("new.idx").exists(),
        "it left the directory"
    );
}
