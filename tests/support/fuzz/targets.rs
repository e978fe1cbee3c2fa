//! What is fuzzed: each takes any bytes, and panics when a promise is broken.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use immuta::{Durability, Error, Log, Namespace, Options, RecordNo, Run, Scratch, Storage};

use crate::sim::{Image, SimDisk, directory};

/// The source of the bytes' meaning, which the library does not show.
#[allow(dead_code)] // The engine uses all of it.
#[path = "../../../src/engine/format.rs"]
mod format;

thread_local! {
    static DIR: tempfile::TempDir = directory();
}

/// This thread's directory, for the lock: a directory has one writer.
fn dir() -> PathBuf {
    DIR.with(|dir| dir.path().to_owned())
}

/// The records of [`a_log`].
pub const RECORDS: [&[u8]; 6] = [b"first\n", b"", b"third", &[0; 40], b"the fifth", b"6\n"];

fn options(disk: &SimDisk) -> Options {
    Options::new(dir())
        .sync(Durability::Never)
        .disk(Arc::new(disk.clone()))
}

/// A log of [`RECORDS`] and its index.
pub fn a_log(closed: bool) -> (Vec<u8>, Vec<u8>) {
    let disk = SimDisk::new(Image::default(), 1);
    let storage = Storage::open(options(&disk).namespaces(["a"])).expect("opened");
    storage.append_batch("a", &RECORDS[..3]).expect("appended");
    storage.sync().expect("synced");
    storage.append_batch("a", &RECORDS[3..]).expect("appended");
    if closed {
        storage.close().expect("closed");
    } else {
        storage.abandon();
    }
    let file = |name| disk.with(&dir().join(name), |bytes: &mut Vec<u8>| bytes.clone());
    (file("a.log"), file("a.idx"))
}

fn disk_of(log: &[u8], index: &[u8], boot: u64) -> SimDisk {
    let mut image = Image::default();
    for (name, bytes) in [("a.log", log), ("a.idx", index)] {
        image.0.insert(dir().join(name), bytes.to_vec().into());
    }
    SimDisk::new(image, boot)
}

/// Slots and entries: what decodes comes back the same, whatever the bytes.
pub fn format(data: &[u8]) {
    if let Some(slot) = data.get(..64).and_then(format::Slot::decode) {
        assert_eq!(format::Slot::decode(&slot.encode()), Some(slot));
    }
    let _ = format::Slot::newest(data);
    let word = |at: usize| {
        let mut bytes = [0; 8];
        let rest = data.get(at..).unwrap_or_default();
        let n = rest.len().min(8);
        bytes[..n].copy_from_slice(&rest[..n]);
        u64::from_le_bytes(bytes)
    };
    if let Some(entry) = data
        .get(..32)
        .and_then(|bytes| format::IndexEntry::decode(bytes, word(32), word(40) as u32))
    {
        let again = entry.encode(word(32), word(40) as u32);
        assert_eq!(
            format::IndexEntry::decode(&again, word(32), word(40) as u32),
            Some(entry)
        );
    }
    let slot = format::Slot {
        format: immuta_format(data.first()),
        clean: word(1) & 1 == 1,
        id: (word(4) as u32).max(1),
        sequence: word(8),
        synced_count: word(16),
        log_end: word(24) & format::MAX_LOG_BYTES,
        boot: word(32),
        rebuilt: word(40),
    };
    assert_eq!(format::Slot::decode(&slot.encode()), Some(slot));
    let log_offset = word(0) & format::MAX_LOG_BYTES;
    let entry = format::IndexEntry {
        log_offset,
        time_unknown: word(8) & 1 == 1,
        batch_goes_on: word(8) & 2 == 2,
        text_offset: word(16).min(log_offset),
        time_ns: word(24).cast_signed(),
        checksum: word(32) as u32,
    };
    let bytes = entry.encode(word(40), word(48) as u32);
    assert_eq!(
        format::IndexEntry::decode(&bytes, word(40), word(48) as u32),
        Some(entry)
    );
    let _ = (
        format::entry_offset(word(0)),
        format::decode_length([0xff; 8]),
    );
}

fn immuta_format(byte: Option<&u8>) -> format::Format {
    match byte.map(|byte| byte % 3) {
        Some(0) => format::Format::Bare,
        Some(1) => format::Format::Count16,
        _ => format::Format::Count8,
    }
}

/// Any index beside a whole log: every record is served right or as damaged, or the log is refused.
pub fn index(data: &[u8]) {
    static LOG: LazyLock<Vec<u8>> = LazyLock::new(|| a_log(true).0);
    let disk = disk_of(&LOG, data, 1);
    let storage = Storage::open(options(&disk)).expect("the directory opens");
    if let Ok(log) = storage.log("a") {
        read_everything(&log, |n, payload| {
            assert!(
                RECORDS.get(n) == Some(&payload),
                "wrong bytes in record {n}"
            );
        });
        log.append(b"on").expect("appended");
    }
    storage.abandon();
}

