//! The Go library's own logs: read, written again byte for byte, and refused where this version cannot do it right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use immuta::{Error, Options, RecordNo, Storage, Stream, Sync};
use sha2::{Digest, Sha256};

const LOGS: [&str; 4] = ["empty", "hello", "edges", "thousand"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

/// A directory with copies of the golden logs of one format.
fn copies(format: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for log in LOGS {
        let name = format!("{log}.log");
        fs::copy(golden().join(format).join(&name), dir.path().join(name)).expect("copied");
    }
    dir
}

fn open(dir: &Path) -> Storage {
    Storage::open(Options::new(dir).sync(Sync::Never)).expect("opened")
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

/// "count8: byte for byte the seed formats; a Go program opens what immuta-fs wrote, and the other way round."
#[test]
fn every_golden_record_is_read_as_the_manifest_lists_it() {
    let dir = copies("count8");
    // The first opening makes the index, the second one uses it.
    for clean in [false, true] {
        let storage = open(dir.path());
        assert_eq!(storage.namespaces().len(), LOGS.len());
        for (log, records) in manifest() {
            assert_eq!(
                storage.log(&log).expect("there").recovery().clean,
                clean,
                "{log}"
            );
            let read: Vec<(u64, String)> = payloads(&storage, &log)
                .iter()
                .map(|payload| {
                    let hash = Sha256::digest(payload);
                    (
                        payload.len() as u64,
                        hash.iter().map(|byte| format!("{byte:02x}")).collect(),
                    )
                })
                .collect();
            assert_eq!(read, records, "{log}");
            assert!(storage.verify(&log).expect("read").is_clean());
        }
        storage.close().expect("closed");
    }
    for log in LOGS {
        let name = format!("{log}.log");
        let same = fs::read(dir.path().join(&name)).ok()
            == fs::read(golden().join("count8").join(&name)).ok();
        assert!(same, "opening changed {name}");
    }
}

#[test]
fn the_same_records_appended_here_are_the_same_bytes() {
    let dir = copies("count8");
    let source = open(dir.path());
    let written = tempfile::tempdir().expect("a directory");
    for batched in [false, true] {
        for log in LOGS {
            let payloads = payloads(&source, log);
            let name = format!("{log}-{batched}");
            let storage =
                Storage::open(Options::new(written.path()).namespaces([&*name])).expect("opened");
            if batched {
                storage.append_batch(&name, &payloads).expect("appended");
            } else {
                for payload in &payloads {
                    storage.append(&name, &payload[..]).expect("appended");
                }
            }
            storage.close().expect("closed");
            let ours = fs::read(written.path().join(format!("{name}.log"))).expect("read");
            let golden = fs::read(golden().join(format!("count8/{log}.log"))).expect("read");
            assert!(ours == golden, "{name}");
        }
    }
}

#[test]
fn a_program_that_appended_after_us_is_believed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.log");
    let storage = Storage::open(Options::new(dir.path()).namespaces(["a"])).expect("opened");
    storage.append("a", &b"ours"[..]).expect("appended");
    storage.close().expect("closed");
    // As the Go library does it: the record, then the count.
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&6i64.to_le_bytes());
    bytes.extend_from_slice(b"theirs");
    bytes[..8].copy_from_slice(&2i64.to_le_bytes());
    fs::write(&path, &bytes).expect("written");

    let storage = open(dir.path());
    assert_eq!(payloads(&storage, "a"), [&b"ours"[..], b"theirs"]);
    let log = storage.log("a").expect("there");
    assert_eq!(log.recovery().rebuilt_from, Some(RecordNo(1)));
    assert!(log.entry(RecordNo(0)).expect("an entry").time.is_some());
    assert!(
        log.entry(RecordNo(1)).expect("an entry").time.is_none(),
        "nobody knows when"
    );
    assert_eq!(fs::read(&path).expect("read"), bytes);
}

/// "Nothing is deleted by recovery": a log in another format must not be taken for a torn one in ours.
#[test]
fn logs_in_formats_not_yet_supported_are_refused_and_left_as_they_are() {
    for format in ["bare", "count16"] {
        let dir = copies(format);
        let storage = open(dir.path());
        let failed = storage.failed();
        for log in LOGS {
            let path = dir.path().join(format!("{log}.log"));
            if format == "bare" && log == "empty" {
                continue; // no byte says that it is not ours
            }
            let why = failed
                .iter()
                .find(|(name, _)| name.as_str() == log)
                .map(|(_, why)| why);
            assert!(
                why.is_some_and(
                    |why| matches!(&**why, Error::UnsupportedFormat { format: found, .. }
                    if found.to_string() == format)
                ),
                "{format}/{log}: {why:?}"
            );
            assert!(matches!(storage.log(log), Err(Error::Failed { .. })));
            let golden = fs::read(golden().join(format).join(format!("{log}.log"))).expect("read");
            assert!(
                fs::read(&path).expect("read") == golden,
                "{format}/{log} was changed"
            );
        }
    }
}
