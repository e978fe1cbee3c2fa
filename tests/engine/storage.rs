//! Namespaces, the lock, streams and closing: what the library promises to the program that uses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, contents};
use immuta::{
    AppendOptions, Durability, Error, Format, Namespace, Next, Opening, Options, Payloads,
    RecordNo, Storage, WaitOutcome,
};

/// "A directory has one writer (lock held; a second one says who holds it)."
#[test]
fn a_second_writer_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Storage::open(Options::new(dir.path())).expect("opened");
    match Storage::open(Options::new(dir.path())) {
        Err(Error::Locked { holder, .. }) => {
            assert_eq!(holder.pid, Some(std::process::id()), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    first.close().expect("closed");
    Storage::open(Options::new(dir.path()))
        .expect("the lock is given back by the close, not by the drop");
}

#[test]
fn namespaces_come_and_go_and_come_again() {
    let bench = Bench::new();
    let storage = bench.open();
    let name = Namespace::new("b").expect("a name");
    assert!(matches!(storage.log("b"), Err(Error::NotFound { .. })));
    let first = storage.create(&name).expect("created");
    assert!(matches!(storage.create(&name), Err(Error::Exists { .. })));
    assert_eq!(
        storage
            .namespaces()
            .iter()
            .map(Namespace::as_str)
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    storage.remove("b").expect("removed");
    assert!(matches!(first.append(b"x"), Err(Error::Closed)));
    assert_eq!(first.signal().wait(0, None), WaitOutcome::Closed);
    assert!(matches!(storage.remove("b"), Err(Error::NotFound { .. })));
    let second = storage.create(&name).expect("created again");
    second.append(b"x").expect("appended");
    assert!(matches!(
        storage.remove("b"),
        Err(Error::NotEmpty { records: 1, .. })
    ));
    assert!((1..1 << 23).contains(&second.id()));
    let id = second.id();
    drop(storage);
    assert_eq!(
        bench.open().log("b").expect("there").id(),
        id,
        "an id outlives the storage"
    );
}

/// "Chosen per namespace, detected on open. A log keeps the format it has."
#[test]
fn a_format_is_chosen_when_a_namespace_is_made_and_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    for format in Format::ALL {
        let options = Options::new(dir.path())
            .format(format)
            .namespaces([format.to_string()]);
        let storage = Storage::open(options).expect("opened");
        for there in storage.namespaces() {
            let log = storage.log(there.as_str()).expect("there");
            assert_eq!(log.format().to_string(), there.as_str());
            let first = log.append(b"x").expect("appended");
            assert!(first.index.0 >= log.format().header_bytes());
        }
        assert!(
            matches!(storage.log("bare").expect("there").entry(RecordNo(0)), Ok(entry) if entry.index.0 == 0)
        );
    }
    let one = Storage::open(Options::new(dir.path()).only(["bare"])).expect("opened");
    assert_eq!(one.namespaces().len(), 1);
    let other = Namespace::new("count8").expect("a name");
    assert!(matches!(one.create(&other), Err(Error::NotFound { .. })));
}

#[test]
fn a_record_above_the_limit_is_refused_and_one_at_it_is_not() {
    let bench = Bench::new();
    let storage =
        Storage::open(bench.options().namespaces(["a"]).max_record_bytes(10)).expect("opened");
    storage.append("a", &[1; 10][..]).expect("appended");
    let more = storage.append("a", std::io::repeat(1));
    assert!(matches!(
        more,
        Err(Error::TooLarge {
            size: 11,
            limit: 10
        })
    ));
    assert!(matches!(
        storage.append_batch("a", &[&b""[..], &[1; 11]]),
        Err(Error::TooLarge { .. })
    ));
    assert_eq!(contents(&storage.log("a").expect("there")), [[1; 10]]);
}

/// "`start`: 0 from the first, N skips N, negative only what comes next. A stream past the end waits."
#[test]
fn a_stream_starts_where_it_is_told() {
    let bench = Bench::new();
    let storage = bench.open();
    storage.append_batch("a", &["0", "1"]).expect("appended");
    let mut streams: Vec<_> = [0, 1, -1, 3]
        .map(|start| storage.stream("a", start).expect("a stream"))
        .into();
    storage.append_batch("a", &["2", "3"]).expect("appended");
    let firsts: Vec<_> = streams
        .iter_mut()
        .map(|stream| {
            stream
                .next(None)
                .expect("read")
                .map(|record| record.record.0)
        })
        .collect();
    assert_eq!(firsts, [Some(0), Some(1), Some(2), Some(3)]);
}

/// "Closing gives readers what was committed, then `Closed`."
#[test]
fn a_close_gives_readers_what_was_committed_and_then_the_news() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut stream = storage.stream("a", 0).expect("a stream");
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            match stream.next(None) {
                Ok(record) => seen.push(record.expect("no timeout was given").payload.to_vec()),
                Err(Error::Closed) => return seen,
                Err(e) => panic!("{e}"),
            }
        }
    });
    storage.append_batch("a", &["x", "y"]).expect("appended");
    storage.close().expect("closed");
    storage.close().expect("twice is once");
    assert_eq!(reader.join().expect("no panic"), [b"x", b"y"]);
    assert!(matches!(storage.append("a", &b"z"[..]), Err(Error::Closed)));
    assert!(matches!(
        storage.create(&Namespace::new("b").expect("a name")),
        Err(Error::Closed)
    ));
}

