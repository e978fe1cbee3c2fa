//! A disk in memory that writes down every call. What may be left on it after a power cut at any of them is
//! made from that record, so that a workload runs once and is cut everywhere.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use immuta::{DirEntry, Disk, DiskFile, OpenMode};

/// A file, whatever name it has.
pub type FileId = usize;

/// What happened, in order.
#[derive(Clone, Debug)]
pub enum Event {
    Create(PathBuf, FileId),
    Remove(PathBuf),
    /// The name of a file, and the one that it has from now on.
    Rename(PathBuf, PathBuf),
    SyncDir,
    Write(FileId, u64, Arc<[u8]>),
    SetLen(FileId, u64),
    /// What was written before this is on the disk at the end with the same number, not earlier.
    SyncStart(FileId, u64),
    SyncEnd(FileId, u64),
    /// The sync has failed: what was written before is no longer the system's to write, though it can still
    /// be read.
    SyncFailed(FileId),
    /// A test has changed the file behind the engine's back: these are its bytes, on the disk.
    Put(FileId, Arc<[u8]>),
    /// What the workload has to say of itself.
    Note(Note),
}

/// What the workload says of one namespace, by its number.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    /// It was opened, with so many records.
    Opened(usize, usize),
    /// So many records have been handed to an append.
    Begun(usize, usize),
    /// The appends of so many records have returned.
    Returned(usize, usize),
    /// So many records are promised to be on the disk.
    Promised(usize, usize),
}

/// A call that can fail. Reads are calls too, `len` and `list` are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    Create,
    Remove,
    Rename,
    SyncDir,
    Read,
    Write,
    SetLen,
    Sync,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With this error, nothing done.
    Errno(i32),
    /// With this error, half of a write done.
    Half(i32),
    /// Not at all: half is done, and said to be.
    Short,
    /// As [`Fault::Half`] with EIO, and each change after it fails, too: the machine is off. Of a change alone.
    Off,
}

impl Call {
    /// Whether it changes what is on the disk.
    fn is_change(self) -> bool {
        !matches!(self, Call::Open | Call::Read)
    }
}

/// The files on a disk, all of them with their names, nothing pending.
#[derive(Clone, Debug, Default)]
pub struct Image(pub BTreeMap<PathBuf, Arc<Vec<u8>>>);

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<PathBuf, FileId>,
    files: Vec<Vec<u8>>,
    events: Vec<Event>,
    syncs: u64,
    boot: u64,
    /// Every call so far, when they are counted.
    calls: Vec<Call>,
    faults: Vec<(usize, Fault)>,
    reads: u64,
    changes: u64,
    /// Of the changes alone, by their number.
    failing_change: Option<(u64, Fault)>,
    /// There is no room for what is written over other bytes.
    refuses_overwrites: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    base: Image,
    inner: Arc<Mutex<Inner>>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn write_to(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let end = offset as usize + new.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[offset as usize..end].copy_from_slice(new);
}

