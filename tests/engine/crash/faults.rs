//! A full disk, a broken disk, a power cut: at every call of a small workload.

use crate::bench::{Bench, contents};
use immuta::{Durability, Error, Format, RecordNo, Run, Scratch, Storage};
use support::sim::Fault;

const RECORDS: [&str; 7] = [
    "one",
    "",
    "three\n",
    "four",
    "five, which is a bit longer than the others",
    "6",
    "7",
];

/// Appends single records and batches until one is refused. Returns how many records were acknowledged, and
/// why it ended.
fn work(storage: &Storage) -> (usize, Option<Error>) {
    let mut done = 0;
    for chunk in [1, 2, 1, 3] {
        let batch = &RECORDS[done..done + chunk];
        let result = match batch {
            [one] => storage.append("a", one.as_bytes()).map(drop),
            many => storage.append_batch("a", many).map(drop),
        };
        match result {
            Ok(()) => done += chunk,
            Err(e) => return (done, Some(e)),
        }
    }
    (done, None)
}

fn expected(count: usize) -> Vec<Vec<u8>> {
    RECORDS[..count]
        .iter()
        .map(|record| record.as_bytes().to_vec())
        .collect()
}

fn bench(format: Format, sync: Durability) -> Bench {
    Bench {
        sync,
        ..Bench::with_format(format)
    }
}

fn calls_of_the_workload(format: Format, sync: Durability) -> u64 {
    let bench = bench(format, sync);
    let storage = bench.open();
    let before = bench.disk.changes();
    assert_eq!(work(&storage).0, RECORDS.len());
    bench.disk.changes() - before
}

/// "ENOSPC and EDQUOT are not that: the record is refused whole, appends work again when there is room."
#[test]
fn a_disk_full_at_any_write_refuses_the_append_whole_and_the_log_goes_on() {
    let all = Format::ALL.into_iter();
    let cases = all.flat_map(|format| [(format, libc::ENOSPC), (format, libc::EDQUOT)]);
    for (format, errno) in cases {
        for call in 0..calls_of_the_workload(format, Durability::Never) {
            let bench = bench(format, Durability::Never);
            let storage = bench.open();
            bench.disk.fail_change(call, Fault::Half(errno));
            let (done, why) = work(&storage);
            let why = why.expect("a call failed");
            let log = storage.log("a").expect("there");
            if matches!(why, Error::Io { action: "mark", .. }) {
                continue; // a failed sync is never the disk's being full
            }
            assert!(matches!(why, Error::NoSpace { .. }), "call {call}: {why:?}");
            assert_eq!(contents(&log), expected(done), "call {call}");
            log.append(b"there is room again").expect("appended");
            assert!(storage.verify("a").expect("read").is_clean());
            storage.abandon();
            drop(storage);
            let mut all = expected(done);
            all.push(b"there is room again".to_vec());
            assert_eq!(
                contents(&bench.open().log("a").expect("there")),
                all,
                "call {call}"
            );
        }
    }
}

/// "The record is refused whole": also for who opens the log after a crash that comes right behind the
/// refusal.
#[test]
fn a_refused_append_leaves_the_count_as_it_was() {
    for format in Format::ALL {
        refuse_at_every_call(format);
    }
}

fn refuse_at_every_call(format: Format) {
    for call in 0..calls_of_the_workload(format, Durability::Never) {
        let bench = bench(format, Durability::Never);
        let storage = bench.open();
        bench.disk.fail_change(call, Fault::Half(libc::ENOSPC));
        let (done, _) = work(&storage);
        storage.abandon();
        drop(storage);
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        assert_eq!(contents(&log), expected(done), "call {call}");
        assert_eq!(log.recovery().claimed, None, "call {call}");
        assert_eq!(log.recovery().cut, None, "call {call}");
    }
}

