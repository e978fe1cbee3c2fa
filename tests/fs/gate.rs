//! The machine's disk, where a large write, or a read, waits as long as a test wants it to.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use support::hooked_disk::{HookedDisk, Hooks};

/// More than is kept in memory.
pub(crate) const LARGE: usize = 300 << 10;

/// The machine's disk, with a gate before each write of more than [`LARGE`] - 1 bytes, and when it is asked for,
/// before each read that is more than a look.
pub(crate) type GatedDisk = HookedDisk<Gate>;

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

impl Hooks for Gate {
    fn before_read(&self, _path: &Path, bytes: usize) -> io::Result<()> {
        if bytes >= 10_000 && self.before_reads.load(Ordering::SeqCst) {
            self.pass();
        }
        Ok(())
    }

    fn before_write(&self, _path: &Path, bytes: usize, _offset: u64) -> io::Result<()> {
        if bytes >= LARGE {
            self.pass();
        }
        Ok(())
    }

    fn before_sync(&self, _path: &Path) {
        if self.before_syncs.load(Ordering::SeqCst) {
            self.pass();
        }
    }
}