#[test]
fn observers_hear_of_appends_but_not_of_quiet_ones() {
    let bench = Bench::new();
    let storage = bench.open();
    let log = storage.log("a").expect("there");
    let heard = Arc::new(AtomicU64::new(0));
    let subscription = log.signal().subscribe({
        let heard = Arc::clone(&heard);
        Arc::new(move || {
            heard.fetch_add(1, Ordering::Relaxed);
        })
    });
    log.append(b"loud").expect("appended");
    assert_eq!(heard.load(Ordering::Relaxed), 1);
    log.append_with(Payloads::Batch(&[b"quiet"]), AppendOptions::new().quiet())
        .expect("appended");
    assert_eq!(heard.load(Ordering::Relaxed), 1);
    log.notify_observers();
    storage.close().expect("closed");
    assert_eq!(heard.load(Ordering::Relaxed), 3);
    drop(subscription);
}

/// "Any number of writers, one total order, never a mixed or torn record." "Concurrent writers share syncs;
/// readers see only durable records."
#[test]
fn many_writers_make_one_order_and_a_reader_sees_each_record_once() {
    for sync in [
        Durability::Never,
        Durability::Always,
        Durability::Every(Duration::ZERO),
    ] {
        let bench = Bench {
            sync,
            ..Bench::new()
        };
        let storage = bench.open();
        let (writers, each) = (4u64, 200u64);
        let mut stream = storage.stream("a", 0).expect("a stream");
        let reader = thread::spawn(move || {
            let mut next = vec![0; writers as usize];
            for n in 0..writers * each {
                let record = stream.next(None).expect("read").expect("a record");
                assert_eq!(record.record.0, n);
                let (writer, number) = record.payload.split_at(8);
                let writer = u64::from_le_bytes(writer.try_into().expect("8 bytes")) as usize;
                assert_eq!(number, u64::to_le_bytes(next[writer]));
                next[writer] += 1;
            }
        });
        thread::scope(|scope| {
            for writer in 0..writers {
                let log = storage.log("a").expect("there");
                scope.spawn(move || {
                    for number in 0..each {
                        let payload = [writer.to_le_bytes(), number.to_le_bytes()].concat();
                        let appended = log.append(&payload).expect("appended");
                        let entry = log
                            .entry(appended.record)
                            .expect("it is committed when append returns");
                        assert_eq!(entry.index, appended.index);
                    }
                });
            }
        });
        reader.join().expect("no panic");
        assert!(storage.verify("a").expect("read").is_clean());
    }
}

