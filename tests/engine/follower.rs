//! Reading beside a writer in another process: ours, and one that keeps no index.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::bench::{Bench, contents, owned};
use immuta::{Error, Format, Options, RecordNo, Storage};
use support::hooked_disk::{HookedDisk, Hooks};

/// The header as the Go library writes it, behind `count` records.
fn set_header(bench: &Bench, count: u64, last_index: u64) {
    let header = [count.to_le_bytes(), last_index.to_le_bytes()].concat();
    let length = bench.format.header_bytes() as usize;
    bench.disk.with(&bench.log_path(), |bytes| {
        bytes[..length].copy_from_slice(&header[..length])
    });
}

#[test]
fn a_reader_beside_a_writer_changes_nothing_and_sees_what_was_counted() {
    let bench = Bench::new();
    let storage = bench.open();
    storage.append("a", &b"one"[..]).expect("appended");
    let reader = Storage::open(bench.options().read_only(true)).expect("no lock needed");
    let log = reader.log("a").expect("there");
    assert_eq!(contents(&log), owned(&[b"one"]));
    let calls = bench.disk.changes();
    storage
        .append_batch("a", &["two", "three\n"])
        .expect("appended");
    let by_writer = bench.disk.changes() - calls;
    assert_eq!(log.state().count, 1);
    assert_eq!(log.refresh().expect("read").count, 3);
    assert_eq!(contents(&log), owned(&[b"one", b"two", b"three\n"]));
    assert!(matches!(log.append(b"x"), Err(Error::ReadOnly)));
    assert!(matches!(reader.remove("a"), Err(Error::ReadOnly)));
    // Without an index it makes one in memory.
    let index = bench.disk.with(&bench.index_path(), std::mem::take);
    let blind = Storage::open(bench.options().read_only(true)).expect("opened");
    assert_eq!(
        contents(&blind.log("a").expect("there")),
        owned(&[b"one", b"two", b"three\n"])
    );
    assert!(
        bench
            .disk
            .with(&bench.index_path(), |bytes| bytes.is_empty())
    );
    drop((blind, reader));
    assert_eq!(bench.disk.changes(), calls + by_writer, "a reader wrote");
    bench.disk.with(&bench.index_path(), |bytes| *bytes = index);
    drop(storage);
}

#[test]
fn a_reader_beside_our_writer_sees_each_commit() {
    for format in Format::ALL {
        let bench = Bench::with_format(format);
        let storage = bench.open();
        storage.append("a", &b"one"[..]).expect("appended");
        let reader = Storage::open(bench.options().read_only(true)).expect("opened");
        let log = reader.log("a").expect("there");
        assert_eq!(contents(&log), owned(&[b"one"]));
        assert!(!log.has_grown().expect("read"));
        storage
            .append_batch("a", &["two", "three"])
            .expect("appended");
        assert!(log.has_grown().expect("read"));
        assert_eq!(log.state().count, 1, "looking changes nothing");
        assert_eq!(log.refresh().expect("read").count, 3);
        assert!(!log.has_grown().expect("read"));

        // What is written and not committed is not there, in a bare log neither.
        let ours = storage.log("a").expect("there");
        let mut transaction = ours.transaction().expect("begun");
        transaction.append(&[9; 300 << 10]).expect("appended");
        assert_eq!(log.refresh().expect("read").count, 3);
        transaction.commit().expect("committed");
        assert_eq!(log.refresh().expect("read").count, 4);
        storage.close().expect("closed");
        drop((ours, storage));
        bench.open().append("a", &b"five"[..]).expect("appended");
        let state = log.refresh().expect("read");
        assert_eq!((state.count, state.rebuilt), (5, 0));
        assert_eq!(contents(&log)[4], b"five");
    }
}