impl SimDisk {
    /// The machine starts with this on its disk. `boot` 0: it cannot tell one start from another.
    pub fn new(base: Image, boot: u64) -> Self {
        let inner = Inner {
            names: base.0.keys().cloned().zip(0..).collect(),
            files: base.0.values().map(|bytes| bytes.to_vec()).collect(),
            boot,
            ..Inner::default()
        };
        SimDisk {
            base,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// The same machine at a moment of its past, the process killed: nothing is lost, and what was not synced
    /// is still not.
    pub fn killed_after(&self, events: &[Event]) -> Self {
        let disk = SimDisk::new(self.base.clone(), self.boot_id());
        for event in events {
            let mut inner = lock(&disk.inner);
            match event {
                Event::Create(path, id) => {
                    assert_eq!(inner.files.len(), *id);
                    inner.files.push(Vec::new());
                    inner.names.insert(path.clone(), *id);
                }
                Event::Remove(path) => drop(inner.names.remove(path)),
                Event::Rename(from, to) => {
                    let id = inner.names.remove(from).expect("it has this name");
                    inner.names.insert(to.clone(), id);
                }
                Event::Write(id, offset, new) => write_to(&mut inner.files[*id], *offset, new),
                Event::SetLen(id, bytes) => inner.files[*id].resize(*bytes as usize, 0),
                Event::Put(id, bytes) => inner.files[*id] = bytes.to_vec(),
                Event::SyncStart(_, number) => inner.syncs = inner.syncs.max(number + 1),
                _ => {}
            }
        }
        lock(&disk.inner).events = events.to_vec();
        disk
    }

    /// What was on it before the first event.
    pub fn base(&self) -> &Image {
        &self.base
    }

    pub fn events(&self) -> Vec<Event> {
        lock(&self.inner).events.clone()
    }

    pub fn note(&self, note: Note) {
        lock(&self.inner).events.push(Event::Note(note));
    }

    /// Forgets the calls counted so far, and lets those fail whose numbers from here on are given.
    pub fn plan(&self, faults: &[(usize, Fault)]) {
        let mut inner = lock(&self.inner);
        inner.calls.clear();
        inner.faults = faults.to_vec();
    }

    /// The calls since the last plan.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.inner).calls.clone()
    }

    /// How many calls there were that change something.
    pub fn changes(&self) -> u64 {
        lock(&self.inner).changes
    }

    /// How many reads there were.
    pub fn reads(&self) -> u64 {
        lock(&self.inner).reads
    }

    /// Lets the `at`-th change from now fail; 0 is the next one.
    pub fn fail_change(&self, at: u64, fault: Fault) {
        let mut inner = lock(&self.inner);
        inner.failing_change = Some((inner.changes + at, fault));
    }

    /// A full disk that copies on write: writing over bytes takes room that there is not, and nothing is written; writing
    /// behind them goes on.
    pub fn refuse_overwrites(&self, refuse: bool) {
        lock(&self.inner).refuses_overwrites = refuse;
    }

    /// The machine of `other` runs on, with this disk.
    pub fn has_boot_of(&self, other: &SimDisk) {
        let boot = other.boot_id();
        lock(&self.inner).boot = boot;
    }

    /// A file as it is, to be looked at or changed behind the engine's back.
    pub fn with<T>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut inner = lock(&self.inner);
        let id = inner.names[path];
        let before = inner.files[id].clone();
        let result = f(&mut inner.files[id]);
        if inner.files[id] != before {
            let put = Event::Put(id, inner.files[id].as_slice().into());
            inner.events.push(put);
        }
        result
    }

    /// Takes a file away behind the engine's back, for good.
    pub fn remove_file(&self, path: &Path) {
        let mut inner = lock(&self.inner);
        inner.names.remove(path).expect("it is there");
        inner.events.push(Event::Remove(path.to_owned()));
        inner.events.push(Event::SyncDir);
    }

    fn call(&self, call: Call) -> Option<Fault> {
        let mut inner = lock(&self.inner);
        let number = inner.calls.len();
        inner.calls.push(call);
        inner.reads += u64::from(call == Call::Read);
        let planned = inner.faults.iter().find(|(at, _)| *at == number);
        let planned = planned.map(|(_, fault)| *fault);
        if !call.is_change() {
            return planned;
        }
        let change = inner.changes;
        inner.changes += 1;
        match inner.failing_change {
            Some((at, Fault::Off)) if change > at => Some(Fault::Errno(libc::EIO)),
            Some((at, Fault::Off)) if change == at => Some(Fault::Half(libc::EIO)),
            Some((at, fault)) if change == at => Some(fault),
            _ => planned,
        }
    }