/// "A namespace that holds a record is never removed", however append and remove race.
#[test]
fn an_append_and_a_removal_at_the_same_time_have_one_winner() {
    let bench = Bench::new();
    let storage = bench.open();
    let name = Namespace::new("b").expect("a name");
    for _ in 0..200 {
        let log = storage.create(&name).expect("created");
        let (appended, removed) = thread::scope(|scope| {
            let append = scope.spawn(|| log.append(b"x"));
            let remove = scope.spawn(|| storage.remove("b"));
            (
                append.join().expect("no panic"),
                remove.join().expect("no panic"),
            )
        });
        match (appended, removed) {
            (Err(Error::Closed), Ok(())) => {}
            (Ok(_), Err(Error::NotEmpty { .. })) => {
                assert_eq!(contents(&storage.log("b").expect("there")), [b"x"]);
                storage.close().expect("closed");
                return; // a log with a record stays: the race was won both ways or will be in another run
            }
            other => panic!("{other:?}"),
        }
    }
}

/// "`Every`: on disk within the interval", and the thread that does it sleeps when there is nothing to do.
#[test]
fn the_interval_thread_syncs_what_is_dirty_and_nothing_else() {
    let bench = Bench {
        sync: Durability::Every(Duration::ZERO),
        ..Bench::new()
    };
    let storage = bench.open();
    let (sender, receiver) = mpsc::channel();
    let log = storage.log("a").expect("there");
    let subscription = log
        .signal()
        .subscribe(Arc::new(move || sender.send(()).unwrap_or(())));
    log.append(b"x").expect("appended");
    receiver.recv().expect("told of the commit");
    log.sync().expect("whoever comes first");
    let cut = support::cut::power_cut(&bench.disk, 0);
    storage.close().expect("closed");
    drop((subscription, storage));
    let storage = Storage::open(bench.options().disk(Arc::new(cut))).expect("opened");
    assert_eq!(contents(&storage.log("a").expect("there")), [b"x"]);
}

#[test]
fn times_do_not_go_back_and_are_found() {
    let bench = Bench::new();
    let storage = bench.open();
    let log = storage.log("a").expect("there");
    assert_eq!(
        log.find_time(std::time::SystemTime::now()).expect("found"),
        RecordNo(0)
    );
    for _ in 0..20 {
        log.append(b"x").expect("appended");
    }
    let entries: Vec<_> = (0..20)
        .map(|n| log.entry(RecordNo(n)).expect("an entry"))
        .collect();
    for entry in &entries {
        let time = entry.time.expect("known");
        let first = entries
            .iter()
            .position(|other| other.time >= entry.time)
            .expect("itself at least");
        assert_eq!(log.find_time(time).expect("found"), RecordNo(first as u64));
        assert_eq!(
            log.find_time(time + Duration::from_secs(3600))
                .expect("found"),
            RecordNo(20)
        );
    }
    assert_eq!(
        log.find_time(std::time::UNIX_EPOCH).expect("found"),
        RecordNo(0)
    );
    let details = log.details().expect("details");
    assert_eq!(
        (details.first_time, details.last_time),
        (entries[0].time, entries[19].time)
    );
}

/// Puts off, or stops, the check of one log.
#[derive(Debug)]
struct Put {
    off: &'static str,
    next: std::sync::Mutex<Next>,
    asked: AtomicU64,
}

impl Opening for Put {
    fn goes_on(&self, namespace: &Namespace, _: u64, of: u64) -> Next {
        if namespace.as_str() != self.off {
            return Next::Check;
        }
        assert!(of > 0);
        self.asked.fetch_add(1, Ordering::Relaxed);
        *self.next.lock().expect("not poisoned")
    }
}