/// The disk refused the count and had written nothing of it. It was written a second time, to take it back, which such a
/// disk refuses too: the log then failed until the next start.
#[test]
fn regression_a_count_that_a_copying_disk_refuses_is_not_written_again() {
    for format in [Format::Count8, Format::Count16] {
        let bench = bench(format, Durability::Never);
        let storage = bench.open();
        let log = storage.log("a").expect("there");
        log.append(b"first").expect("appended");
        bench.disk.refuse_overwrites(true);
        let refused = log.append(b"no room").expect_err("no room");
        assert!(matches!(refused, Error::NoSpace { .. }), "{refused:?}");
        bench.disk.refuse_overwrites(false);
        log.append(b"second").expect("appended");
        assert_eq!(contents(&log), [&b"first"[..], b"second"]);
        assert!(storage.verify("a").expect("read").is_clean());
        storage.close().expect("closed");
    }
}

/// "What was lost then is found as damage, as long as the record's entry is there." "Where the entry was lost, too, it is
/// rebuilt from what the log holds, which may be zeros." (docs/format.md, of a disk that loses writes while the machine
/// runs on.)
#[test]
fn what_a_disk_loses_while_the_machine_runs_on_is_damage_or_its_time_is_not_known() {
    // Each is in several sectors, of which some are lost.
    let record = |n: u64| vec![b'a' + n as u8; 900];
    let (mut damaged, mut whole) = (0, 0);
    for format in Format::ALL {
        for luck in 0..60 {
            let mut bench = bench(format, Durability::Never);
            let storage = bench.open();
            for n in 0..5 {
                storage.append("a", &record(n)[..]).expect("appended");
                if n == 0 {
                    storage.sync().expect("synced");
                }
            }
            storage.abandon();
            drop(storage);
            let lossy = support::cut::power_cut(&bench.disk, luck);
            lossy.has_boot_of(&bench.disk);
            bench.disk = lossy;
            let storage = Storage::open(bench.options()).expect("opened");
            let Ok(log) = storage.log("a") else {
                continue; // It was refused as damaged.
            };
            assert!(log.state().count >= 1, "{format} {luck}: it was synced");
            let (mut scratch, before) = (Scratch::default(), damaged);
            for n in 0..log.state().count {
                match log.read_run(RecordNo(n), 0, &mut scratch) {
                    Ok(Run::Records(mut run)) => {
                        let (entry, payload) = run.next().expect("one");
                        let is_rebuilt = entry.time.is_none();
                        assert!(is_rebuilt || payload == record(n), "{format} {luck}: {n}");
                        whole += 1;
                    }
                    Err(Error::Damaged { .. }) => damaged += 1,
                    other => panic!("{format} {luck}: {other:?}"),
                }
            }
            assert_eq!(log.verify().expect("read").damaged.len(), damaged - before);
        }
    }
    assert!(damaged > 0 && whole > 0, "{damaged} {whole}");
}

/// "After a failed write or fsync the log refuses appends (EIO) until it is reopened and verified, keeps
/// serving committed records."
#[test]
fn a_disk_broken_at_any_call_leaves_what_was_acknowledged() {
    let all = Format::ALL.into_iter();
    for (format, sync) in
        all.flat_map(|format| [(format, Durability::Never), (format, Durability::Always)])
    {
        for call in 0..calls_of_the_workload(format, sync) {
            let bench = bench(format, sync);
            let storage = bench.open();
            bench.disk.fail_change(call, Fault::Half(libc::EIO));
            let (done, why) = work(&storage);
            assert!(
                matches!(why, Some(Error::Io { .. })),
                "call {call}: {why:?}"
            );
            let log = storage.log("a").expect("there");
            assert!(log.state().failed);
            assert!(matches!(log.append(b"no"), Err(Error::Failed { .. })));
            let synced = matches!(log.sync(), Err(Error::Failed { .. }));
            assert!(
                synced || done == 0 || sync == Durability::Always,
                "call {call}: a sync of a failed log"
            );
            assert_eq!(contents(&log), expected(done), "call {call}");
            assert!(matches!(storage.close(), Err(Error::Failed { .. })));
            drop((log, storage));
            let storage = bench.open();
            let log = storage.log("a").expect("there");
            let kept = contents(&log);
            assert_eq!(kept, expected(kept.len()), "call {call}");
            assert!(kept.len() >= done, "call {call}: {} of {done}", kept.len());
            log.append(b"again").expect("appended");
            assert!(storage.verify("a").expect("read").is_clean());
        }
    }
}

