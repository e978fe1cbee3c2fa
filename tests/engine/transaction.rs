//! Transactions: visible at once, or never there.

use std::sync::Arc;
use std::thread;

use crate::bench::{Bench, contents};
use immuta::{AppendOptions, Durability, Error, Format, Payloads, Storage};
use support::sim::Fault;

const FEW: [&str; 4] = ["a", "", "the third\n", "d"];

fn owned(payloads: &[&str]) -> Vec<Vec<u8>> {
    payloads.iter().map(|p| p.as_bytes().to_vec()).collect()
}

#[test]
fn a_transaction_is_visible_at_its_commit_and_not_before() {
    for format in Format::ALL {
        let bench = Bench::with_format(format);
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        log.append(b"before").expect("appended");
        let large = vec![b'x'; 300 << 10];
        let mut transaction = log.transaction().expect("begun");
        for (n, payload) in FEW.iter().enumerate() {
            let appended = transaction.append(payload.as_bytes()).expect("appended");
            assert_eq!(appended.record.0, 1 + n as u64);
        }
        let at = transaction.append(&large).expect("appended");
        transaction.append(b"behind it").expect("appended");
        assert_eq!(transaction.records(), 6);
        assert_eq!(contents(&log), owned(&["before"]));
        transaction.commit().expect("committed");
        let mut expected = owned(&["before"]);
        expected.extend(owned(&FEW));
        expected.extend([large, b"behind it".to_vec()]);
        assert!(contents(&log) == expected);
        assert_eq!(log.entry(at.record).expect("an entry").index, at.index);
        log.append(b"after").expect("appended");
        assert!(storage.verify("a").expect("read").is_clean());
        storage.close().expect("closed");
        drop((log, storage));
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        assert!(log.recovery().clean);
        assert_eq!(log.state().count, 8);
    }
}

#[test]
fn a_transaction_that_is_dropped_was_never_there() {
    for format in Format::ALL {
        let bench = Bench::with_format(format);
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        log.append(b"before").expect("appended");
        let bytes = || bench.disk.with(&bench.log_path(), |bytes| bytes.clone());
        let before = bytes();
        let mut transaction = log.transaction().expect("begun");
        for _ in 0..40 {
            transaction.append(&[7; 50_000]).expect("appended");
        }
        assert!(bytes() != before, "it is written as it comes");
        drop(transaction);
        assert!(bytes() == before);
        log.transaction()
            .expect("begun")
            .commit()
            .expect("an empty one");
        assert!(bytes() == before);
        log.append(b"after").expect("appended");
        assert_eq!(contents(&log), owned(&["before", "after"]));
    }
}

#[test]
fn another_writer_waits_for_the_end_of_a_transaction() {
    let bench = Bench::new();
    let storage = bench.open();
    let log = storage.log("a").expect("there");
    let mut transaction = log.transaction().expect("begun");
    transaction.append(b"1").expect("appended");
    let other = thread::spawn({
        let log = Arc::clone(&log);
        move || log.append(b"3").expect("appended").record.0
    });
    transaction.append(b"2").expect("appended");
    transaction.commit().expect("committed");
    assert_eq!(other.join().expect("no panic"), 2);
    assert_eq!(contents(&log), owned(&["1", "2", "3"]));
}

#[test]
fn a_sync_does_not_wait_for_the_end_of_a_transaction() {
    for sync in [Durability::Never, Durability::Always] {
        let bench = Bench {
            sync,
            ..Bench::new()
        };
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        log.append_with(
            Payloads::Batch(&[b"1"]),
            AppendOptions::new().unsynced().quiet(),
        )
        .expect("appended");
        let mut transaction = log.transaction().expect("begun");
        transaction.append(b"2").expect("appended");
        log.sync().expect("synced");
        assert_eq!(contents(&log), owned(&["1"]));
        transaction.commit().expect("committed");
        assert_eq!(contents(&log), owned(&["1", "2"]));
    }
}

#[test]
fn a_record_too_large_is_refused_alone_and_a_broken_disk_ends_it_all() {
    let bench = Bench::new();
    let options = bench
        .options()
        .namespaces(["a"])
        .max_record_bytes(300 << 10);
    let storage = Storage::open(options).expect("opened");
    let log = storage.log("a").expect("there");
    let mut transaction = log.transaction().expect("begun");
    transaction.append(b"1").expect("appended");
    let refused = transaction.append(&vec![0; (300 << 10) + 1]);
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    transaction.append(b"2").expect("appended");
    transaction.commit().expect("committed");
    let mut transaction = log.transaction().expect("begun");
    transaction.append(b"3").expect("appended");
    bench.disk.fail_change(0, Fault::Half(libc::ENOSPC));
    let full = transaction.append(&vec![0; 300 << 10]);
    assert!(matches!(full, Err(Error::NoSpace { .. })), "{full:?}");
    assert!(matches!(transaction.append(b"4"), Err(Error::Closed)));
    assert!(matches!(transaction.commit(), Err(Error::Closed)));
    log.append(b"5").expect("there is room again");
    assert_eq!(contents(&log), owned(&["1", "2", "5"]));
}

/// "All or none, as one commit": also for who opens the log after the machine stopped at any call, of a
/// transaction or of a batch.
#[test]
fn a_crash_leaves_all_of_a_batch_or_nothing() {
    for format in Format::ALL {
        for sync in [Durability::Never, Durability::Always] {
            for batch in [false, true] {
                crash_at_every_call(format, sync, batch);
            }
        }
    }
}

fn crash_at_every_call(format: Format, sync: Durability, batch: bool) {
    // Entries of more than one sector, so that a power cut can part them.
    let many: Vec<String> = (0..40).map(|n| format!("record {n}")).collect();
    let many: Vec<&[u8]> = many.iter().map(|payload| payload.as_bytes()).collect();
    for call in 0..12 {
        for luck in 0..12 {
            let mut bench = Bench {
                sync,
                format,
                ..Bench::new()
            };
            let storage = bench.open();
            let log = storage.log("a").expect("there");
            log.append(b"before").expect("appended");
            bench.disk.fail_change(call, Fault::Off);
            let done = if batch {
                log.append_batch(&many).is_ok()
            } else {
                let all = log.transaction().and_then(|mut transaction| {
                    for payload in &many {
                        transaction.append(payload)?;
                    }
                    transaction.commit()
                });
                all.is_ok()
            };
            drop((log, storage));
            bench.power_cut(luck);
            let storage = bench.open();
            let kept = contents(&storage.log("a").expect("there")).len();
            let promised = if sync != Durability::Always {
                0
            } else if done {
                41
            } else {
                1
            };
            assert!(
                [0, 1, 41].contains(&kept) && kept >= promised,
                "{format}, {sync:?}, batch {batch}, call {call}, luck {luck}: {kept} records"
            );
        }
    }
}
