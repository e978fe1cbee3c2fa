//! A random walk against a `Vec<Vec<u8>>`, crashes and lost indexes included.

use std::time::Duration;

use crate::bench::{Bench, contents};
use immuta::{Error, Format, RecordNo, Storage};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<u8>),
    AppendFrom(Vec<u8>),
    Batch(Vec<Vec<u8>>),
    Reopen,
    ReopenWithoutIndex,
    ReopenWithGarbledIndex(prop::sample::Index, u8),
    ReopenWithTornTail(Vec<u8>),
    Kill,
    KillWithTornTail(Vec<u8>),
    FindText(prop::sample::Index),
    Stream(i64),
    Sync,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n')], 0..40),
        2 => Just(Vec::new()),
        2 => (prop::num::u8::ANY, 1usize..9000).prop_map(|(byte, size)| vec![byte; size]),
        // Around the largest payload of a run, and beyond.
        1 => ((1usize << 20) - 2..(1 << 20) + 3).prop_map(|size| vec![7; size]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let torn = || prop::collection::vec(any::<u8>(), 1..100);
    prop_oneof![
        8 => payload().prop_map(Op::Append),
        2 => payload().prop_map(Op::AppendFrom),
        4 => prop::collection::vec(payload(), 0..20).prop_map(Op::Batch),
        2 => Just(Op::Reopen),
        1 => Just(Op::ReopenWithoutIndex),
        2 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, flip)| Op::ReopenWithGarbledIndex(at, flip)),
        1 => torn().prop_map(Op::ReopenWithTornTail),
        2 => Just(Op::Kill),
        1 => torn().prop_map(Op::KillWithTornTail),
        2 => any::<prop::sample::Index>().prop_map(Op::FindText),
        2 => (-2i64..12).prop_map(Op::Stream),
        1 => Just(Op::Sync),
    ]
}

/// Does one operation to the log and to the model; a reopened storage replaces the old one.
fn act(bench: &Bench, storage: Storage, model: &mut Vec<Vec<u8>>, op: Op) -> Storage {
    let log = storage.log("a").expect("it is there");
    match op {
        Op::Append(payload) => {
            let appended = log.append(&payload).expect("appended");
            assert_eq!(appended.record.0, model.len() as u64);
            assert_eq!(
                appended.index,
                log.entry(appended.record).expect("an entry").index
            );
            model.push(payload);
        }
        Op::AppendFrom(payload) => {
            let appended = log.append_from(&mut &payload[..]).expect("appended");
            assert_eq!(
                (appended.record.0, appended.size),
                (model.len() as u64, payload.len() as u64)
            );
            model.push(payload);
        }
        Op::Batch(payloads) => {
            let all = storage.append_batch("a", &payloads).expect("appended");
            for (appended, payload) in all.iter().zip(&payloads) {
                let entry = log.entry(appended.record).expect("an entry");
                assert_eq!(
                    (entry.index, entry.size),
                    (appended.index, payload.len() as u64)
                );
            }
            assert_eq!(all.len(), payloads.len());
            model.extend(payloads);
        }
        Op::Reopen => {
            storage.close().expect("closed");
            let storage = bench.open();
            assert!(storage.log("a").expect("there").recovery().clean);
            return storage;
        }
        Op::ReopenWithoutIndex => {
            storage.close().expect("closed");
            bench.disk.remove_file(&bench.index_path());
            return bench.open();
        }
        Op::ReopenWithGarbledIndex(at, flip) => {
            storage.close().expect("closed");
            // Any byte of the header, or of the entries.
            bench.disk.with(&bench.index_path(), |bytes| {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                // As a writer that crashed would have left it, so that the damage is looked for. In a bare
                // log the entry is what counts a record: there, one damage is enough.
                if bench.format != Format::Bare {
                    bytes.truncate(bytes.len() - at % 3);
                }
            });
            bench.disk.with(&bench.index_path(), |bytes| bytes.push(0));
            let storage = bench.open();
            // An entry in the middle is found when it is read: then the index has to go.
            if !storage.verify("a").expect("read").is_clean() {
                storage.close().expect("closed");
                bench.disk.remove_file(&bench.index_path());
                return bench.open();
            }
            return storage;
        }
        Op::ReopenWithTornTail(torn) => {
            storage.close().expect("closed");
            bench
                .disk
                .with(&bench.log_path(), |bytes| bytes.extend_from_slice(&torn));
            return bench.open_torn();
        }
        Op::Kill => {
            storage.abandon();
            return bench.open();
        }
        Op::KillWithTornTail(torn) => {
            storage.abandon();
            bench
                .disk
                .with(&bench.log_path(), |bytes| bytes.extend_from_slice(&torn));
            return bench.open_torn();
        }
        Op::FindText(at) => {
            let end = log.state().text_end;
            let offset = at.index(end as usize + 1) as u64;
            match log.find_text(offset).expect("found") {
                None => assert_eq!(offset, end),
                Some(n) => {
                    let entry = log.entry(n).expect("an entry");
                    assert!(
                        (entry.text_offset..entry.text_offset + entry.text_size).contains(&offset)
                    );
                }
            }
            for (n, _) in model.iter().enumerate().take(5) {
                let entry = log.entry(RecordNo(n as u64)).expect("an entry");
                if let Some(time) = entry.time {
                    let found = log.find_time(time).expect("found");
                    assert!(found <= entry.record);
                }
            }
        }
        Op::Stream(start) => {
            let mut stream = storage.stream("a", start).expect("a stream");
            let skip = usize::try_from(start).unwrap_or(model.len());
            for (n, payload) in model.iter().enumerate().skip(skip) {
                let record = stream
                    .next(Some(Duration::ZERO))
                    .expect("read")
                    .expect("a record");
                assert_eq!(record.record.0, n as u64);
                assert!(record.payload == payload);
            }
            assert_eq!(stream.next(Some(Duration::ZERO)).expect("read"), None);
        }
        Op::Sync => storage.sync().expect("synced"),
    }
    drop(log);
    storage
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// "A record is visible when, and only when, it is whole and in order; numbers are dense; a record once
    /// read is there for ever."
    #[test]
    fn a_log_is_the_list_of_what_was_appended(
        format in prop::sample::select(&Format::ALL[..]),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let bench = Bench::with_format(format);
        let mut storage = bench.open();
        let mut model = Vec::new();
        for op in ops {
            storage = act(&bench, storage, &mut model, op);
            let log = storage.log("a").expect("it is there");
            prop_assert!(contents(&log) == model);
            prop_assert!(storage.verify("a").expect("read").is_clean());
            let missing = log.entry(RecordNo(model.len() as u64));
            prop_assert!(matches!(missing, Err(Error::NoSuchRecord { .. })), "a record beyond the last");
        }
    }
}
