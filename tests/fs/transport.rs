//! A transport of channels, so that the order and the bytes of the answers can be looked at, and a mount of one
//! namespace that has it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use immuta::{Disk, Durability, Options, StdDisk, Storage};
use immuta_fs::fs;
use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{
    Access, Attr, Caller, Fs, PollWaker, ReadMode, ReadRequest, Settings, Transport, WriteMode,
};
use nix::unistd::gettid;

/// What was answered, in the order in which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Data(Vec<u8>),
    Written(u32),
    Refused(Errno),
    Woken,
    Done,
    Attr(Attr),
}

pub(crate) struct Channels;

impl Transport for Channels {
    type Read = Reply;
    type Write = Reply;
    type Done = Reply;
    type Attr = Reply;
    type Poll = Reply;
}

pub(crate) struct Reply(Sender<(&'static str, Answer)>, &'static str);

impl Reply {
    pub(crate) fn refuse(self, errno: Errno) {
        self.send(Answer::Refused(errno));
    }

    pub(crate) fn done(self) {
        self.send(Answer::Done);
    }

    fn send(self, answer: Answer) {
        self.0.send((self.1, answer)).unwrap();
    }
}

impl fs::Reply<&[u8]> for Reply {
    fn answer(self, result: Result<&[u8], Errno>) {
        self.send(result.map_or_else(Answer::Refused, |bytes| Answer::Data(bytes.to_vec())));
    }
}

impl fs::Reply<u32> for Reply {
    fn answer(self, result: Result<u32, Errno>) {
        self.send(result.map_or_else(Answer::Refused, Answer::Written));
    }
}

impl fs::Reply<()> for Reply {
    fn answer(self, result: Result<(), Errno>) {
        self.send(result.map_or_else(Answer::Refused, |()| Answer::Done));
    }
}

impl fs::Reply<Attr> for Reply {
    fn answer(self, result: Result<Attr, Errno>) {
        self.send(result.map_or_else(Answer::Refused, Answer::Attr));
    }
}

impl PollWaker for Reply {
    fn wake(self) {
        self.send(Answer::Woken);
    }
}

pub(crate) const WAIT: ReadMode = ReadMode {
    nonblock: false,
    for_page_cache: false,
};
pub(crate) const NOW: ReadMode = ReadMode {
    nonblock: true,
    for_page_cache: false,
};
pub(crate) const PLAIN: WriteMode = WriteMode {
    uid: ME.uid,
    durable: false,
    append: false,
    offset: 0,
};
pub(crate) const DURABLE: WriteMode = WriteMode {
    uid: ME.uid,
    durable: true,
    append: false,
    offset: 0,
};
pub(crate) const WITH_O_APPEND: WriteMode = WriteMode {
    uid: ME.uid,
    durable: false,
    append: true,
    offset: 0,
};
pub(crate) const ACCESSES: [Access; 6] = [
    Access::Read,
    Access::ReadTruncate,
    Access::Write,
    Access::Append,
    Access::ReadWrite,
    Access::ReadAppend,
];

pub(crate) fn request(unique: u64, offset: u64, size: u32, mode: ReadMode) -> ReadRequest {
    ReadRequest {
        unique,
        offset,
        size,
        mode,
    }
}

pub(crate) const ME: Caller = Caller {
    thread: 0,
    uid: 1,
    gid: 2,
};

/// This thread, as the kernel names it.
pub(crate) fn me() -> Caller {
    Caller {
        thread: gettid().as_raw() as u32,
        ..ME
    }
}

pub(crate) const ROOT: u64 = 1;

pub(crate) struct Tree {
    pub(crate) fs: Arc<Fs<Channels>>,
    pub(crate) storage: Arc<Storage>,
    answers: Receiver<(&'static str, Answer)>,
    answer: Mutex<Sender<(&'static str, Answer)>>,
    directory: Arc<tempfile::TempDir>,
}

impl Tree {
    pub(crate) fn new() -> Tree {
        Tree::with(Durability::Never)
    }

    pub(crate) fn with(sync: Durability) -> Tree {
        Tree::on(Arc::new(StdDisk), sync)
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, sync: Durability) -> Tree {
        Tree::with_memory(disk, sync, 1 << 30)
    }

    /// In which what waits takes no more than so many bytes.
    pub(crate) fn with_memory(disk: Arc<dyn Disk>, sync: Durability, max_open_bytes: u64) -> Tree {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Tree::in_directory(directory, disk, sync, max_open_bytes)
    }

    /// Of a directory that another tree may have had, until its storage was closed.
    pub(crate) fn in_directory(
        directory: Arc<tempfile::TempDir>,
        disk: Arc<dyn Disk>,
        sync: Durability,
        max_open_bytes: u64,
    ) -> Tree {
        let options = Options::new(directory.path()).disk(disk);
        let storage = Storage::open(options.namespaces(["ns"]).sync(sync)).unwrap();
        let storage = Arc::new(storage);
        let settings = Settings {
            uid: 1,
            gid: 2,
            split_write_bytes: 1 << 20,
            sync_always: sync == Durability::Always,
            read_only: false,
            max_record_bytes: 64 << 20,
            max_open_bytes,
        };
        let (answer, answers) = channel();
        let fs = Fs::new(storage.clone(), settings).unwrap();
        Tree {
            fs,
            storage,
            answers,
            answer: Mutex::new(answer),
            directory,
        }
    }

    pub(crate) fn reply(&self, who: &'static str) -> Reply {
        Reply(self.answer.lock().unwrap().clone(), who)
    }

    pub(crate) fn ino(&self, name: &str) -> u64 {
        let ns = self.fs.lookup(ROOT, "ns").unwrap().ino;
        self.fs.lookup(ns, name).unwrap().ino
    }

    pub(crate) fn open(&self, name: &str) -> u64 {
        let access = if name.starts_with("append") {
            Access::Write
        } else {
            Access::Read
        };
        self.fs.open(ME, self.ino(name), access).unwrap().fh
    }

    pub(crate) fn open_with(&self, name: &str, access: Access) -> u64 {
        self.fs.open(ME, self.ino(name), access).unwrap().fh
    }

    pub(crate) fn count(&self) -> u64 {
        self.storage.log("ns").unwrap().state().count
    }

    pub(crate) fn append(&self, record: &[u8]) {
        self.storage.log("ns").unwrap().append(record).unwrap();
    }

    /// Turns a bit of a byte of the log's file over.
    pub(crate) fn damage(&self, byte: usize) {
        let log = self.directory.path().join("ns.log");
        let mut bytes = std::fs::read(&log).unwrap();
        bytes[byte] ^= 1;
        std::fs::write(&log, bytes).unwrap();
    }

    pub(crate) fn next(&self) -> Option<(&'static str, Answer)> {
        self.answers.try_recv().ok()
    }

    pub(crate) fn wait(&self) -> (&'static str, Answer) {
        self.answers.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    pub(crate) fn write(&self, fh: u64, bytes: &[u8], mode: WriteMode) -> Answer {
        self.fs.write(fh, bytes, mode, self.reply("write"));
        self.wait().1
    }

    pub(crate) fn read(&self, fh: u64, offset: u64, size: u32) -> Option<Answer> {
        self.fs
            .read(fh, request(0, offset, size, NOW), self.reply("read"));
        self.next().map(|(_, answer)| answer)
    }

    pub(crate) fn open_by(&self, caller: Caller, name: &str) -> u64 {
        let ns = self.fs.lookup(ROOT, "ns").unwrap().ino;
        let open = || {
            let ino = self.fs.lookup_by(caller, ns, name)?.ino;
            self.fs.open(caller, ino, Access::Write)
        };
        // As the kernel does it.
        let opened = match open() {
            Err(errno) if errno == Errno::ESTALE => open(),
            other => other,
        };
        opened.unwrap().fh
    }

    /// Closes a descriptor on behalf of a process, and takes the answer.
    pub(crate) fn close(&self, caller: Caller, fh: u64) -> Answer {
        self.fs.flush(caller, fh, self.reply("close"));
        self.wait().1
    }

    pub(crate) fn record(&self, n: u64) -> Vec<u8> {
        match self.read(self.open(&n.to_string()), 0, u32::MAX) {
            Some(Answer::Data(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn start(tree: &Tree, directory: &str, name: &str) -> u64 {
    tree.fs.lookup(tree.ino(directory), name).unwrap().ino
}

pub(crate) fn open_start(tree: &Tree, directory: &str, name: &str) -> u64 {
    tree.fs
        .open(ME, start(tree, directory, name), Access::Read)
        .unwrap()
        .fh
}

pub(crate) fn data(bytes: &[u8]) -> Answer {
    Answer::Data(bytes.to_vec())
}

pub(crate) fn written(bytes: &[u8]) -> Answer {
    Answer::Written(bytes.len() as u32)
}