/// "Read-only opening sees, live, what another process writes, a Go program included": it writes an empty
/// size field, the payload, the size, then the header.
#[test]
fn a_reader_beside_a_program_without_index_sees_what_is_counted() {
    for format in Format::ALL {
        let bench = Bench::with_format(format);
        let storage = bench.open();
        storage.append("a", &b"ours"[..]).expect("appended");
        storage.close().expect("closed");
        drop(storage);
        let reader = Storage::open(bench.options().read_only(true)).expect("opened");
        let log = reader.log("a").expect("there");
        let mut expected = owned(&[b"ours"]);
        for n in 2..6u64 {
            let payload = format!("theirs, {n}").into_bytes();
            let at = bench.disk.with(&bench.log_path(), |bytes| {
                bytes.extend_from_slice(&[0; 8]);
                bytes.len() - 8
            });
            assert_eq!(log.refresh().expect("read").count, n - 1);
            bench
                .disk
                .with(&bench.log_path(), |bytes| bytes.extend_from_slice(&payload));
            assert_eq!(log.refresh().expect("read").count, n - 1);
            let size = (payload.len() as u64).to_le_bytes();
            bench.disk.with(&bench.log_path(), |bytes| {
                bytes[at..at + 8].copy_from_slice(&size)
            });
            if format != Format::Bare {
                assert_eq!(log.refresh().expect("read").count, n - 1, "not counted yet");
            }
            if format == Format::Count16 {
                set_header(&bench, n, 3);
                assert_eq!(log.refresh().expect("read").count, n - 1, "half a header");
            }
            set_header(&bench, n, at as u64);
            let state = log.refresh().expect("read");
            assert_eq!((state.count, state.rebuilt), (n, n - 1));
            expected.push(payload);
            assert_eq!(contents(&log), expected);
        }
        let details = log.details().expect("details");
        assert_eq!((details.checksummed, details.rebuilt), (1, 4));
        drop((log, reader));

        // Opened for writing, the index is made, and how much of it was made so is known from then on.
        for _ in 0..2 {
            let storage = bench.open();
            storage.append("a", &b"ours"[..]).expect("appended");
            let details = storage.details("a").expect("details");
            assert_eq!(details.rebuilt, 4);
            storage.close().expect("closed");
        }
        let storage = bench.open();
        let details = storage.details("a").expect("details");
        assert!(storage.log("a").expect("there").recovery().clean);
        assert_eq!((details.checksummed, details.rebuilt), (3, 4));
        storage.append("a", &b"x"[..]).expect("appended");
        storage.abandon();
        drop(storage);
        let details = bench.open().details("a").expect("details");
        assert_eq!((details.checksummed, details.rebuilt), (4, 4));
    }
}

/// On a real disk, where reads and writes do run into each other.
#[test]
fn a_follower_of_a_busy_writer_sees_whole_records_in_order() {
    for format in Format::ALL {
        let dir = tempfile::tempdir().expect("a directory");
        let options = || immuta::Options::new(dir.path()).sync(immuta::Durability::Never);
        let storage = Storage::open(options().format(format).namespaces(["a"])).expect("opened");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..2000u64 {
                    let payload = |n: u64| vec![n as u8; (n % 300) as usize + 1];
                    let batch: Vec<_> = (n * 3..n * 3 + 3).map(payload).collect();
                    storage.append_batch("a", &batch).expect("appended");
                }
                done.store(true, Ordering::Release);
            });
            let reader = Storage::open(options().read_only(true)).expect("opened");
            let log = reader.log("a").expect("there");
            let mut stream = reader.stream("a", 0).expect("a stream");
            let mut next = 0u64;
            loop {
                let last_look = done.load(Ordering::Acquire);
                let count = log.refresh().expect("read").count;
                assert_eq!(count % 3, 0, "a part of a batch");
                while next < count {
                    let record = stream.next(None).expect("read").expect("a record");
                    let expected = vec![next as u8; (next % 300) as usize + 1];
                    assert!(record.payload == expected, "record {next}");
                    next += 1;
                }
                if last_look {
                    break;
                }
            }
            assert_eq!(next, 6000);
        });
    }
}

