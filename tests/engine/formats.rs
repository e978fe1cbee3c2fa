//! The Go library's own logs, in each of its formats: read, gone on with, and written again byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use immuta::{Durability, Error, Format, Options, RecordNo, Storage, Stream};
use sha2::{Digest, Sha256};

const LOGS: [&str; 4] = ["empty", "hello", "edges", "thousand"];

fn golden() -> PathBuf {
    support::repository().join("tests/data/golden")
}

/// A directory with copies of the golden logs of one format.
fn copies(format: Format) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for log in LOGS {
        fs::copy(golden_log(format, log), path(dir.path(), log)).expect("copied");
    }
    dir
}

fn golden_log(format: Format, log: &str) -> PathBuf {
    golden().join(format!("{format}/{log}.log"))
}

fn path(dir: &Path, log: &str) -> PathBuf {
    dir.join(format!("{log}.log"))
}

fn open(dir: &Path) -> Storage {
    // Of the golden logs, only the empty bare one, a file without a byte, does not say what it is.
    let storage = Storage::open(
        Options::new(dir)
            .sync(Durability::Never)
            .assume_format(Format::Bare),
    )
    .expect("opened");
    assert!(storage.failed().is_empty(), "{:?}", storage.failed());
    storage
}

/// Size and SHA-256 of each record, by log.
fn manifest() -> BTreeMap<String, Vec<(u64, String)>> {
    let text = fs::read_to_string(golden().join("MANIFEST.tsv")).expect("the manifest");
    let mut logs: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let [log, record, size, sha256] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let records = logs.entry(log.to_owned()).or_default();
        assert_eq!(record.parse(), Ok(records.len()));
        records.push((size.parse().expect("a size"), sha256.to_owned()));
    }
    logs.entry("empty".to_owned()).or_default();
    logs
}

fn payloads(storage: &Storage, log: &str) -> Vec<Vec<u8>> {
    let mut stream: Stream = storage.stream(log, 0).expect("a stream");
    let mut all = Vec::new();
    while let Some(record) = stream.next(Some(std::time::Duration::ZERO)).expect("read") {
        all.push(record.payload.to_vec());
    }
    all
}

/// "Byte for byte the seed formats, detected on open; a Go program opens what immuta-fs wrote, and the other
/// way round."
#[test]
fn every_golden_record_is_read_as_the_manifest_lists_it() {
    for format in Format::ALL {
        let dir = copies(format);
        // The first opening makes the index, the second one uses it.
        for clean in [false, true] {
            let storage = open(dir.path());
            for (name, records) in manifest() {
                // Eight and sixteen zeros could also be bare logs of empty records, and that was said above.
                if name == "empty" && format != Format::Bare {
                    continue;
                }
                let log = storage.log(&name).expect("there");
                assert_eq!(log.format(), format, "{name}");
                assert_eq!(log.recovery().clean, clean, "{name}");
                let read: Vec<(u64, String)> = payloads(&storage, &name)
                    .iter()
                    .map(|payload| {
                        let hash = Sha256::digest(payload);
                        let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                        (payload.len() as u64, hex)
                    })
                    .collect();
                assert_eq!(read, records, "{name}");
                assert!(storage.verify(&name).expect("read").is_clean());
            }
            storage.close().expect("closed");
        }
        for log in LOGS {
            let same =
                fs::read(path(dir.path(), log)).ok() == fs::read(golden_log(format, log)).ok();
            assert!(same, "opening changed {format}/{log}");
        }
    }
}

#[test]
fn a_golden_log_without_records_has_none() {
    for format in [Format::Count8, Format::Count16] {
        let dir = copies(format);
        let storage = Storage::open(Options::new(dir.path())).expect("opened");
        let log = storage.log("empty").expect("there");
        assert_eq!((log.format(), log.state().count), (format, 0));
    }
    let dir = copies(Format::Bare);
    let storage = Storage::open(Options::new(dir.path()).format(Format::Count16)).expect("opened");
    let empty = storage.log("empty").expect("there");
    assert_eq!(empty.format(), Format::Count16, "no byte says otherwise");
}

/// The bytes of a log as the Go library writes it.
fn as_go_writes(format: Format, payloads: &[Vec<u8>]) -> Vec<u8> {
    let (mut records, mut last) = (Vec::new(), 0);
    for payload in payloads {
        last = format.header_bytes() + records.len() as u64;
        records.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        records.extend_from_slice(payload);
    }
    let header = [(payloads.len() as u64).to_le_bytes(), last.to_le_bytes()].concat();
    [&header[..format.header_bytes() as usize], &records].concat()
}

