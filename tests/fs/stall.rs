//! The machine's disk, on which some files stand still as long as a test wants it; and threads that serve a mount.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use immuta::may_wait;

use support::hooked_disk::{HookedDisk, Hooks};

/// The machine's disk. Of the namespaces that are stalled nothing is written or synced before they go on.
pub(crate) type StallingDisk = HookedDisk<Stalls>;

#[derive(Debug, Default)]
pub(crate) struct Stalls {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    namespaces: BTreeSet<String>,
    /// Their reads stand still, too, as if nothing of them were in memory.
    reads: bool,
    /// Only their syncs stand still, and not their writes.
    only_syncs: bool,
    /// Only their reads stand still.
    only_reads: bool,
    /// The files of those that are stalled are not open.
    closed: bool,
    /// There is no room for entries of the index.
    full: bool,
    waiting: usize,
}

impl Stalls {
    pub(crate) fn stall(&self, namespaces: &[String]) {
        let mut state = self.state.lock().unwrap();
        state.namespaces.extend(namespaces.iter().cloned());
    }

    pub(crate) fn stall_reads(&self, namespaces: &[String]) {
        self.state.lock().unwrap().reads = true;
        self.stall(namespaces);
    }

    pub(crate) fn stall_only_reads(&self, namespaces: &[String]) {
        self.state.lock().unwrap().only_reads = true;
        self.stall_reads(namespaces);
    }

    pub(crate) fn stall_syncs(&self, namespaces: &[String]) {
        self.state.lock().unwrap().only_syncs = true;
        self.stall(namespaces);
    }

    /// Their files were closed, and cannot be opened before they go on.
    pub(crate) fn stall_closed(&self, namespaces: &[String]) {
        self.state.lock().unwrap().closed = true;
        self.stall(namespaces);
    }

    pub(crate) fn fill(&self, full: bool) {
        self.state.lock().unwrap().full = full;
    }

    pub(crate) fn go_on(&self) {
        self.state.lock().unwrap().namespaces.clear();
        self.changed.notify_all();
    }

    /// One of the namespaces goes on.
    pub(crate) fn go_on_with(&self, namespace: &str) {
        self.state.lock().unwrap().namespaces.remove(namespace);
        self.changed.notify_all();
    }

    /// Returns when so many calls stand still.
    pub(crate) fn wait_for(&self, calls: usize) {
        let state = self.state.lock().unwrap();
        let less = |state: &mut State| state.waiting < calls;
        drop(self.changed.wait_while(state, less).unwrap());
    }
}

impl Stalls {
    fn pass(&self, path: &Path) {
        let namespace = path.file_stem().unwrap().to_str().unwrap();
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        let stalled = |state: &mut State| state.namespaces.contains(namespace);
        state = self.changed.wait_while(state, stalled).unwrap();
        state.waiting -= 1;
    }

    fn is_closed(&self, path: &Path) -> bool {
        let state = self.state.lock().unwrap();
        let namespace = path.file_stem().unwrap().to_str().unwrap();
        state.closed && state.namespaces.contains(namespace)
    }

    fn stalls_reads_of(&self, path: &Path) -> bool {
        let state = self.state.lock().unwrap();
        let namespace = path.file_stem().unwrap().to_str().unwrap();
        state.reads && state.namespaces.contains(namespace)
    }
}

impl Hooks for Stalls {
    fn before_read(&self, path: &Path, _bytes: usize) -> io::Result<()> {
        if self.stalls_reads_of(path) {
            if !may_wait() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.pass(path);
        }
        Ok(())
    }

    fn before_write(&self, path: &Path, _bytes: usize, offset: u64) -> io::Result<()> {
        let passes = {
            let state = self.state.lock().unwrap();
            state.only_syncs || state.only_reads
        };
        if !passes {
            self.pass(path);
        }
        let is_entry = path.extension().is_some_and(|e| e == "idx") && offset >= 128;
        if is_entry && self.state.lock().unwrap().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn before_sync(&self, path: &Path) {
        if !self.state.lock().unwrap().only_reads {
            self.pass(path);
        }
    }

    fn before_ready(&self, path: &Path) {
        if self.is_closed(path) {
            self.pass(path);
        }
    }

    fn is_ready(&self, path: &Path) -> bool {
        !self.is_closed(path)
    }
}

type Call = Box<dyn FnOnce() + Send>;

/// So many threads, each of which takes the next call when it has returned from the one before.
pub(crate) struct Threads(Sender<Call>);

impl Threads {
    pub(crate) fn new(threads: usize) -> Threads {
        let (calls, next) = channel::<Call>();
        let next = Arc::new(Mutex::new(next));
        for _ in 0..threads {
            let next = next.clone();
            std::thread::spawn(move || {
                loop {
                    let call = next.lock().unwrap().recv();
                    let Ok(call) = call else { return };
                    call();
                }
            });
        }
        Threads(calls)
    }

    pub(crate) fn call(&self, call: impl FnOnce() + Send + 'static) {
        self.0.send(Box::new(call)).unwrap();
    }
}