/// How often a log is opened.
#[derive(Debug, Default)]
struct Opened(AtomicU64);

impl Hooks for Opened {
    fn before_open(&self, path: &Path) {
        let is_log = path.extension() == Some("log".as_ref());
        self.0.fetch_add(u64::from(is_log), Ordering::Relaxed);
    }
}

/// Each event of a log that could not be opened had it, and all others like it, detected again.
#[test]
fn regression_a_log_that_cannot_be_opened_is_looked_at_again_only_when_it_has_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let storage = Storage::open(Options::new(dir.path()).namespaces(["good"])).expect("opened");
    storage.append("good", &b"one"[..]).expect("appended");
    storage.close().expect("closed");
    drop(storage);
    std::fs::write(path("bad.log"), "no log of any format").expect("written");
    let disk = HookedDisk::<Opened>::default();
    let options = Options::new(dir.path())
        .read_only(true)
        .disk(Arc::new(disk.clone()));
    let reader = Storage::open(options).expect("opened");
    assert_eq!(reader.failed().len(), 1);
    let opened = disk.0.0.load(Ordering::Relaxed);
    for _ in 0..100 {
        assert!(reader.rescan().expect("listed").is_empty());
    }
    assert_eq!(disk.0.0.load(Ordering::Relaxed), opened);
    assert_eq!(reader.looks_again_in(), None);

    for kind in ["log", "idx"] {
        std::fs::copy(path(&format!("good.{kind}")), path(&format!("new.{kind}"))).expect("copied");
        std::fs::rename(path(&format!("new.{kind}")), path(&format!("bad.{kind}"))).expect("moved");
    }
    // Too early, or not.
    let mut found = reader.rescan().expect("listed");
    while found.is_empty() {
        thread::park_timeout(reader.looks_again_in().expect("it is looked at again"));
        found = reader.rescan().expect("listed");
    }
    assert_eq!(
        contents(&reader.log("bad").expect("there")),
        owned(&[b"one"])
    );
    assert!(reader.failed().is_empty());
    let [a, b] = ["bad", "good"].map(|name| reader.log(name).expect("there").id());
    assert_ne!(a, b, "two logs have one id");

    // One that goes is forgotten, and closed.
    let log = reader.log("bad").expect("there");
    std::fs::remove_file(path("bad.log")).expect("removed");
    assert_eq!(reader.forget_gone(Some("good")).len(), 0);
    assert_eq!(reader.forget_gone(Some("bad")).len(), 1);
    assert!(log.state().closed);
    assert!(matches!(reader.log("bad"), Err(Error::NotFound { .. })));
}

/// A reader that looked just when a writer had made the first of a log's two files took it for a log of the usual format
/// without an index: it read another format wrong, and knew no times, as long as it had it open.
#[test]
fn regression_a_log_that_is_just_being_made_is_not_taken_for_one_without_an_index() {
    for format in Format::ALL {
        let [elsewhere, dir] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let options = Options::new(elsewhere.path())
            .format(format)
            .namespaces(["a"]);
        let writer = Storage::open(options).expect("opened");
        writer.append("a", &b"first"[..]).expect("appended");
        writer.close().expect("closed");
        let reader = Storage::open(Options::new(dir.path()).read_only(true)).expect("opened");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a.log"), "").expect("made");
        assert!(reader.rescan().expect("listed").is_empty(), "{format}");
        for name in ["a.idx", "a.log"] {
            std::fs::copy(elsewhere.path().join(name), path(name)).expect("copied");
        }
        let [log] = &reader.rescan().expect("listed")[..] else {
            panic!("{format}: {:?}", reader.failed());
        };
        assert_eq!(log.format(), format);
        assert_eq!(contents(log), [b"first"]);
        assert!(log.entry(RecordNo(0)).expect("read").time.is_some());
    }
}
