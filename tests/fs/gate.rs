//! The machine's disk, where a large write, or a read, waits as long as a test wants it to.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use immuta::{DirEntry, Disk, DiskFile, OpenMode, StdDisk};

/// More than is kept in memory.
pub(crate) const LARGE: usize = 300 << 10;

/// The machine's disk, with a gate before each write of more than [`LARGE`] - 1 bytes, and when it is asked for,
/// before each read that is more than a look.
#[derive(Debug, Default)]
pub(crate) struct GatedDisk(pub(crate) Arc<Gate>);

#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Whether somebody waits at it, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
    pub(crate) before_reads: AtomicBool,
    /// Also before each sync of a file.
    pub(crate) before_syncs: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    pub(crate) fn wait_until_reached(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |(reached, _)| !*reached)
                .unwrap(),
        );
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

#[derive(Debug)]
struct GatedFile(Arc<dyn DiskFile>, Arc<Gate>);

impl Disk for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile(
            StdDisk.open(path, mode)?,
            self.0.clone(),
        )))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        StdDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        StdDisk.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdDisk.sync_dir(dir)
    }
}

impl DiskFile for GatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if buf.len() >= 10_000 && self.1.before_reads.load(Ordering::SeqCst) {
            self.1.pass();
        }
        self.0.read_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() >= LARGE {
            self.1.pass();
        }
        self.0.write_vectored_at(bufs, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.1.before_syncs.load(Ordering::SeqCst) {
            self.1.pass();
        }
        self.0.sync_data()
    }
}
