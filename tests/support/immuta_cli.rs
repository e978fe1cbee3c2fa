//! What the tests of the program `immuta` share: calling it, and a directory of logs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{program, repository};
use immuta::{Durability, Format, LOCK_FILE, Options, Storage};

/// How long a fact may take to come true on a slow, loaded machine. It never makes a test pass.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn immuta(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("immuta"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("COLUMNS", "100")
        .stdin(Stdio::null());
    command
}

/// Exit status, standard output, standard error.
pub fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = immuta(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// What a command prints that succeeds.
#[track_caller]
pub fn prints(arguments: &[&str]) -> String {
    let (status, out, err) = said(arguments);
    assert_eq!((status, &*err), (Some(0), ""), "{arguments:?}: {out}");
    out
}

/// What a command says that fails.
#[track_caller]
pub fn refuses(arguments: &[&str]) -> String {
    let (status, out, err) = said(arguments);
    assert_eq!((status, &*out), (Some(1), ""), "{arguments:?}: {err}");
    err
}

/// A log of the Go library's, as it has written it.
pub fn golden(format: Format, log: &str) -> PathBuf {
    repository().join(format!("tests/data/golden/{format}/{log}.log"))
}

pub struct Dir(tempfile::TempDir);

impl Default for Dir {
    fn default() -> Self {
        Dir::new()
    }
}

impl Dir {
    pub fn new() -> Self {
        Dir(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn str(&self) -> &str {
        self.path().to_str().expect("text")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn log(&self, name: &str, format: Format, payloads: &[&str]) {
        let options = Options::new(self.path())
            .format(format)
            .namespaces([name])
            .sync(Durability::Never);
        let storage = Storage::open(options).expect("opened");
        storage.append_batch(name, payloads).expect("appended");
        storage.close().expect("closed");
        drop(storage);
        self.wait_until_free();
    }

    /// Returns when nobody holds the lock: what another test is just starting is a copy of this process for a moment, and
    /// has its open files.
    fn wait_until_free(&self) {
        let lock = fs::metadata(self.file(LOCK_FILE)).expect("a lock");
        let holder = format!(":{} ", lock.ino());
        let begun = Instant::now();
        while fs::read_to_string("/proc/locks")
            .expect("read")
            .contains(&holder)
        {
            assert!(begun.elapsed() < DEADLINE, "the lock is not given back");
            std::thread::yield_now();
        }
    }

    /// Changes a file behind the engine's back.
    pub fn change(&self, name: &str, f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = fs::read(self.file(name)).expect("read");
        f(&mut bytes);
        fs::write(self.file(name), &bytes).expect("written");
        bytes
    }
}

/// What a command says that was not called right.
#[track_caller]
pub fn misused(arguments: &[&str]) -> String {
    let (status, out, err) = said(arguments);
    assert_eq!((status, &*out), (Some(2), ""), "{arguments:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err
}
