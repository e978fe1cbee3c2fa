//! A directory with one log in it, on a simulated disk, and what a log shows.

use std::path::PathBuf;
use std::sync::Arc;

use immuta::{Durability, Format, Log, Options, RecordNo, Run, Scratch, Storage};
use support::sim::{Image, SimDisk};

use support::cut;

/// A directory with one namespace `a`, on a simulated disk.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) disk: SimDisk,
    pub(crate) sync: Durability,
    /// Of the namespaces that are made, and of those that do not say theirs.
    pub(crate) format: Format,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Bench {
            dir: tempfile::tempdir().expect("a directory"),
            disk: SimDisk::new(Image::default(), 1),
            sync: Durability::Never,
            format: Format::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.dir.path())
            .sync(self.sync)
            .format(self.format)
            .assume_format(self.format)
            .disk(Arc::new(self.disk.clone()))
    }

    pub(crate) fn open(&self) -> Storage {
        let storage = Storage::open(self.options().namespaces(["a"])).expect("opened");
        assert!(storage.failed().is_empty(), "{:?}", storage.failed());
        storage
    }

    pub(crate) fn with_format(format: Format) -> Self {
        Bench {
            format,
            ..Bench::new()
        }
    }

    /// Opens a log that somebody else may have torn. A bare one may be refused then: no byte tells a torn
    /// tail from damage.
    pub(crate) fn open_torn(&self) -> Storage {
        let storage = Storage::open(self.options()).expect("opened");
        if self.format != Format::Bare || storage.failed().is_empty() {
            return storage;
        }
        drop(storage);
        let storage = Storage::open(self.options().repair(true)).expect("opened");
        assert!(storage.failed().is_empty(), "{:?}", storage.failed());
        storage
    }

    /// The power goes now. `luck` decides what is left on the disk, as [`cut::power_cut`] says.
    pub(crate) fn power_cut(&mut self, luck: u64) {
        self.disk = cut::power_cut(&self.disk, luck);
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.path().join("a.log")
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.path().join("a.idx")
    }
}

/// Several records at once, and then many such runs.
const RUN_BYTES: usize = 64 << 10;

/// Records, as they are read back.
pub(crate) fn owned(records: &[&[u8]]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.to_vec()).collect()
}

/// Every payload of a log, read in runs, and each looked at in every other way that there is.
pub(crate) fn contents(log: &Log) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut scratch = Scratch::default();
    let mut text = 0;
    let mut last_time = None;
    while (all.len() as u64) < log.state().count {
        match log
            .read_run(RecordNo(all.len() as u64), RUN_BYTES, &mut scratch)
            .expect("a run")
        {
            Run::Records(records) => {
                for (entry, payload) in records {
                    assert_eq!(entry.record.0, all.len() as u64);
                    assert_eq!(log.entry(entry.record).expect("an entry"), entry);
                    assert_eq!(entry.text_offset, text);
                    assert_eq!(entry.adds_newline(), payload.last() != Some(&b'\n'));
                    text += entry.text_size;
                    assert!(
                        entry.time.is_none() || entry.time >= last_time,
                        "times go back"
                    );
                    last_time = entry.time.or(last_time);
                    all.push(payload.to_vec());
                }
            }
            Run::Large(entry) => {
                log.verify_record(&entry).expect("whole");
                let mut payload = vec![0; entry.size as usize];
                assert_eq!(
                    log.read_part(&entry, 0, &mut payload).expect("read"),
                    payload.len()
                );
                assert_eq!(
                    log.read_part(&entry, entry.size, &mut [0])
                        .expect("nothing"),
                    0
                );
                text += entry.text_size;
                all.push(payload);
            }
        }
    }
    assert_eq!(log.state().text_end, text);
    assert!(
        log.read_run(RecordNo(all.len() as u64), 0, &mut scratch)
            .is_err()
    );
    all
}