    fn refuse(&self, call: Call) -> io::Result<()> {
        match self.call(call) {
            Some(Fault::Errno(errno) | Fault::Half(errno)) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let create = mode == OpenMode::Create;
        self.refuse(if create { Call::Create } else { Call::Open })?;
        let mut inner = lock(&self.inner);
        let id = match (inner.names.get(path), create) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), false) => *id,
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (None, true) => {
                let id = inner.files.len();
                inner.files.push(Vec::new());
                inner.names.insert(path.to_owned(), id);
                inner.events.push(Event::Create(path.to_owned(), id));
                id
            }
        };
        let disk = self.clone();
        Ok(Arc::new(SimFile { disk, id }))
    }

    /// The real one too, for the lock file.
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let inner = lock(&self.inner);
        let here = inner.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here
            .map(|path| DirEntry {
                name: path.file_name().unwrap_or_default().to_owned(),
                is_file: true,
            })
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.refuse(Call::Remove)?;
        let mut inner = lock(&self.inner);
        if inner.names.remove(path).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.events.push(Event::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refuse(Call::Rename)?;
        let mut inner = lock(&self.inner);
        let id = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), id);
        let renamed = Event::Rename(from.to_owned(), to.to_owned());
        inner.events.push(renamed);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.refuse(Call::SyncDir)?;
        lock(&self.inner).events.push(Event::SyncDir);
        Ok(())
    }

    fn boot_id(&self) -> u64 {
        lock(&self.inner).boot
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: FileId,
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let fault = self.disk.call(Call::Read);
        let inner = lock(&self.disk.inner);
        let file = &inner.files[self.id];
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = &file[at.min(file.len())..];
        let n = rest.len().min(buf.len());
        let n = match fault {
            Some(Fault::Errno(errno) | Fault::Half(errno)) => {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(Fault::Short) => n.div_ceil(2),
            Some(Fault::Off) | None => n,
        };
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        {
            let inner = lock(&self.disk.inner);
            if inner.refuses_overwrites && offset < inner.files[self.id].len() as u64 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let fault = self.disk.call(Call::Write);
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        match fault {
            Some(Fault::Errno(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Half(_)) => bytes.truncate(bytes.len() / 2),
            Some(Fault::Short) => bytes.truncate(bytes.len().div_ceil(2)),
            Some(Fault::Off) | None => {}
        }
        let n = bytes.len();
        if n > 0 {
            let mut inner = lock(&self.disk.inner);
            write_to(&mut inner.files[self.id], offset, &bytes);
            inner
                .events
                .push(Event::Write(self.id, offset, bytes.into()));
        }
        match fault {
            Some(Fault::Half(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(n),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.refuse(Call::SetLen)?;
        let mut inner = lock(&self.disk.inner);
        inner.files[self.id].resize(bytes as usize, 0);
        inner.events.push(Event::SetLen(self.id, bytes));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.disk.inner).files[self.id].len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let refused = self.disk.refuse(Call::Sync);
        let mut inner = lock(&self.disk.inner);
        if refused.is_err() {
            inner.events.push(Event::SyncFailed(self.id));
            return refused;
        }
        let number = inner.syncs;
        inner.syncs += 1;
        inner.events.push(Event::SyncStart(self.id, number));
        drop(inner);
        // Others may write between.
        let mut inner = lock(&self.disk.inner);
        inner.events.push(Event::SyncEnd(self.id, number));
        Ok(())
    }
}

/// The seed of a run: `IMMUTA_SEED`, or the one that is given. Printed, so that a failure can be had again.
pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("IMMUTA_SEED").map_or(default, |text| {
        text.parse().expect("IMMUTA_SEED is a number")
    });
    println!("IMMUTA_SEED={seed}");
    seed
}

/// Whether the long form of a test was asked for.
pub fn long() -> bool {
    std::env::var_os("IMMUTA_LONG").is_some_and(|value| value != "0")
}

/// A directory for the lock file, in memory where there is such a place.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

/// Prints what it was told when the test fails under it.
pub struct Telling(pub String);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