/// "After a power cut: every record acknowledged under the promise is there; what is beyond it is either
/// whole and right or cut off; never garbage, never a gap." And the same for a power cut during the recovery
/// from a power cut.
#[test]
fn a_power_cut_at_any_call_keeps_what_was_promised_and_no_garbage() {
    let all = Format::ALL.into_iter();
    for (format, sync) in
        all.flat_map(|format| [(format, Durability::Always), (format, Durability::Never)])
    {
        for call in 0..=calls_of_the_workload(format, sync) {
            for luck in 0..24 {
                let mut bench = bench(format, sync);
                let storage = bench.open();
                bench.disk.fail_change(call, Fault::Off);
                let (done, _) = work(&storage);
                drop(storage);
                let promised = if sync == Durability::Always { done } else { 0 };
                bench.power_cut(luck);

                // Power goes again while the log is opened.
                bench.disk.fail_change(luck / 3, Fault::Off);
                drop(Storage::open(bench.options()));
                bench.power_cut(luck * 7 + 1);

                let storage = bench.open();
                let log = storage.log("a").expect("there");
                let kept = contents(&log);
                assert_eq!(kept, expected(kept.len()), "call {call}, luck {luck}");
                assert!(
                    kept.len() >= promised,
                    "call {call}, luck {luck}: {} of {promised}",
                    kept.len()
                );
                log.append(b"on").expect("appended");
                assert!(storage.verify("a").expect("read").is_clean());
                storage.close().expect("closed");
                drop((log, storage));
                assert!(bench.open().log("a").expect("there").recovery().clean);
            }
        }
    }
}

#[test]
fn a_power_cut_while_a_namespace_is_made_leaves_it_whole_or_not_there() {
    let bench = Bench::new();
    drop(bench.open());
    let calls = bench.disk.changes();
    for call in 0..=calls {
        for luck in 0..20 {
            let mut bench = Bench::new();
            bench.disk.fail_change(call, Fault::Off);
            let made = Storage::open(bench.options().namespaces(["a"])).is_ok();
            bench.power_cut(luck);
            if made {
                let storage = Storage::open(bench.options()).expect("opened");
                assert_eq!(storage.namespaces().len(), 1, "it was promised");
            }
            let storage = bench.open();
            let log = storage.log("a").expect("there");
            log.append(b"x").expect("appended");
            assert_eq!(contents(&log), [b"x"]);
        }
    }
}

/// Gives that many bytes, then an error.
struct Broken(usize);

impl std::io::Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::Error::other("the other end is gone"));
        }
        let n = self.0.min(buf.len());
        self.0 -= n;
        buf[..n].fill(1);
        Ok(n)
    }
}

#[test]
fn a_reader_that_fails_stores_nothing_and_the_log_goes_on() {
    let bench = Bench::new();
    let storage = bench.open();
    let log = storage.log("a").expect("there");
    for size in [0, 10, 3 << 20] {
        assert!(matches!(
            log.append_from(&mut Broken(size)),
            Err(Error::Input { .. })
        ));
        assert!(matches!(
            storage.append("a", Broken(size)),
            Err(Error::Input { .. })
        ));
    }
    let huge = vec![5; 3 << 20];
    log.append_from(&mut &huge[..]).expect("appended");
    assert_eq!(contents(&log), [huge]);
}

#[test]
fn an_append_that_cannot_be_undone_says_so_and_fails_the_log() {
    let bench = Bench::new();
    let storage = bench.open();
    let log = storage.log("a").expect("there");
    log.append(b"kept").expect("appended");
    // What the reader gave is written; cutting it off again fails.
    bench.disk.fail_change(1, Fault::Errno(libc::EIO));
    let failed = log.append_from(&mut Broken(10)).expect_err("not undone");
    let message = failed.to_string();
    assert!(
        message.starts_with("cannot undo an append in '"),
        "{message}"
    );
    assert!(matches!(log.append(b"no"), Err(Error::Failed { .. })));
    assert_eq!(contents(&log), [b"kept"]);
}