#[test]
fn the_same_records_appended_here_are_the_same_bytes() {
    for format in Format::ALL {
        let dir = copies(format);
        let source = open(dir.path());
        let written = tempfile::tempdir().expect("a directory");
        for batched in [false, true] {
            for log in ["hello", "edges", "thousand"] {
                let payloads = payloads(&source, log);
                let name = format!("{log}-{batched}");
                let options = Options::new(written.path())
                    .format(format)
                    .sync(Durability::Never)
                    .only([&*name])
                    .namespaces([&*name]);
                let storage = Storage::open(options).expect("opened");
                if batched {
                    storage.append_batch(&name, &payloads).expect("appended");
                } else {
                    for payload in &payloads {
                        storage.append(&name, &payload[..]).expect("appended");
                    }
                }
                storage.close().expect("closed");
                let ours = fs::read(path(written.path(), &name)).expect("read");
                let golden = fs::read(golden_log(format, log)).expect("read");
                assert!(ours == golden, "{format}/{name}");
                assert!(ours == as_go_writes(format, &payloads), "{format}/{name}");
            }
        }
    }
}

#[test]
fn a_golden_log_is_gone_on_with_as_the_go_library_would() {
    for format in Format::ALL {
        let dir = copies(format);
        for log in ["hello", "edges", "thousand"] {
            let storage = open(dir.path());
            let mut expected = payloads(&storage, log);
            storage.append(log, &b"one more"[..]).expect("appended");
            storage.append_batch(log, &["and", ""]).expect("appended");
            expected.extend([&b"one more"[..], b"and", b""].map(<[u8]>::to_vec));
            storage.close().expect("closed");
            drop(storage);
            let bytes = fs::read(path(dir.path(), log)).expect("read");
            assert!(bytes == as_go_writes(format, &expected), "{format}/{log}");

            let storage = open(dir.path());
            let handle = storage.log(log).expect("there");
            assert!(handle.recovery().clean);
            assert!(payloads(&storage, log) == expected, "{format}/{log}");
            drop((handle, storage));
            fs::remove_file(dir.path().join(format!("{log}.idx"))).expect("removed");
            let storage = open(dir.path());
            assert_eq!(storage.log(log).expect("there").format(), format);
            assert!(payloads(&storage, log) == expected, "{format}/{log}");
            let bytes_after = fs::read(path(dir.path(), log)).expect("read");
            assert!(bytes_after == bytes, "{format}/{log}");
        }
    }
}

#[test]
fn a_program_that_appended_after_us_is_believed() {
    for format in Format::ALL {
        let dir = tempfile::tempdir().expect("a directory");
        let file = path(dir.path(), "a");
        let options = Options::new(dir.path()).format(format).namespaces(["a"]);
        let storage = Storage::open(options).expect("opened");
        storage.append("a", &b"ours"[..]).expect("appended");
        storage.close().expect("closed");
        let bytes = as_go_writes(format, &[b"ours".to_vec(), b"theirs".to_vec()]);
        fs::write(&file, &bytes).expect("written");

        let storage = open(dir.path());
        assert_eq!(payloads(&storage, "a"), [&b"ours"[..], b"theirs"]);
        let log = storage.log("a").expect("there");
        assert_eq!(log.recovery().rebuilt_from, Some(RecordNo(1)));
        assert!(log.entry(RecordNo(0)).expect("an entry").time.is_some());
        assert!(
            log.entry(RecordNo(1)).expect("an entry").time.is_none(),
            "nobody knows when"
        );
        assert_eq!(fs::read(&file).expect("read"), bytes);
    }
}

/// A Go program that was killed in the middle of an append leaves a torn tail; here it is cut, and the log
/// goes on.
#[test]
fn the_tail_that_a_killed_program_left_is_cut_where_the_count_tells() {
    for format in [Format::Count8, Format::Count16] {
        let dir = copies(format);
        for (log, torn) in [("hello", &b"\x05\0\0\0\0\0\0\0hel"[..]), ("edges", &[0; 5])] {
            let file = path(dir.path(), log);
            let mut bytes = fs::read(&file).expect("read");
            let whole = bytes.len();
            bytes.extend_from_slice(torn);
            fs::write(&file, &bytes).expect("written");
            let storage = open(dir.path());
            let handle = storage.log(log).expect("there");
            assert_eq!(handle.format(), format);
            let cut = handle.recovery().cut.expect("something was cut");
            assert_eq!((cut.offset, cut.bytes), (whole as u64, torn.len() as u64));
        }
    }
}