#[test]
fn a_log_whose_check_is_put_off_is_opened_later_beside_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = Storage::open(Options::new(dir.path()).namespaces(["fast", "slow"]));
    let storage = storage.expect("opened");
    for n in 0..3u8 {
        storage.append("slow", &[b'0' + n][..]).expect("appended");
    }
    storage.append("fast", &b"x"[..]).expect("appended");
    drop(storage);
    std::fs::remove_file(dir.path().join("slow.idx")).expect("removed");

    let put = Arc::new(Put {
        off: "slow",
        next: std::sync::Mutex::new(Next::Postpone),
        asked: AtomicU64::new(0),
    });
    let next = |next| *put.next.lock().expect("not poisoned") = next;
    let options = || Options::new(dir.path()).opening(put.clone());
    let storage = Storage::open(options()).expect("opened");
    let slow = Namespace::new("slow").expect("a name");
    assert_eq!(storage.log("fast").expect("open").state().count, 1);
    let being_checked = |result: Result<Arc<immuta::Log>, Error>| {
        assert!(
            matches!(result, Err(Error::BeingChecked { .. })),
            "{result:?}"
        );
    };
    being_checked(storage.log("slow"));
    assert!(matches!(storage.create(&slow), Err(Error::Exists { .. })));
    assert_eq!(storage.failed()[0].0, slow);
    storage
        .create(&Namespace::new("new").expect("a name"))
        .expect("created");
    // Stopped, it stays where it is; then it is taken up again.
    next(Next::Stop);
    assert!(matches!(
        storage.open_postponed(),
        Err(Error::BeingChecked { .. })
    ));
    being_checked(storage.log("slow"));
    next(Next::Check);
    let opened = storage
        .open_postponed()
        .expect("goes on")
        .expect("one is left");
    assert_eq!(opened.expect("opened").state().count, 3);
    assert_eq!(storage.append("slow", &b"3"[..]).expect("appended").1, 1);
    assert!(storage.failed().is_empty());
    assert!(storage.open_postponed().expect("no error").is_none());
    drop(storage);

    // A stop ends the opening of all of them, changes nothing, and gives the directory free.
    std::fs::remove_file(dir.path().join("slow.idx")).expect("removed");
    next(Next::Stop);
    let stopped = Storage::open(options());
    assert!(
        matches!(stopped, Err(Error::BeingChecked { .. })),
        "{stopped:?}"
    );
    let storage = Storage::open(Options::new(dir.path())).expect("opened");
    assert_eq!(storage.log("slow").expect("open").state().count, 4);
    assert!(put.asked.load(Ordering::Relaxed) >= 4);
}

/// Many logs are opened side by side. "An index that was copied to a second name gets a new id there": the second in the
/// order of names, and no other log gets one.
#[test]
fn many_logs_are_opened_each_with_its_own_id_and_its_records() {
    const LOGS: usize = 64;
    let dir = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..LOGS).map(|n| format!("n{n:02}")).collect();
    let options = || Options::new(dir.path()).sync(Durability::Never);
    let storage = Storage::open(options().namespaces(&names)).expect("opened");
    let id_of = |storage: &Storage, name: &str| storage.log(name).expect("there").id();
    let ids: Vec<u32> = names.iter().map(|name| id_of(&storage, name)).collect();
    for name in &names {
        storage.append(name, name.as_bytes()).expect("appended");
    }
    storage.abandon();
    drop(storage);
    for kind in ["log", "idx"] {
        let path = |name: &str| dir.path().join(format!("{name}.{kind}"));
        std::fs::copy(path("n20"), path("n20copy")).expect("copied");
    }
    let mut copy = None;
    // Once they have to be put in order, and once they are.
    for is_clean in [false, true] {
        let storage = Storage::open(options()).expect("opened");
        assert!(storage.failed().is_empty(), "{:?}", storage.failed());
        assert_eq!(storage.namespaces().len(), LOGS + 1);
        for (name, id) in names.iter().zip(&ids) {
            let log = storage.log(name).expect("there");
            assert_eq!((log.id(), log.recovery().clean), (*id, is_clean), "{name}");
            assert_eq!(contents(&log), [name.as_bytes()]);
        }
        let id = id_of(&storage, "n20copy");
        assert!(!ids.contains(&id));
        assert_eq!(*copy.get_or_insert(id), id);
        storage.close().expect("closed");
    }
}
