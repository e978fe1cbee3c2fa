//! Records of another log keep the times that they have there, as far as times never go back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use immuta::{Durability, Format, Log, Options, RecordNo, Storage};

fn at(seconds: u64) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn times(log: &Log) -> Vec<Option<SystemTime>> {
    let count = log.state().count;
    let time = |n| log.entry(RecordNo(n)).unwrap().time;
    (0..count).map(time).collect()
}

fn open(options: Options) -> (Storage, Arc<Log>) {
    let storage = Storage::open(options.namespaces(["a"])).unwrap();
    let log = storage.log("a").unwrap();
    (storage, log)
}

#[test]
fn copies_keep_their_times_in_every_format_also_when_the_log_is_opened_again() {
    for format in Format::ALL {
        for sync in [Durability::Always, Durability::Never] {
            for crash in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let options = || Options::new(dir.path()).format(format).sync(sync);
                let (storage, log) = open(options());
                let batch = [(&b"zero"[..], None), (b"one", at(100)), (b"two", None)];
                let appended = log.append_copies(&batch).unwrap();
                assert_eq!((appended.record, appended.size), (RecordNo(0), 4));
                log.append_copy_from(&mut &b"three"[..], at(200)).unwrap();
                log.append_copy_from(&mut &b"four"[..], None).unwrap();
                let expected = [None, at(100), None, at(200), None];
                assert_eq!(times(&log), expected);
                assert_eq!(log.state().rebuilt, 3);
                assert_eq!(log.state().last_time, None);
                match crash {
                    true => storage.abandon(),
                    false => storage.close().unwrap(),
                }
                drop((storage, log));

                let (storage, log) = open(options());
                assert_eq!(log.recovery().clean, !crash);
                assert_eq!(times(&log), expected, "{format} {sync:?} crash {crash}");
                assert_eq!(log.state().rebuilt, 3);
                assert_eq!(storage.details("a").unwrap().checksummed, 2);
                assert!(log.verify().unwrap().is_clean());
                assert_eq!(
                    log.find_time(at(101).unwrap()).unwrap(),
                    RecordNo(3),
                    "the one whose time is not known counts with the one before it"
                );
                drop(storage);
            }
        }
    }
}

#[test]
fn the_time_of_a_copy_is_neither_before_that_of_the_record_before_nor_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, log) = open(Options::new(dir.path()));
    let before = SystemTime::now();
    let year_3000 = at(32_503_680_000);
    log.append_copies(&[(b"0", at(500)), (b"1", at(400)), (b"2", year_3000)])
        .unwrap();
    log.append_copies(&[(b"3", at(600))]).unwrap();
    log.append(b"4").unwrap();
    let after = SystemTime::now();
    let times: Vec<_> = times(&log).into_iter().map(Option::unwrap).collect();
    assert_eq!(times[..2], [at(500).unwrap(); 2]);
    assert!(before <= times[2] && times[2] <= after);
    assert_eq!(times[3], times[2]);
    assert!(times[3] <= times[4] && times[4] <= after);
    storage.close().unwrap();
}

#[test]
fn copies_that_are_refused_leave_nothing_and_none_at_all_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, log) = open(Options::new(dir.path()).max_record_bytes(3));
    assert!(
        log.append_copies(&[(b"abc", at(1)), (b"abcd", at(2))])
            .is_err()
    );
    log.append_copies(&[]).unwrap();
    assert_eq!(log.state().count, 0);
    log.append(b"new").unwrap();
    assert!(times(&log)[0] > at(1_000_000_000));
    storage.close().unwrap();
}
