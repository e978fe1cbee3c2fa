//! How much is read of a log that is damaged, and the numbers by which it is known, are bounded whatever its index says.

use std::path::Path;

use crate::bench::{Bench, contents};
use immuta::{Error, Namespace, RecordNo, Storage};
use support::sim::SimDisk;

const SLOT_BYTES: usize = 64;
const INDEX_HEADER_BYTES: usize = 2 * SLOT_BYTES;
const ENTRY_BYTES: usize = 32;
/// Ids are below this: an inode number has 23 bits for one.
const END_OF_IDS: u32 = 1 << 23;

/// The record's bytes were read through a window of 8 bytes to see whether they are those that the index knows: a read
/// for each 8 bytes of a record of any size.
#[test]
fn regression_a_damaged_size_field_of_the_last_record_costs_few_reads() {
    let bench = Bench::new();
    let storage = bench.open();
    storage
        .append("a", &vec![7; 1 << 20][..])
        .expect("appended");
    storage.close().expect("closed");
    drop(storage);
    bench.disk.with(&bench.log_path(), |bytes| bytes[8] ^= 1);
    let before = bench.disk.reads();
    let storage = bench.open();
    let reads = bench.disk.reads() - before;
    assert!(reads < 100, "{reads} reads");
    assert_eq!(storage.log("a").expect("there").state().count, 1);
}

/// Turns over a bit of the checksums of some entries.
fn damage(bench: &Bench, entries: std::ops::Range<usize>) {
    bench.disk.with(&bench.index_path(), |bytes| {
        for entry in entries {
            bytes[INDEX_HEADER_BYTES + entry * ENTRY_BYTES + 31] ^= 1;
        }
    });
}

/// Each damaged entry that a search stepped over was a read of its own, and there was no end to them: one look for a place
/// in the text held its thread for as many reads as there are records.
#[test]
fn regression_a_search_over_damaged_entries_takes_a_bounded_number_of_reads() {
    let bench = Bench::new();
    let storage = bench.open();
    let records = 70_000;
    let lines: Vec<String> = (0..records).map(|n| format!("{n:05}\n")).collect();
    storage.append_batch("a", &lines).expect("appended");
    let log = storage.log("a").expect("there");
    let reads_of = |search: &dyn Fn()| {
        let before = bench.disk.reads();
        search();
        bench.disk.reads() - before
    };

    // Some: it steps over them.
    damage(&bench, 35_000..35_300);
    let reads = reads_of(&|| {
        for n in [0, 34_999, 35_300, 69_999] {
            let found = log.find_text(n * 6 + 3).expect("found");
            assert_eq!(found, Some(RecordNo(n)));
        }
        assert!(matches!(
            log.find_text(35_100 * 6),
            Err(Error::Damaged { .. })
        ));
    });
    assert!(reads < 500, "{reads} reads");

    // Nearly all: it gives up.
    damage(&bench, 1..35_000);
    damage(&bench, 35_300..69_999);
    let reads = reads_of(&|| {
        let found = log.find_text(60_000 * 6);
        assert!(matches!(found, Err(Error::Damaged { .. })), "{found:?}");
    });
    assert!(reads < 2000, "{reads} reads");
    storage.abandon();
}

/// Has the slots of an index say another id, with right checksums.
fn forge_id(disk: &SimDisk, index: &Path, id: u32) {
    disk.with(index, |bytes| {
        for slot in bytes[..INDEX_HEADER_BYTES].chunks_exact_mut(SLOT_BYTES) {
            slot[12..16].copy_from_slice(&id.to_le_bytes());
            let crc = crc32c::crc32c(&slot[..60]);
            slot[60..].copy_from_slice(&crc.to_le_bytes());
        }
    });
}

/// An id that is too large for an inode number was taken as it was by who only reads: two logs then had the same inode
/// numbers, and showed each other's bytes.
#[test]
fn regression_an_id_that_no_inode_number_can_hold_is_not_the_one_a_log_is_known_by() {
    for read_only in [true, false] {
        let bench = Bench::new();
        let storage = bench.open();
        let other = Namespace::new("b").expect("a name");
        storage.create(&other).expect("created");
        for (name, record) in [("a", "of a"), ("b", "of b")] {
            storage.append(name, record.as_bytes()).expect("appended");
        }
        let id = storage.log("a").expect("there").id();
        storage.close().expect("closed");
        drop(storage);
        let index = bench.dir.path().join("b.idx");
        for forged in [END_OF_IDS | id, END_OF_IDS, u32::MAX] {
            forge_id(&bench.disk, &index, forged);
            let storage = Storage::open(bench.options().read_only(read_only)).expect("opened");
            assert!(storage.failed().is_empty(), "{:?}", storage.failed());
            let (a, b) = (storage.log("a"), storage.log("b"));
            let (a, b) = (a.expect("there"), b.expect("there"));
            assert_eq!(a.id(), id);
            assert!(
                (1..END_OF_IDS).contains(&b.id()),
                "{forged:x}: {:x}",
                b.id()
            );
            assert_ne!(b.id(), id);
            assert_eq!(contents(&a), [b"of a"]);
            assert_eq!(contents(&b), [b"of b"]);
        }
    }
}