/// "Where the file fits none, or two that give different records, it is refused, and no byte is changed."
#[test]
fn a_log_whose_format_cannot_be_told_is_refused_in_words_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let both = [1u64, 16, 8, 0].map(u64::to_le_bytes).concat();
    let mut torn = as_go_writes(Format::Bare, &[b"a bare log".to_vec(), b"torn".to_vec()]);
    torn.pop();
    fs::write(path(dir.path(), "both"), &both).expect("written");
    fs::write(path(dir.path(), "torn"), &torn).expect("written");
    let storage = Storage::open(Options::new(dir.path())).expect("opened");
    let words: Vec<String> = storage.failed().iter().map(|f| f.1.to_string()).collect();
    assert_eq!(
        words,
        [
            "cannot tell the format of 'both': it could be count8 with 1 record or count16 with 1 record, and \
             its bytes do not tell which (no byte was changed; 'immuta cat LOGS_DIR both --assume-format count8' shows it as count8; \
             name the right format with --assume-format)",
            "cannot tell the format of 'torn': it is whole in none of bare, count8, count16 \
             (no byte was changed; name the format with --assume-format)"
        ]
    );
    assert!(matches!(storage.log("both"), Err(Error::Unopened { .. })));
    drop(storage);
    assert_eq!(fs::read(path(dir.path(), "both")).expect("read"), both);
    assert!(!dir.path().join("both.idx").exists());

    let options = || {
        Options::new(dir.path())
            .assume_format(Format::Bare)
            .only(["torn"])
    };
    // Told that it is bare, it is still not guessed whether its tail is torn or damaged.
    let storage = Storage::open(options()).expect("opened");
    assert!(matches!(
        &*storage.failed()[0].1,
        Error::Damaged {
            record: Some(RecordNo(1)),
            ..
        }
    ));
    drop(storage);
    assert_eq!(fs::read(path(dir.path(), "torn")).expect("read"), torn);
    let storage = Storage::open(options().repair(true)).expect("opened");
    assert_eq!(payloads(&storage, "torn"), [b"a bare log"]);
    drop(storage);

    let options = Options::new(dir.path()).assume_format(Format::Count16);
    let storage = Storage::open(options).expect("opened");
    assert_eq!(payloads(&storage, "both"), [[0; 8]]);
    let torn = storage.log("torn").expect("there");
    assert_eq!(torn.format(), Format::Bare, "its index says so now");
}

/// Of Go logs with short records, 1 to 12 in 100 are also whole as `bare`: the count, taken for a size, leads to where a
/// record starts. They were refused.
#[test]
fn regression_a_go_log_that_is_also_whole_as_bare_is_opened_by_its_count() {
    let ten = || b"ten bytes\n".to_vec();
    for (format, records) in [
        (Format::Count8, vec![ten(); 18]),
        (Format::Count8, vec![ten(); 900]),
        (Format::Count16, vec![ten(); 8]),
        (Format::Count16, vec![ten(); 26]),
    ] {
        let bytes = as_go_writes(format, &records);
        let open_as = |options: fn(Options) -> Options| {
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(path(dir.path(), "a"), &bytes).expect("written");
            let storage = Storage::open(options(Options::new(dir.path()))).expect("opened");
            assert!(storage.failed().is_empty(), "{:?}", storage.failed());
            assert_eq!(fs::read(path(dir.path(), "a")).expect("read"), bytes);
            let log = storage.log("a").expect("there");
            (log.format(), payloads(&storage, "a"))
        };
        assert_eq!(open_as(|options| options), (format, records.clone()));
        // Who knows better is believed.
        let (named, read) = open_as(|options| options.assume_format(Format::Bare));
        assert_eq!(named, Format::Bare);
        assert_ne!(read, records);
    }
}

/// An index beside a log that it does not belong to has no say.
#[test]
fn a_log_of_another_format_under_an_old_index_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options::new(dir.path()).namespaces(["hello"]);
    let storage = Storage::open(options).expect("opened");
    storage.append("hello", &b"another"[..]).expect("appended");
    drop(storage);
    for format in [Format::Bare, Format::Count16] {
        let golden = fs::read(golden_log(format, "hello")).expect("read");
        fs::write(path(dir.path(), "hello"), &golden).expect("written");
        let storage = Storage::open(Options::new(dir.path())).expect("opened");
        let why = storage.failed()[0].1.to_string();
        let said = format!("a whole {format} log, but its index is that of a count8 one");
        assert!(why.contains(&said), "{why}");
        assert_eq!(fs::read(path(dir.path(), "hello")).expect("read"), golden);
    }
}
