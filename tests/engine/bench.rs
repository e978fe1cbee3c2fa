//! A disk in memory that fails at a chosen call, and forgets at a power cut what was not synced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use immuta::{
    DirEntry, Disk, DiskFile, Durability, Format, Log, OpenMode, Options, RecordNo, Run, Scratch,
    Storage,
};
use support::Random;

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This call alone gives the error; a write has written half before.
    Once(i32),
    /// This call and every one after it: the machine is off.
    Off,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, new) => {
                let end = *offset as usize + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset as usize..end].copy_from_slice(new);
            }
            Change::SetLen(length) => bytes.resize(*length as usize, 0),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    synced_names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    calls: u64,
    reads: u64,
    fault: Option<(u64, Fault)>,
    /// There is no room for what is written over other bytes.
    overwrites_are_refused: bool,
    boot: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestDisk(Arc<Mutex<Inner>>);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestDisk {
    pub(crate) fn new() -> Self {
        let disk = TestDisk::default();
        lock(&disk.0).boot = 1;
        disk
    }

    /// How many calls that change something there were.
    pub(crate) fn calls(&self) -> u64 {
        lock(&self.0).calls
    }

    /// How many reads there were.
    pub(crate) fn reads(&self) -> u64 {
        lock(&self.0).reads
    }

    /// A full disk that copies on write: writing over bytes takes room that there is not, and nothing is written; writing
    /// behind them goes on.
    pub(crate) fn refuse_overwrites(&self, refuse: bool) {
        lock(&self.0).overwrites_are_refused = refuse;
    }

    /// The machine runs on: it has the boot id that `other` has.
    pub(crate) fn has_boot_of(&self, other: &TestDisk) {
        let boot = lock(&other.0).boot;
        lock(&self.0).boot = boot;
    }

    /// Lets the `at`-th call from now fail; 0 is the next one.
    pub(crate) fn fail_at(&self, at: u64, fault: Fault) {
        let mut inner = lock(&self.0);
        inner.fault = Some((inner.calls + at, fault));
    }

    pub(crate) fn remove_file(&self, path: &Path) {
        let mut inner = lock(&self.0);
        inner.names.remove(path);
        inner.synced_names.remove(path);
    }

    /// A file's bytes, to be looked at or changed behind the engine's back.
    pub(crate) fn with<T>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let content = Arc::clone(&lock(&self.0).names[path]);
        let mut content = lock(&content);
        let result = f(&mut content.now);
        content.synced = content.now.clone();
        content.unsynced.clear();
        result
    }

    /// The disk as it may be after a power cut: of each write that was not synced, any of its sectors may be
    /// there or not, in any order; so with new names. `luck` decides; 0 loses all of it, 1 nothing.
    pub(crate) fn power_cut(&self, luck: u64) -> TestDisk {
        let mut random = Random(luck);
        let mut lucky = |_: ()| match luck {
            0 => false,
            1 => true,
            _ => random.draw().is_multiple_of(2),
        };
        let inner = lock(&self.0);
        let mut names = BTreeMap::new();
        for (path, file) in &inner.names {
            if !inner.synced_names.contains_key(path) && !lucky(()) {
                continue;
            }
            let content = lock(file);
            let mut bytes = content.synced.clone();
            for change in &content.unsynced {
                match change {
                    Change::SetLen(_) if lucky(()) => change.apply(&mut bytes),
                    Change::SetLen(_) => {}
                    Change::Write(offset, new) => {
                        let mut at = 0;
                        while at < new.len() {
                            let sector_end = (*offset as usize + at) / 512 * 512 + 512;
                            let end = new.len().min(sector_end - *offset as usize);
                            if lucky(()) {
                                Change::Write(*offset + at as u64, new[at..end].to_vec())
                                    .apply(&mut bytes);
                            }
                            at = end;
                        }
                    }
                }
            }
            let content = Content {
                now: bytes.clone(),
                synced: bytes,
                unsynced: Vec::new(),
            };
            names.insert(path.clone(), Arc::new(Mutex::new(content)));
        }
        let boot = inner.boot + 1;
        TestDisk(Arc::new(Mutex::new(Inner {
            synced_names: names.clone(),
            names,
            boot,
            ..Inner::default()
        })))
    }

    /// Counts a call that changes something. `Err`: it is to fail, and `true` in it: after half of its work.
    fn count(&self) -> Result<(), (io::Error, bool)> {
        let mut inner = lock(&self.0);
        let call = inner.calls;
        inner.calls += 1;
        match inner.fault {
            Some((at, Fault::Once(errno))) if at == call => {
                Err((io::Error::from_raw_os_error(errno), true))
            }
            Some((at, Fault::Off)) if at == call => {
                Err((io::Error::from_raw_os_error(libc::EIO), true))
            }
            Some((at, Fault::Off)) if at < call => {
                Err((io::Error::from_raw_os_error(libc::EIO), false))
            }
            _ => Ok(()),
        }
    }
}

impl Disk for TestDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::Create {
            self.count().map_err(|(e, _)| e)?;
        }
        let mut inner = lock(&self.0);
        let content = match (inner.names.get(path), mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(content), _) => Arc::clone(content),
            (None, OpenMode::Create) => {
                let content = Arc::new(Mutex::new(Content::default()));
                inner.names.insert(path.to_owned(), Arc::clone(&content));
                content
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(TestFile {
            disk: self.clone(),
            content,
        }))
    }

    /// The real one too, for the lock file.
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let inner = lock(&self.0);
        let here = inner.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here
            .map(|path| DirEntry {
                name: path.file_name().unwrap_or_default().to_owned(),
                is_file: true,
            })
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count().map_err(|(e, _)| e)?;
        lock(&self.0)
            .names
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.count().map_err(|(e, _)| e)?;
        let mut inner = lock(&self.0);
        inner.synced_names = inner.names.clone();
        Ok(())
    }

    fn boot_id(&self) -> u64 {
        lock(&self.0).boot
    }
}

#[derive(Debug)]
struct TestFile {
    disk: TestDisk,
    content: Arc<Mutex<Content>>,
}

impl TestFile {
    fn change(&self, change: Change) {
        let mut content = lock(&self.content);
        change.apply(&mut content.now);
        content.unsynced.push(change);
    }
}

impl DiskFile for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        lock(&self.disk.0).reads += 1;
        let content = lock(&self.content);
        let rest = &content.now[(offset as usize).min(content.now.len())..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let is_over_others = offset < lock(&self.content).now.len() as u64;
        if is_over_others && lock(&self.disk.0).overwrites_are_refused {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        match self.disk.count() {
            Ok(()) => {}
            Err((e, false)) => return Err(e),
            Err((e, true)) => {
                self.change(Change::Write(offset, bytes[..bytes.len() / 2].to_vec()));
                return Err(e);
            }
        }
        let n = bytes.len();
        self.change(Change::Write(offset, bytes));
        Ok(n)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.count().map_err(|(e, _)| e)?;
        self.change(Change::SetLen(bytes));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).now.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.count().map_err(|(e, _)| e)?;
        let mut content = lock(&self.content);
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }
}

/// A directory with one namespace `a`, on a test disk.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) disk: TestDisk,
    pub(crate) sync: Durability,
    /// Of the namespaces that are made, and of those that do not say theirs.
    pub(crate) format: Format,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Bench {
            dir: tempfile::tempdir().expect("a directory"),
            disk: TestDisk::new(),
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