/// As [`recovery_and`], with nothing besides.
pub fn recovery(data: &[u8]) {
    recovery_and(data, |_| {});
}

/// Any log beside any index: opened or refused, read, verified, appended to, opened again. The first byte
/// says how, the next two how long the log is. What is opened is given to `each` as well.
pub fn recovery_and(data: &[u8], each: impl Fn(&Arc<Log>)) {
    let [how, low, high, rest @ ..] = data else {
        return;
    };
    let at = rest.len().min(u16::from_le_bytes([*low, *high]).into());
    let (log, index) = rest.split_at(at);
    let mut index = index.to_vec();
    if how & 1 != 0 {
        sign(&mut index);
    }
    let boot = u64::from(how >> 1 & 1) + 1;
    let disk = disk_of(log, &index, boot);
    let open = || {
        let options = options(&disk).repair(how & 4 != 0).read_only(how & 8 != 0);
        Storage::open(options).expect("the directory opens")
    };
    let storage = open();
    let Ok(log) = storage.log("a") else {
        return;
    };
    read_everything(&log, |_, _| {});
    each(&log);
    let before = log.state().count;
    match log.append(b"the last") {
        Ok(appended) => assert_eq!(appended.record.0, before),
        Err(Error::ReadOnly) => return,
        // The end that the index claims may be as far as a log can go.
        Err(Error::TooLarge { .. } | Error::Io { .. }) => return,
        Err(e) => panic!("{e:?}"),
    }
    if how & 16 != 0 {
        storage.close().expect("closed");
    } else {
        storage.abandon();
    }
    let storage = open();
    if how & 1 != 0 {
        return; // an index that lies with right checksums may lie about its last record too
    }
    let log = storage.log("a").expect("opened again");
    assert_eq!(log.state().count, before + 1, "{}", log.recovery());
    let mut scratch = Scratch::default();
    match log.read_run(RecordNo(before), 0, &mut scratch) {
        Ok(Run::Records(mut run)) => assert_eq!(run.next().expect("one").1, b"the last"),
        other => panic!("{other:?}"),
    }
    storage.abandon();
}

/// Makes checksums right, so that what lies behind them is reached.
fn sign(index: &mut [u8]) {
    for slot in index.chunks_exact_mut(64).take(2) {
        let crc = crc32c::crc32c(&slot[..60]);
        slot[60..].copy_from_slice(&crc.to_le_bytes());
    }
    let id = index
        .get(..128)
        .and_then(format::Slot::newest)
        .map_or(1, |slot| slot.id);
    for (n, entry) in index
        .get_mut(128..)
        .unwrap_or_default()
        .chunks_exact_mut(32)
        .enumerate()
    {
        let covered = [
            &(n as u64).to_le_bytes()[..],
            &entry[..28],
            &id.to_le_bytes(),
        ]
        .concat();
        entry[28..].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    }
}

/// In every way that there is; what is not damaged is given to `each`.
fn read_everything(log: &Arc<Log>, each: impl Fn(usize, &[u8])) {
    let count = log.state().count.min(10_000);
    let mut scratch = Scratch::default();
    for n in 0..count {
        if let Ok(Run::Records(run)) = log.read_run(RecordNo(n), 0, &mut scratch) {
            run.for_each(|(entry, payload)| each(entry.record.0 as usize, payload));
        }
        let _ = log.entry(RecordNo(n));
    }
    let mut stream = immuta::Stream::new(Arc::clone(log), 0);
    for _ in 0..count {
        match stream.next(Some(Duration::ZERO)) {
            Ok(Some(record)) => each(record.record.0 as usize, record.payload),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    let text = log.state().text_end;
    for offset in [0, 1, text / 2, text.saturating_sub(1), text, u64::MAX] {
        if let Ok(Some(found)) = log.find_text(offset) {
            assert!(found.0 < log.state().count);
        }
    }
    for time in [UNIX_EPOCH, SystemTime::now()] {
        if let Ok(found) = log.find_time(time) {
            assert!(found.0 <= log.state().count);
        }
    }
    log.verify().expect("damage is no error");
    let _ = log.details();
}

/// Names: what is taken is one component, and the log's files are in the directory.
pub fn names(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else {
        return;
    };
    match Namespace::new(name) {
        Ok(namespace) => {
            let parts: Vec<_> = Path::new(namespace.as_str()).components().collect();
            assert!(matches!(parts[..], [Component::Normal(_)]), "{name:?}");
            assert!(name.len() <= 200 && !name.starts_with('.'));
            let storage = SimDisk::new(Image::default(), 1);
            let storage = Storage::open(options(&storage)).expect("opened");
            storage.create(&namespace).expect("created");
            storage.remove(name).expect("removed");
        }
        Err(e) => assert!(e.to_string().is_ascii() || !name.is_ascii()),
    }
}
