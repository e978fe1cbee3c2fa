//! The file system without a kernel: a transport of channels, so that order and bytes can be looked at.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{self, IoSlice};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use immuta::fs::errno::Errno;
use immuta::fs::{
    Access, Attr, AttrReply, Caller, DoneReply, Fs, PollWaker, ReadMode, ReadReply, SetAttr,
    Settings, Transport, WriteMode, WriteReply, XattrReply,
};
use immuta::{DirEntry, Disk, DiskFile, OpenMode, Options, StdDisk, Storage, Sync};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, gettid};
use proptest::prelude::*;

/// What was answered, in the order in which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Data(Vec<u8>),
    Written(u32),
    Refused(Errno),
    Woken,
    Done,
    Attr(Attr),
}

struct Channels;

impl Transport for Channels {
    type Read = Reply;
    type Write = Reply;
    type Done = Reply;
    type Attr = Reply;
    type Poll = Reply;
}

struct Reply(Sender<(&'static str, Answer)>, &'static str);

impl Reply {
    fn send(self, answer: Answer) {
        self.0.send((self.1, answer)).unwrap();
    }
}

impl ReadReply for Reply {
    fn data(self, bytes: &[u8]) {
        self.send(Answer::Data(bytes.to_vec()));
    }

    fn error(self, errno: Errno) {
        self.send(Answer::Refused(errno));
    }
}

impl WriteReply for Reply {
    fn written(self, bytes: u32) {
        self.send(Answer::Written(bytes));
    }

    fn error(self, errno: Errno) {
        self.send(Answer::Refused(errno));
    }
}

impl DoneReply for Reply {
    fn done(self) {
        self.send(Answer::Done);
    }

    fn error(self, errno: Errno) {
        self.send(Answer::Refused(errno));
    }
}

impl AttrReply for Reply {
    fn attr(self, attr: &Attr) {
        self.send(Answer::Attr(*attr));
    }

    fn error(self, errno: Errno) {
        self.send(Answer::Refused(errno));
    }
}

impl PollWaker for Reply {
    fn wake(self) {
        self.send(Answer::Woken);
    }
}

const WAIT: ReadMode = ReadMode {
    nonblock: false,
    for_page_cache: false,
};
const NOW: ReadMode = ReadMode {
    nonblock: true,
    for_page_cache: false,
};
const PLAIN: WriteMode = WriteMode {
    durable: false,
    append: false,
};
const DURABLE: WriteMode = WriteMode {
    durable: true,
    append: false,
};
const WITH_O_APPEND: WriteMode = WriteMode {
    durable: false,
    append: true,
};
const ACCESSES: [Access; 6] = [
    Access::Read,
    Access::ReadTruncate,
    Access::Write,
    Access::Append,
    Access::ReadWrite,
    Access::ReadAppend,
];
const ME: Caller = Caller {
    thread: 0,
    uid: 1,
    gid: 2,
};
const ROOT: u64 = 1;

struct Tree {
    fs: Arc<Fs<Channels>>,
    storage: Arc<Storage>,
    answers: Receiver<(&'static str, Answer)>,
    answer: Mutex<Sender<(&'static str, Answer)>>,
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Tree {
        Tree::with(Sync::Never)
    }

    fn with(sync: Sync) -> Tree {
        Tree::on(Arc::new(StdDisk), sync)
    }

    fn on(disk: Arc<dyn Disk>, sync: Sync) -> Tree {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path()).disk(disk);
        let storage = Storage::open(options.namespaces(["ns"]).sync(sync)).unwrap();
        let storage = Arc::new(storage);
        let settings = Settings {
            uid: 1,
            gid: 2,
            split_write_bytes: 1 << 20,
            sync_always: sync == Sync::Always,
            read_only: false,
            max_record_bytes: 64 << 20,
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

    fn reply(&self, who: &'static str) -> Reply {
        Reply(self.answer.lock().unwrap().clone(), who)
    }

    fn ino(&self, name: &str) -> u64 {
        let ns = self.fs.lookup(ROOT, "ns").unwrap().ino;
        self.fs.lookup(ns, name).unwrap().ino
    }

    fn open(&self, name: &str) -> u64 {
        let access = if name.starts_with("append") {
            Access::Write
        } else {
            Access::Read
        };
        self.fs.open(ME, self.ino(name), access).unwrap().fh
    }

    fn open_with(&self, name: &str, access: Access) -> u64 {
        self.fs.open(ME, self.ino(name), access).unwrap().fh
    }

    fn count(&self) -> u64 {
        self.storage.log("ns").unwrap().state().count
    }

    fn append(&self, record: &[u8]) {
        self.storage.log("ns").unwrap().append(record).unwrap();
    }

    fn next(&self) -> Option<(&'static str, Answer)> {
        self.answers.try_recv().ok()
    }

    fn wait(&self) -> (&'static str, Answer) {
        self.answers
            .recv_timeout(std::time::Duration::from_secs(60))
            .unwrap()
    }

    fn write(&self, fh: u64, bytes: &[u8], mode: WriteMode) -> Answer {
        self.fs.write(fh, bytes, mode, self.reply("write"));
        self.wait().1
    }

    fn read(&self, fh: u64, offset: u64, size: u32) -> Option<Answer> {
        self.fs.read(fh, 0, offset, size, NOW, self.reply("read"));
        self.next().map(|(_, answer)| answer)
    }
}

fn data(bytes: &[u8]) -> Answer {
    Answer::Data(bytes.to_vec())
}

#[test]
fn the_writer_is_answered_before_the_readers_and_the_first_to_wait_is_the_first_to_be_answered() {
    let tree = Tree::new();
    let (follow, zero, append) = (tree.open("follow"), tree.open("0"), tree.open("append"));
    tree.fs.read(zero, 30, 0, 100, WAIT, tree.reply("second"));
    tree.fs.read(follow, 20, 0, 100, WAIT, tree.reply("first"));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 2));
    tree.fs.write(append, b"hello", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(5))));
    assert_eq!(tree.next(), Some(("first", data(b"hello\n"))));
    assert_eq!(tree.next(), Some(("second", data(b"hello"))));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 0));
}

#[test]
fn a_read_beyond_the_end_waits_for_that_byte() {
    let tree = Tree::new();
    let (follow, append) = (tree.open("follow"), tree.open("append"));
    tree.fs.read(follow, 2, 3, 100, WAIT, tree.reply("reader"));
    tree.fs.write(append, b"ab", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(2))));
    assert_eq!(
        (tree.next(), tree.fs.parked_reads()),
        (None, 1),
        "bytes 0 to 2 are there: a, b, newline"
    );
    tree.fs.write(append, b"c", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("reader", data(b"c\n"))));
}

#[test]
fn each_door_out_of_the_wait_gives_its_answer() {
    let tree = Tree::new();
    let follow = tree.open("follow");
    tree.fs
        .read(follow, 2, 0, 100, WAIT, tree.reply("interrupted"));
    tree.fs.interrupt(2);
    assert_eq!(
        tree.next(),
        Some(("interrupted", Answer::Refused(Errno::EINTR)))
    );

    tree.fs.interrupt(4);
    tree.fs.read(
        follow,
        4,
        0,
        100,
        WAIT,
        tree.reply("interrupted before it was parked"),
    );
    assert_eq!(tree.next().unwrap().1, Answer::Refused(Errno::EINTR));

    tree.fs.read(follow, 6, 0, 100, WAIT, tree.reply("removed"));
    tree.fs.rmdir(ROOT, "ns").unwrap();
    assert_eq!(tree.next(), Some(("removed", data(b""))));
    assert_eq!(
        tree.read(follow, 0, 100),
        Some(data(b"")),
        "and it stays the end"
    );

    tree.fs.mkdir(ME, ROOT, "ns", 0o755).unwrap();
    let follow = tree.open("follow");
    tree.fs
        .read(follow, 8, 0, 100, WAIT, tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.next(), Some(("unmounted", data(b""))));
    tree.fs.read(follow, 10, 0, 100, WAIT, tree.reply("late"));
    assert_eq!(tree.next(), Some(("late", data(b""))));
    assert_eq!(tree.fs.parked_reads(), 0);
}

#[test]
fn a_change_of_rights_is_answered_when_nobody_believes_the_old_ones() {
    let tree = Tree::new();
    tree.append(b"x");
    let ns = tree.fs.lookup(ROOT, "ns").unwrap();
    // Its log was made by this process, and nobody has said more.
    assert_eq!(ns.uid, nix::unistd::geteuid().as_raw());
    let chmod = |mode| SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    // Of the directory's own rights the kernel learns with the answer: nobody else was told.
    tree.fs
        .setattr(ME, ns.ino, chmod(0o750), tree.reply("at once"));
    let mode_of = |(_, answer): (&str, Answer)| match answer {
        Answer::Attr(attr) => attr.mode,
        other => panic!("{other:?}"),
    };
    assert_eq!(mode_of(tree.wait()), 0o750);

    for name in ["append", "0", "from"] {
        let begun = Instant::now();
        let told = tree.fs.lookup(ns.ino, name).unwrap();
        assert!(told.attr_ttl > Duration::ZERO);
        let mode = if name == "0" { 0o700 } else { 0o770 };
        tree.fs
            .setattr(ME, ns.ino, chmod(mode), tree.reply("later"));
        // It is said when the last one who was told has forgotten it.
        assert_eq!(mode_of(tree.wait()), mode);
        assert!(begun.elapsed() > told.attr_ttl);
        // What is so already is no change.
        tree.fs
            .setattr(ME, ns.ino, chmod(mode), tree.reply("unchanged"));
        assert_eq!(tree.wait().0, "unchanged");
        assert_eq!(tree.fs.lookup(ROOT, "ns").unwrap().mode, mode);
    }

    for name in ["append", "log", "0", "from"] {
        let ino = tree.ino(name);
        tree.fs.setattr(ME, ino, chmod(0o777), tree.reply(name));
        assert_eq!(tree.next(), Some((name, Answer::Refused(Errno::EPERM))));
    }

    tree.fs
        .setattr(ME, ns.ino, chmod(0o711), tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.wait().0, "unmounted");
    tree.ino("append");
    tree.fs
        .setattr(ME, ns.ino, chmod(0o755), tree.reply("late"));
    assert_eq!(tree.next().unwrap().0, "late");
}

/// It was put together from two numbers, `9` and the end of `10`.
#[test]
fn regression_a_count_that_grows_while_it_is_read_is_one_number() {
    let tree = Tree::new();
    let count = tree.open("count");
    let read = |offset| {
        tree.fs
            .read(count, 2, offset, 100, WAIT, tree.reply("count"));
        tree.next().unwrap().1
    };
    assert_eq!(read(0), Answer::Data(b"0\n".to_vec()));
    for _ in 0..10 {
        tree.append(b"x");
    }
    assert_eq!(read(2), Answer::Data(Vec::new()));

    let tree = Tree::new();
    for _ in 0..9 {
        tree.append(b"x");
    }
    let count = tree.open("count");
    let read = |offset| {
        tree.fs
            .read(count, 2, offset, 100, WAIT, tree.reply("count"));
        tree.next().unwrap().1
    };
    assert_eq!(read(0), Answer::Data(b"9\n".to_vec()));
    tree.append(b"x");
    assert_eq!(read(2), Answer::Data(Vec::new()));
    assert_eq!(read(0), Answer::Data(b"10\n".to_vec()));
}

#[test]
fn a_read_that_has_waited_as_long_as_it_may_is_interrupted_and_nobody_else() {
    use std::time::{Duration, Instant};
    const LIMIT: Duration = Duration::from_millis(20);
    let tree = Tree::new();
    let follow = tree.open("follow");
    // It came before there was a limit.
    tree.fs
        .read(follow, 2, 0, 100, WAIT, tree.reply("for ever"));
    tree.fs.limit_waits(LIMIT).unwrap();
    // The first limit counts.
    tree.fs.limit_waits(Duration::ZERO).unwrap();
    for unique in [4, 6, 8] {
        let start = Instant::now();
        tree.fs
            .read(follow, unique, 0, 100, WAIT, tree.reply("limited"));
        assert_eq!(tree.wait(), ("limited", Answer::Refused(Errno::EINTR)));
        assert!(start.elapsed() >= LIMIT);
    }
    for unique in 10..30 {
        tree.fs
            .read(follow, unique, 0, 100, WAIT, tree.reply("limited"));
    }
    for _ in 10..30 {
        assert_eq!(tree.wait(), ("limited", Answer::Refused(Errno::EINTR)));
    }
    assert_eq!(tree.fs.parked_reads(), 1);
    tree.fs.close();
    assert_eq!(tree.wait(), ("for ever", data(b"")));
}

#[test]
fn at_the_end_the_handle_decides_what_a_read_gets() {
    let tree = Tree::new();
    tree.append(b"x");
    let (follow, asked) = (tree.open("follow"), tree.open("follow"));
    assert_eq!(tree.read(follow, 0, 100), Some(data(b"x\n")));
    assert_eq!(
        tree.read(follow, 2, 100),
        Some(Answer::Refused(Errno::EAGAIN))
    );
    tree.fs.getattr(tree.ino("follow"), None).unwrap();
    assert_eq!(
        tree.read(follow, 2, 100),
        Some(Answer::Refused(Errno::EAGAIN)),
        "stat asks for no handle's end"
    );
    tree.fs.getattr(tree.ino("follow"), Some(asked)).unwrap();
    assert_eq!(tree.read(asked, 2, 100), Some(data(b"")));
    tree.append(b"y");
    assert_eq!(tree.read(asked, 2, 100), Some(data(b"y\n")));
}

#[test]
fn a_poller_is_woken_once_by_the_record_it_waits_for() {
    let tree = Tree::new();
    let (follow, append) = (tree.open("follow"), tree.open("append"));
    assert!(
        !tree
            .fs
            .poll(follow, Some(tree.reply("poller")))
            .unwrap()
            .readable
    );
    assert!(tree.fs.poll(append, None).unwrap().writable);
    tree.fs.write(append, b"x", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("poller", Answer::Woken)));
    assert!(tree.fs.poll(follow, None).unwrap().readable);
    assert_eq!(tree.read(follow, 0, 100), Some(data(b"x\n")));
    assert!(
        !tree.fs.poll(follow, None).unwrap().readable,
        "its last read ended at the end"
    );
    tree.fs.write(append, b"y", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), None);
}

#[test]
fn with_sync_always_no_answer_comes_before_the_disk_and_the_writers_come_before_the_readers() {
    let tree = Tree::with(Sync::Always);
    let (follow, append) = (tree.open("follow"), tree.open("append"));
    tree.fs.read(follow, 2, 0, 100, WAIT, tree.reply("reader"));
    tree.fs.write(append, b"x", PLAIN, tree.reply("writer"));
    assert_eq!(tree.wait(), ("writer", Answer::Written(1)));
    assert_eq!(tree.wait(), ("reader", data(b"x\n")));
    tree.fs.fsync(append, tree.reply("fsync"));
    assert_eq!(tree.wait(), ("fsync", Answer::Done));
    let (one, other) = (tree.ino("append"), tree.ino("append"));
    assert_ne!(
        one, other,
        "each lookup has an inode of its own, so that the kernel lets writers in together"
    );
    assert_eq!(tree.fs.getattr(one, None).unwrap().ino, one);
}

#[test]
fn a_durable_write_and_an_fsync_are_answered_after_the_sync_in_any_mode() {
    let tree = Tree::new();
    let append = tree.open("append");
    tree.fs.write(append, b"x", DURABLE, tree.reply("writer"));
    assert_eq!(tree.wait(), ("writer", Answer::Written(1)));
    tree.fs.fsync(append, tree.reply("fsync"));
    assert_eq!(tree.wait(), ("fsync", Answer::Done));
    tree.fs
        .fsync(tree.open("follow"), tree.reply("nothing to sync"));
    assert_eq!(tree.wait(), ("nothing to sync", Answer::Done));
}

#[test]
fn a_damaged_record_is_eio_and_its_neighbours_are_served() {
    let tree = Tree::new();
    for record in [&b"one"[..], b"two", b"three"] {
        tree.append(record);
    }
    // The payload of record 1: behind the count, a size field, `one` and a size field.
    let log = tree.directory.path().join("ns.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[8 + 8 + 3 + 8] ^= 1;
    std::fs::write(&log, bytes).unwrap();

    let records: Vec<u64> = ["0", "1", "2"].iter().map(|n| tree.open(n)).collect();
    assert_eq!(tree.read(records[0], 0, 100), Some(data(b"one")));
    assert_eq!(
        tree.read(records[1], 0, 100),
        Some(Answer::Refused(Errno::EIO))
    );
    assert_eq!(tree.read(records[2], 0, 100), Some(data(b"three")));

    let text = tree.open("log");
    assert_eq!(
        tree.read(text, 0, 100),
        Some(data(b"one\n")),
        "up to the damage"
    );
    assert_eq!(tree.read(text, 4, 100), Some(Answer::Refused(Errno::EIO)));
    assert_eq!(
        tree.read(text, 8, 100),
        Some(data(b"three\n")),
        "a reader can step over it"
    );
}

#[test]
fn a_line_that_waits_is_stored_when_the_mount_ends_and_so_is_what_comes_after() {
    let tree = Tree::new();
    let lines = tree.open("append-lines");
    tree.fs.write(lines, b"half", PLAIN, tree.reply("writer"));
    assert_eq!(tree.storage.log("ns").unwrap().state().count, 0);
    tree.fs.close();
    tree.fs
        .write(lines, b" a line", PLAIN, tree.reply("writer"));
    assert_eq!(
        tree.storage.log("ns").unwrap().state().count,
        2,
        "acknowledged bytes are not lost"
    );
}

#[test]
fn a_listing_is_of_what_was_there_when_it_was_rewound() {
    let tree = Tree::new();
    tree.append(b"x");
    let ns = tree.fs.lookup(ROOT, "ns").unwrap().ino;
    let fh = tree.fs.opendir(ns).unwrap();
    let mut names = Vec::new();
    let mut at = 0;
    loop {
        // A buffer of two names, and a writer that is as fast as the reader.
        let mut listed = Vec::new();
        tree.fs
            .readdir(ns, fh, at, |entry| {
                let full = listed.len() == 2;
                if !full {
                    listed.push((entry.name.to_owned(), entry.next_offset));
                }
                full
            })
            .unwrap();
        let Some((_, next)) = listed.last() else {
            break;
        };
        at = *next;
        names.extend(listed.into_iter().map(|(name, _)| name));
        tree.append(b"y");
        tree.append(b"z");
    }
    assert_eq!(
        names,
        [
            ".",
            "..",
            "append",
            "append-lines",
            "follow",
            "log",
            "count",
            "frames",
            "follow-frames",
            "from",
            "since",
            "stats",
            "append-frames",
            "append-file",
            "log.jsonl",
            "follow.jsonl",
            "0"
        ]
    );
    let mut rewound = 0;
    let mut count = |_: immuta::fs::DirEntry<'_>| {
        rewound += 1;
        false
    };
    tree.fs.readdir(ns, fh, 0, &mut count).unwrap();
    assert_eq!(rewound, 16 + tree.storage.log("ns").unwrap().state().count);
}

fn start(tree: &Tree, directory: &str, name: &str) -> u64 {
    tree.fs.lookup(tree.ino(directory), name).unwrap().ino
}

fn open_start(tree: &Tree, directory: &str, name: &str) -> u64 {
    tree.fs
        .open(ME, start(tree, directory, name), Access::Read)
        .unwrap()
        .fh
}

#[test]
fn a_start_shows_the_text_from_there_and_waits_where_the_log_ends() {
    let tree = Tree::new();
    for record in ["a", "b", "c"] {
        tree.append(record.as_bytes());
    }
    for (name, text) in [
        ("0", "a\nb\nc\n"),
        ("2", "c\n"),
        ("-2", "b\nc\n"),
        ("-0", ""),
        ("-99", "a\nb\nc\n"),
        ("3", ""),
        ("end", ""),
        ("5", ""),
    ] {
        let ino = start(&tree, "from", name);
        assert_eq!(
            tree.fs.getattr(ino, None).unwrap().size,
            text.len() as u64,
            "{name}"
        );
        let fh = tree.fs.open(ME, ino, Access::Read).unwrap().fh;
        if !text.is_empty() {
            assert_eq!(tree.read(fh, 0, 100), Some(data(text.as_bytes())), "{name}");
        }
        let end = text.len() as u64;
        assert_eq!(
            tree.read(fh, end, 100),
            Some(Answer::Refused(Errno::EAGAIN)),
            "{name}"
        );
    }
    for name in ["", "x", "01", "--1", "-", "END", "1 "] {
        assert_eq!(
            tree.fs.lookup(tree.ino("from"), name),
            Err(Errno::ENOENT),
            "{name:?}"
        );
    }
}

#[test]
fn a_start_beyond_the_end_waits_for_its_record_and_skips_those_before() {
    let tree = Tree::new();
    let (fifth, append) = (open_start(&tree, "from", "2"), tree.open("append"));
    tree.fs.read(fifth, 2, 0, 100, WAIT, tree.reply("reader"));
    for n in 0..2 {
        tree.fs
            .write(append, b"before", PLAIN, tree.reply("writer"));
        assert_eq!(tree.next(), Some(("writer", Answer::Written(6))));
        assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1), "{n}");
    }
    tree.fs.write(append, b"it", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(2))));
    assert_eq!(tree.next(), Some(("reader", data(b"it\n"))));
}

#[test]
fn the_last_records_are_those_at_the_time_of_the_look_up() {
    let tree = Tree::new();
    tree.append(b"old");
    tree.append(b"last");
    let (one, end) = (
        open_start(&tree, "from", "-1"),
        open_start(&tree, "from", "end"),
    );
    tree.append(b"new");
    assert_eq!(tree.read(one, 0, 100), Some(data(b"last\nnew\n")));
    assert_eq!(tree.read(end, 0, 100), Some(data(b"new\n")));
    assert_ne!(start(&tree, "from", "-1"), start(&tree, "from", "-1"));
    assert_eq!(start(&tree, "from", "1"), start(&tree, "from", "1"));
}

#[test]
fn since_shows_what_was_appended_from_a_time_on() {
    let tree = Tree::new();
    tree.append(b"a");
    let now = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
    tree.append(b"b");
    let all = open_start(&tree, "since", "1h");
    assert_eq!(tree.read(all, 0, 100), Some(data(b"a\nb\n")));
    let later = open_start(&tree, "since", &now);
    assert_eq!(tree.read(later, 0, 100), Some(data(b"b\n")));
    let future = open_start(&tree, "since", "2999-01-01T00:00:00Z");
    assert_eq!(
        tree.read(future, 0, 100),
        Some(Answer::Refused(Errno::EAGAIN))
    );
    tree.append(b"c");
    assert_eq!(
        tree.read(future, 0, 100),
        Some(Answer::Refused(Errno::EAGAIN)),
        "it is not that time yet"
    );
    for name in ["", "10", "yesterday", "-1h", "2026-11-21"] {
        assert_eq!(
            tree.fs.lookup(tree.ino("since"), name),
            Err(Errno::ENOENT),
            "{name:?}"
        );
    }
}

#[test]
fn a_start_is_known_as_long_as_the_kernel_knows_it() {
    let tree = Tree::new();
    let ino = start(&tree, "from", "-1");
    assert!(tree.fs.getattr(ino, None).is_ok());
    tree.fs.forget(ino, 1);
    assert_eq!(tree.fs.getattr(ino, None).map(|_| ()), Err(Errno::ESTALE));
    assert_eq!(
        tree.fs.open(ME, ino, Access::Read).map(|_| ()),
        Err(Errno::ESTALE)
    );
}

#[test]
fn which_way_a_file_can_be_opened() {
    let tree = Tree::new();
    tree.append(b"x");
    let errno = |name: &str| {
        let opened = |access| tree.fs.open(ME, tree.ino(name), access).err();
        ACCESSES.map(opened)
    };
    let (eacces, eperm) = (Some(Errno::EACCES), Some(Errno::EPERM));
    let read = [None, eacces, eacces, eacces, eacces, eacces];
    for name in [
        "follow",
        "count",
        "frames",
        "follow-frames",
        "stats",
        "0",
        "1",
    ] {
        assert_eq!(errno(name), read, "{name}");
    }
    for name in ["append", "append-lines", "append-frames"] {
        assert_eq!(errno(name), [eacces, eacces, None, None, None, None]);
    }
    assert_eq!(errno("log"), [None, eperm, eperm, None, eperm, None]);
}

#[test]
fn the_permission_bits_of_a_file_are_those_of_its_directions() {
    let tree = Tree::new();
    tree.append(b"x");
    for (name, mode) in [
        ("append", 0o600),
        ("append-lines", 0o600),
        ("append-frames", 0o600),
        ("log", 0o644),
        ("follow", 0o444),
        ("0", 0o444),
    ] {
        let attr = tree.fs.getattr(tree.ino(name), None).unwrap();
        assert_eq!(attr.mode, mode, "{name}: {:o}", attr.mode);
    }
}

#[test]
fn log_takes_lines_as_long_as_the_file_is_open_with_o_append() {
    let tree = Tree::new();
    tree.append(b"no newline");
    let (log, follow) = (
        tree.open_with("log", Access::ReadAppend),
        tree.open("follow"),
    );
    let size = || tree.fs.getattr(tree.ino("log"), None).unwrap().size;
    assert_eq!(
        tree.write(log, b"one\ntwo\nthr", WITH_O_APPEND),
        Answer::Written(11)
    );
    assert_eq!((tree.count(), size()), (3, 19));
    assert_eq!(
        tree.write(log, b"refused\n", PLAIN),
        Answer::Refused(Errno::EPERM)
    );
    assert_eq!(tree.write(log, b"ee\n", WITH_O_APPEND), Answer::Written(3));
    let text = b"no newline\none\ntwo\nthree\n";
    assert_eq!(tree.read(log, 0, 100), Some(data(text)));
    assert_eq!(tree.read(follow, 0, 100), Some(data(text)));
    assert_eq!(
        tree.read(log, 25, 100),
        Some(data(b"")),
        "it ends, and gives no receipts"
    );
    // Open for writing only.
    let log = tree.open_with("log", Access::Append);
    assert_eq!(tree.write(log, b"last", WITH_O_APPEND), Answer::Written(4));
    assert_eq!(tree.read(log, 0, 100), Some(Answer::Refused(Errno::EBADF)));
    tree.fs.release(log);
    assert_eq!((tree.count(), size()), (5, 30));
}

#[test]
fn frames_are_records_and_an_unfinished_one_makes_its_openers_close_fail() {
    let tree = Tree::new();
    let frames = tree.open("append-frames");
    let close = || {
        tree.fs.flush(ME, frames, tree.reply("close"));
        tree.wait().1
    };
    let text = frames_of(&[b"one".to_vec(), vec![], b"three".to_vec()]);
    assert_eq!(tree.write(frames, &text[..13], PLAIN), Answer::Written(13));
    assert_eq!((tree.count(), close()), (1, Answer::Refused(Errno::EINVAL)));
    let other = Caller {
        thread: u32::MAX,
        ..ME
    };
    tree.fs.flush(other, frames, tree.reply("close"));
    assert_eq!(tree.wait().1, Answer::Done, "it is not its opener's");
    // A process that inherited the file may have the rest.
    assert_eq!(
        tree.write(frames, &text[13..], PLAIN),
        Answer::Written(text.len() as u32 - 13)
    );
    assert_eq!((tree.count(), close()), (3, Answer::Done));
    tree.write(frames, b"lost", PLAIN);
    tree.fs.release(frames);
    assert_eq!(tree.count(), 3);
}

#[test]
fn a_write_with_a_bad_size_stores_nothing_and_what_waited_still_waits() {
    let tree = Tree::new();
    let frames = tree.open("append-frames");
    let text = frames_of(&[b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(tree.write(frames, &text[..10], PLAIN), Answer::Written(10));
    let too_large = (64 << 20) + 1i64;
    for (size, errno) in [
        (-1, Errno::EINVAL),
        (i64::MIN, Errno::EINVAL),
        (too_large, Errno::EMSGSIZE),
    ] {
        let bytes = [&text[10..], &size.to_le_bytes()].concat();
        assert_eq!(tree.write(frames, &bytes, PLAIN), Answer::Refused(errno));
        assert_eq!(tree.count(), 0);
    }
    assert_eq!(tree.write(frames, &text[10..], PLAIN), Answer::Written(12));
    assert_eq!(
        tree.read(tree.open("log"), 0, 100),
        Some(data(b"one\ntwo\n"))
    );
    tree.fs.flush(ME, frames, tree.reply("close"));
    assert_eq!(tree.wait().1, Answer::Done);
}

#[test]
fn an_append_file_gives_back_where_its_records_are_whatever_others_append_meanwhile() {
    let tree = Tree::new();
    let open = |name| tree.open_with(name, Access::ReadWrite);
    let (append, lines, frames) = (open("append"), open("append-lines"), open("append-frames"));
    tree.append(b"0: of somebody else");
    let readable = |fh| tree.fs.poll(fh, None).unwrap().readable;
    assert!(!readable(append));
    assert_eq!(
        tree.read(append, 0, 100),
        Some(data(b"")),
        "it does not wait"
    );
    tree.write(append, b"1", PLAIN);
    tree.append(b"2");
    tree.write(lines, b"3\n4\n5", PLAIN);
    tree.write(append, b"5", PLAIN);
    tree.write(append, b"6", PLAIN);
    tree.write(frames, &frames_of(&[vec![], vec![7; 300]]), PLAIN);
    tree.write(lines, b"later\n", PLAIN);
    // The size field of record 0 is at 8; a record is 8 bytes and its payload.
    assert_eq!(
        tree.read(append, 0, 100),
        Some(data(b"1 35 1\n5 73 1\n6 82 1\n"))
    );
    assert_eq!(tree.read(append, 0, 100), Some(data(b"")));
    assert_eq!(
        tree.read(lines, 7, 100),
        Some(data(b"3 53 2\n4 63 2\n9 407 7\n")),
        "offsets are nothing"
    );
    let mut read = Vec::new();
    while readable(frames) {
        match tree.read(frames, 0, 1) {
            Some(Answer::Data(byte)) => read.extend(byte),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read, b"7 91 0\n8 99 300\n", "byte by byte");
    for name in ["append", "append-lines", "append-frames"] {
        let only_written = tree.open(name);
        tree.write(only_written, b"\0\0\0\0\0\0\0\0", PLAIN);
        assert_eq!(
            tree.read(only_written, 0, 9),
            Some(Answer::Refused(Errno::EBADF))
        );
    }
}

#[test]
fn a_receipt_is_there_when_its_write_has_been_answered_and_not_before() {
    for mode in [PLAIN, DURABLE] {
        let tree = Tree::with(Sync::Always);
        let append = tree.open_with("append", Access::ReadWrite);
        for n in 0..20 {
            assert_eq!(tree.write(append, b"x", mode), Answer::Written(1));
            let line = format!("{n} {} 1\n", 8 + 9 * n);
            assert_eq!(tree.read(append, 0, 100), Some(data(line.as_bytes())));
        }
    }
}

#[test]
fn who_polls_for_a_receipt_is_woken_by_a_write_through_the_same_open_file() {
    let tree = Tree::new();
    let append = tree.open_with("append", Access::ReadWrite);
    let state = tree.fs.poll(append, Some(tree.reply("poller"))).unwrap();
    assert!(!state.readable && state.writable);
    tree.append(b"of somebody else");
    tree.fs.write(
        tree.open("append"),
        b"another open file",
        PLAIN,
        tree.reply("writer"),
    );
    assert_eq!(tree.next(), Some(("writer", Answer::Written(17))));
    assert_eq!(tree.next(), None);
    tree.fs.write(append, b"x", PLAIN, tree.reply("writer"));
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("poller", Answer::Woken)));
    assert!(tree.fs.poll(append, None).unwrap().readable);
}

/// The kernel fills its page cache for a mapping or `splice(2)`, reads ahead, and may read again.
#[test]
fn receipts_are_not_read_for_the_page_cache() {
    let tree = Tree::new();
    let append = tree.open_with("append", Access::ReadWrite);
    tree.write(append, b"x", PLAIN);
    let for_page_cache = ReadMode {
        nonblock: false,
        for_page_cache: true,
    };
    tree.fs
        .read(append, 2, 0, 4096, for_page_cache, tree.reply("kernel"));
    assert_eq!(
        tree.next(),
        Some(("kernel", Answer::Refused(Errno::EINVAL)))
    );
    assert_eq!(tree.read(append, 0, 100), Some(data(b"0 8 1\n")));
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The lines of JSON of a log, made the simple way.
fn json_of(tree: &Tree, records: &[Vec<u8>]) -> Vec<u8> {
    let log = tree.storage.log("ns").unwrap();
    let mut lines = String::new();
    for (n, payload) in records.iter().enumerate() {
        let entry = log.entry(immuta::RecordNo(n as u64)).unwrap();
        let time = humantime::format_rfc3339_nanos(entry.time.unwrap());
        let (index, size) = (entry.index, payload.len());
        lines += &format!(r#"{{"record":{n},"index":{index},"time":"{time}","size":{size},"#);
        match std::str::from_utf8(payload) {
            Ok(text) => {
                lines += r#""text":""#;
                for c in text.chars() {
                    match c {
                        '"' | '\\' => lines.extend(['\\', c]),
                        '\n' => lines += "\\n",
                        '\r' => lines += "\\r",
                        '\t' => lines += "\\t",
                        '\u{8}' => lines += "\\b",
                        '\u{c}' => lines += "\\f",
                        c if c < ' ' => lines += &format!("\\u{:04x}", c as u32),
                        c => lines.push(c),
                    }
                }
            }
            Err(_) => {
                lines += r#""base64":""#;
                for group in payload.chunks(3) {
                    let bits = (0..3).fold(0, |bits, i| {
                        bits << 8 | usize::from(*group.get(i).unwrap_or(&0))
                    });
                    for digit in 0..4 {
                        lines.push(match digit > group.len() {
                            true => '=',
                            false => char::from(BASE64[bits >> (18 - 6 * digit) & 63]),
                        });
                    }
                }
            }
        }
        lines += "\"}\n";
    }
    lines.into_bytes()
}

/// Appends records until their lines are so long at least. Returns the lines.
fn append_json(tree: &Tree, record: &[u8], bytes: usize) -> Vec<u8> {
    let mut records = Vec::new();
    let mut length = 0;
    while length < bytes {
        tree.append(record);
        records.push(record.to_vec());
        length += json_of(tree, &records[..1]).len() - 1;
    }
    json_of(tree, &records)
}

#[test]
fn who_reads_lines_of_json_at_their_end_waits_or_is_told_as_in_follow() {
    let tree = Tree::new();
    let (follow, log, append) = (
        tree.open("follow.jsonl"),
        tree.open("log.jsonl"),
        tree.open("append"),
    );
    tree.fs.read(follow, 2, 0, 1000, WAIT, tree.reply("first"));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1));
    assert_eq!(tree.read(log, 0, 100), Some(data(b"")), "it ends");
    tree.fs.write(append, b"a", PLAIN, tree.reply("writer"));
    let line = json_of(&tree, &[b"a".to_vec()]);
    let end = line.len() as u64;
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("first", data(&line))));
    assert_eq!(tree.read(log, 0, 1000), Some(data(&line)));
    assert_eq!(tree.read(log, end, 1000), Some(data(b"")));
    let again = Some(Answer::Refused(Errno::EAGAIN));
    assert_eq!(tree.read(follow, end, 1000), again);
    assert!(!tree.fs.poll(follow, None).unwrap().readable);
    assert!(tree.fs.poll(log, None).unwrap().readable);

    let asked = tree.open("follow.jsonl");
    let attr = tree.fs.getattr(tree.ino("follow.jsonl"), Some(asked));
    assert_eq!(attr.unwrap().size, end);
    assert_eq!(tree.read(asked, end, 1000), Some(data(b"")));

    // Beyond the end: for that byte, however many lines that takes.
    tree.fs
        .read(follow, 4, end + 150, 9, WAIT, tree.reply("beyond"));
    tree.fs.read(follow, 6, end, 1000, WAIT, tree.reply("at"));
    tree.fs.write(append, b"b", PLAIN, tree.reply("writer"));
    let both = json_of(&tree, &[b"a".to_vec(), b"b".to_vec()]);
    assert!(both.len() < line.len() + 150);
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    assert_eq!(tree.next(), Some(("at", data(&both[line.len()..]))));
    assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1));
    tree.fs.write(append, b"c", PLAIN, tree.reply("writer"));
    let all = json_of(&tree, &[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
    let beyond = &all[line.len() + 150..][..9];
    assert_eq!(tree.next(), Some(("beyond", data(beyond))));

    let end = all.len() as u64;
    tree.fs
        .read(follow, 8, end, 9, WAIT, tree.reply("interrupted"));
    tree.fs.interrupt(8);
    assert_eq!(
        tree.next(),
        Some(("interrupted", Answer::Refused(Errno::EINTR)))
    );
    tree.fs
        .read(follow, 10, end, 9, WAIT, tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.next(), Some(("unmounted", data(b""))));
}

#[test]
fn followers_of_lines_of_json_at_one_place_read_on_each_by_itself() {
    let tree = Tree::new();
    let append = tree.open("append");
    let readers: Vec<u64> = (0..3).map(|_| tree.open("follow.jsonl")).collect();
    let mut at = 0;
    for n in 0..3u8 {
        for (i, reader) in readers.iter().enumerate() {
            let unique = u64::from(n) * 10 + i as u64;
            tree.fs
                .read(*reader, unique, at, 500, WAIT, tree.reply("reader"));
        }
        tree.fs
            .write(append, &[b'a' + n], PLAIN, tree.reply("writer"));
        let records: Vec<Vec<u8>> = (0..=n).map(|n| vec![b'a' + n]).collect();
        let lines = json_of(&tree, &records);
        assert_eq!(tree.next(), Some(("writer", Answer::Written(1))));
        for _ in &readers {
            assert_eq!(tree.next(), Some(("reader", data(&lines[at as usize..]))));
        }
        at = lines.len() as u64;
    }
}

#[test]
fn whoever_waits_for_a_line_of_json_gets_end_of_file_when_the_namespace_is_removed() {
    let tree = Tree::new();
    let follow = tree.open("follow.jsonl");
    tree.fs.read(follow, 2, 0, 9, WAIT, tree.reply("at"));
    tree.fs.read(follow, 4, 99, 9, WAIT, tree.reply("beyond"));
    tree.fs.rmdir(ROOT, "ns").unwrap();
    assert_eq!(tree.next(), Some(("at", data(b""))));
    assert_eq!(tree.next(), Some(("beyond", data(b""))));
    assert_eq!(
        tree.read(follow, 0, 9),
        Some(data(b"")),
        "and it stays the end"
    );
}

#[test]
fn the_lines_of_json_end_in_eio_where_a_record_is_damaged() {
    let tree = Tree::new();
    for record in [&b"one"[..], b"two", b"three"] {
        tree.append(record);
    }
    let log = tree.directory.path().join("ns.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[8 + 8 + 3 + 8] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let line = json_of(&tree, &[b"one".to_vec()]);
    let end = line.len() as u64;
    let eio = Some(Answer::Refused(Errno::EIO));
    for name in ["log.jsonl", "follow.jsonl"] {
        let file = tree.open(name);
        assert_eq!(tree.read(file, 0, 1000), Some(data(&line)), "{name}");
        assert!(tree.fs.poll(file, None).unwrap().readable);
        assert_eq!(tree.read(file, end, 1000), eio, "{name}");
        assert_eq!(tree.read(file, end + 500, 1000), eio, "{name}");
        let ino = tree.ino(name);
        assert_eq!(tree.fs.getattr(ino, None).unwrap().size, end);
        // What lies behind is not known, so neither is the end.
        let asked = tree.fs.getattr(ino, Some(file));
        assert_eq!(asked.map(|attr| attr.size), Err(Errno::EINVAL));
    }
}

#[test]
fn the_size_of_the_lines_is_exact_or_not_known_and_never_goes_back_while_somebody_follows() {
    const MIB: usize = 1 << 20;
    let tree = Tree::new();
    let size = |name: &str| tree.fs.getattr(tree.ino(name), None).unwrap();
    assert_eq!(
        (size("log.jsonl").size, size("log.jsonl").endless),
        (0, false)
    );
    let some = append_json(&tree, &[b'x'; 1000], MIB / 2);
    assert_eq!(size("log.jsonl").size, some.len() as u64);
    // More than is measured for who only looks, and then more than for who has it open.
    let mut records = vec![vec![b'x'; 1000]; tree.count() as usize];
    for _ in 0..2 {
        records.push(vec![b'y'; MIB]);
        tree.append(&records[records.len() - 1]);
    }
    let look = size("log.jsonl");
    assert_eq!((look.size, look.endless), (0, true));
    let seek = |whence| tree.fs.seek_data_or_hole(look.ino, 0, whence);
    assert_eq!(seek(libc::SEEK_DATA), Err(Errno::EINVAL));
    let file = tree.open("follow.jsonl");
    let lines = json_of(&tree, &records);
    assert_eq!(size("log.jsonl").size, lines.len() as u64);
    tree.fs.release(file);
    assert_eq!(
        size("log.jsonl").size,
        lines.len() as u64,
        "and it stays known"
    );

    for _ in 0..40 {
        records.push(vec![b'z'; MIB]);
        tree.append(&records[records.len() - 1]);
    }
    let lines = json_of(&tree, &records);
    let file = tree.open("log.jsonl");
    assert!(size("log.jsonl").endless);
    let ino = tree.ino("log.jsonl");
    let asked = tree.fs.getattr(ino, Some(file));
    assert_eq!(asked.map(|attr| attr.size), Err(Errno::EINVAL));
    // From now on it follows: each look brings the size closer to the end, and no read is beyond it.
    let at = lines.len() as u64 / 2 + 77;
    assert_eq!(tree.read(file, 0, 1000), Some(data(&lines[..1000])));
    let far = tree.open("log.jsonl");
    tree.fs.read(far, 2, at, 1000, WAIT, tree.reply("far"));
    assert_eq!(tree.wait(), ("far", data(&lines[at as usize..][..1000])));
    let mut last = at + 1000;
    while last < lines.len() as u64 {
        let look = size("log.jsonl");
        assert!(last <= look.size && !look.endless, "{last} {look:?}");
        assert!(last < look.size || look.size == lines.len() as u64);
        last = look.size;
    }
    let end = tree.fs.getattr(ino, Some(file)).unwrap().size;
    assert_eq!(end, lines.len() as u64);
}

#[test]
fn a_read_far_behind_what_is_known_of_the_lines_waits_without_holding_up_others() {
    const FAR: u64 = 9 << 20;
    let tree = Tree::new();
    let lines = append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    let far = tree.open("log.jsonl");
    let (beyond, at) = (lines.len() as u64 + 5, FAR as usize);
    tree.fs.read(far, 2, FAR, 100, NOW, tree.reply("far"));
    tree.fs.read(far, 4, beyond, 100, NOW, tree.reply("beyond"));
    let mut answers = [tree.wait(), tree.wait()];
    answers.sort_by_key(|(who, _)| *who);
    let expected = data(&lines[at..at + 100]);
    assert_eq!(answers, [("beyond", data(b"")), ("far", expected)]);

    // Where a record is damaged, what is behind it cannot be found.
    let tree = Tree::new();
    append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    let log = tree.directory.path().join("ns.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let file = tree.open("follow.jsonl");
    tree.fs.read(file, 2, FAR, 100, WAIT, tree.reply("far"));
    assert_eq!(tree.wait(), ("far", Answer::Refused(Errno::EIO)));

    // While it waits, which here is as long as the gate is closed.
    let disk = GatedDisk::default();
    let gate = disk.0.clone();
    let tree = Tree::on(Arc::new(disk), Sync::Never);
    let lines = append_json(&tree, &[1; 50_000], FAR as usize + 2_000_000);
    let (file, append) = (tree.open("log.jsonl"), tree.open("append"));
    gate.before_reads.store(true, Ordering::SeqCst);
    let interrupted = ("far", Answer::Refused(Errno::EINTR));
    tree.fs.interrupt(2);
    tree.fs.read(file, 2, FAR, 100, WAIT, tree.reply("far"));
    assert_eq!(
        tree.next(),
        Some(interrupted.clone()),
        "a signal was faster"
    );
    tree.fs.read(file, 4, FAR, 100, WAIT, tree.reply("far"));
    gate.wait_until_reached();
    assert_eq!(tree.write(append, b"meanwhile", PLAIN), Answer::Written(9));
    tree.fs.interrupt(4);
    assert_eq!(tree.next(), Some(interrupted.clone()));
    tree.fs.limit_waits(Duration::from_millis(20)).unwrap();
    tree.fs.read(file, 6, FAR, 100, WAIT, tree.reply("far"));
    assert_eq!(tree.wait(), interrupted, "as long as a read may wait");
    gate.before_reads.store(false, Ordering::SeqCst);
    gate.open();
    let far = std::iter::from_fn(|| {
        tree.fs.read(file, 8, FAR, 100, WAIT, tree.reply("far"));
        Some(tree.wait())
    });
    let expected = data(&lines[at..at + 100]);
    let mut far = far.filter(|answer| *answer != interrupted);
    assert_eq!(
        far.next(),
        Some(("far", expected)),
        "however often it has to ask"
    );

    let tree = Tree::new();
    append_json(&tree, &[1; 100_000], FAR as usize + 2_000_000);
    let file = tree.open("log.jsonl");
    tree.fs.close();
    tree.fs.read(file, 4, FAR, 100, WAIT, tree.reply("late"));
    assert_eq!(tree.wait(), ("late", Answer::Refused(Errno::EIO)));
}

#[test]
fn what_has_no_sure_size_is_not_read_for_the_page_cache() {
    let tree = Tree::new();
    tree.append(b"x");
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let status = tree.fs.lookup(about, "status").unwrap().ino;
    let files = [
        tree.open("log.jsonl"),
        tree.open("follow.jsonl"),
        tree.open("stats"),
        tree.fs.open(ME, status, Access::Read).unwrap().fh,
    ];
    for file in files {
        let mode = ReadMode {
            for_page_cache: true,
            ..NOW
        };
        tree.fs.read(file, 2, 0, 100, mode, tree.reply("sendfile"));
        assert_eq!(
            tree.next(),
            Some(("sendfile", Answer::Refused(Errno::EINVAL)))
        );
        assert!(matches!(tree.read(file, 0, 100), Some(Answer::Data(d)) if !d.is_empty()));
    }
}

#[test]
fn a_status_is_that_of_its_opening_and_an_open_file_as_any_other() {
    let tree = Tree::new();
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let ino = tree.fs.lookup(about, "status").unwrap().ino;
    let file = tree.fs.open(ME, ino, Access::Read).unwrap().fh;
    let Some(Answer::Data(before)) = tree.read(file, 0, 10_000) else {
        panic!("no status");
    };
    tree.append(b"x");
    assert_eq!(tree.read(file, 0, 10_000), Some(data(&before)));
    let middle = before.len() as u64 / 2;
    let rest = data(&before[before.len() / 2..]);
    assert_eq!(tree.read(file, middle, 10_000), Some(rest));
    assert_eq!(tree.read(file, u64::MAX, 10), Some(data(b"")));
    assert!(tree.fs.poll(file, None).unwrap().readable);
    tree.fs.fsync(file, tree.reply("fsync"));
    assert_eq!(tree.next(), Some(("fsync", Answer::Done)));
    tree.fs.flush(ME, file, tree.reply("flush"));
    assert_eq!(tree.next(), Some(("flush", Answer::Done)));
    let written = tree.write(file, b"x", PLAIN);
    assert_eq!(written, Answer::Refused(Errno::EBADF));
    tree.fs.release(file);
    assert_eq!(tree.read(file, 0, 1), Some(Answer::Refused(Errno::EBADF)));
    for access in [Access::Write, Access::ReadWrite, Access::ReadTruncate] {
        let opened = tree.fs.open(ME, ino, access).map(|_| ());
        assert_eq!(opened, Err(Errno::EACCES));
    }
}

#[test]
fn an_attribute_is_given_whole_or_not_at_all() {
    let tree = Tree::new();
    tree.append(b"one");
    tree.append(b"two");
    let (record, next) = (tree.ino("1"), tree.ino("2"));
    let get = |ino, name: &str, size| tree.fs.getxattr(ino, name.as_bytes(), size);
    let index = "user.immuta.index";
    assert_eq!(get(record, index, 0), Ok(XattrReply::Size(2)));
    assert_eq!(get(record, index, 1), Err(Errno::ERANGE));
    assert_eq!(get(record, index, 2), Ok(XattrReply::Data(b"19".to_vec())));
    assert_eq!(get(next, index, 9), Err(Errno::ENODATA));
    let names = "user.immuta.record\0user.immuta.index\0";
    let list = |ino, size| tree.fs.listxattr(ino, size);
    assert_eq!(list(record, 0), Ok(XattrReply::Size(names.len() as u32)));
    assert_eq!(list(record, names.len() as u32 - 1), Err(Errno::ERANGE));
    assert_eq!(list(record, 99), Ok(XattrReply::Data(names.into())));
    assert_eq!(
        list(next, 99),
        Ok(XattrReply::Data(b"user.immuta.record\0".to_vec()))
    );
    assert_eq!(
        list(tree.ino("append"), 99),
        Ok(XattrReply::Data(Vec::new()))
    );
    assert_eq!(get(record, "user.immuta.count", 9), Err(Errno::ENODATA));
    assert_eq!(get(record, "security.selinux", 9), Err(Errno::EOPNOTSUPP));
}

fn frames_of(records: &[Vec<u8>]) -> Vec<u8> {
    let frame = |r: &Vec<u8>| [&(r.len() as u64).to_le_bytes()[..], r].concat();
    records.iter().flat_map(frame).collect()
}

fn text_of(records: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records {
        text.extend_from_slice(record);
        if record.last() != Some(&b'\n') {
            text.push(b'\n');
        }
    }
    text
}

fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let small = proptest::collection::vec(prop_oneof![2 => any::<u8>(), 1 => Just(b'\n')], 0..40);
    // Above the engine's limit for a run, read in pieces.
    let large = (
        1usize << 20..(1 << 20) + 9,
        prop_oneof![Just(b'\n'), Just(b'x')],
    )
        .prop_map(|(size, last)| {
            let mut record: Vec<u8> = (0..size).map(|i| i as u8).collect();
            record[size - 1] = last;
            record
        });
    proptest::collection::vec(prop_oneof![20 => small, 1 => large], 0..60)
}

/// Texts and what is none, of sizes that are read in one piece and in many.
fn json_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = "[\\PC\\x00-\\x1f\"\\\\]{0,40}".prop_map(String::into_bytes);
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let size = prop_oneof![4 => 60_000usize..400_000, 1 => (1usize << 20)..(1 << 20) + 99];
    let long = (size, any::<bool>()).prop_map(|(size, is_text)| {
        let pattern = "plain text of some length, then \"é\u{1}\n\\";
        let mut record = pattern.as_bytes().repeat(size / pattern.len() + 1);
        if !is_text {
            record.truncate(size);
            record.push(0xff);
        }
        record
    });
    proptest::collection::vec(prop_oneof![20 => text, 10 => bytes, 3 => long], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_and_frames_are_the_records_wherever_they_are_read(
        records in records(),
        from in any::<prop::sample::Index>(),
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 1u32..300_000), 1..30),
    ) {
        let tree = Tree::new();
        for record in &records {
            tree.append(record);
        }
        for (name, bytes) in [("log", text_of(&records)), ("frames", frames_of(&records))] {
            prop_assert_eq!(tree.fs.getattr(tree.ino(name), None).unwrap().size, bytes.len() as u64);
            let file = tree.open(name);
            // Here and there, and each time a piece further on.
            for (at, size) in &reads {
                let mut at = at.index(bytes.len() + 1);
                for _ in 0..3 {
                    let expected = &bytes[at..bytes.len().min(at + *size as usize)];
                    prop_assert_eq!(tree.read(file, at as u64, *size), Some(data(expected)));
                    at += expected.len();
                }
            }
        }
        let from = from.index(records.len() + 1);
        let file = open_start(&tree, "from", &from.to_string());
        let text = text_of(&records[from..]);
        if !text.is_empty() {
            prop_assert_eq!(tree.read(file, 0, u32::MAX), Some(data(&text)));
            let middle = text.len() / 2;
            prop_assert_eq!(tree.read(file, middle as u64, u32::MAX), Some(data(&text[middle..])));
        }
        for (n, record) in records.iter().enumerate() {
            let fh = tree.open(&n.to_string());
            prop_assert_eq!(tree.read(fh, 0, 2 << 20), Some(data(record)));
            prop_assert_eq!(tree.read(fh, record.len() as u64, 10), Some(data(b"")));
        }
    }

    #[test]
    fn lines_of_json_are_the_records_wherever_they_are_read(
        records in json_records(),
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 1u32..300_000), 1..20),
    ) {
        let tree = Tree::new();
        for record in &records {
            tree.append(record);
        }
        let lines = json_of(&tree, &records);
        // Here and there at first, so that places are found that nobody has been at.
        for file in [tree.open("log.jsonl"), tree.open("follow.jsonl")] {
            for (at, size) in &reads {
                let mut at = at.index(lines.len());
                for _ in 0..3 {
                    let expected = &lines[at..lines.len().min(at + *size as usize)];
                    if !expected.is_empty() {
                        prop_assert_eq!(tree.read(file, at as u64, *size), Some(data(expected)));
                    }
                    at += expected.len();
                }
            }
        }
        prop_assert_eq!(tree.fs.getattr(tree.ino("log.jsonl"), None).unwrap().size, lines.len() as u64);
        let (file, mut read) = (tree.open("log.jsonl"), Vec::new());
        while let Some(Answer::Data(piece)) = tree.read(file, read.len() as u64, 10_007) {
            if piece.is_empty() {
                break;
            }
            read.extend(piece);
        }
        prop_assert!(read == lines);
    }

    #[test]
    fn no_number_from_the_kernel_makes_it_panic(
        calls in proptest::collection::vec((0u8..17, any::<u64>(), any::<u64>(), any::<u64>(), ".{0,9}"), 1..200),
    ) {
        let tree = Tree::new();
        tree.append(b"x\ny");
        let ns = tree.fs.lookup(ROOT, "ns").unwrap().ino;
        for (call, a, b, c, name) in calls {
            // Numbers near those that exist, and any.
            let ino = match a % 5 {
                0 => a,
                1 => a % 8,
                _ => ns + a % 600,
            };
            let fh = if b % 2 == 0 { b % 40 } else { b };
            let fs = &tree.fs;
            match call {
                0 => drop(fs.lookup(ino, &name)),
                1 => drop(fs.getattr(ino, Some(fh))),
                2 => {
                    let mode = (c % 3 == 0).then_some(a as u16);
                    let uid = (c % 5 == 0).then_some(a as u32);
                    let gid = (b % 5 == 0).then_some(c as u32);
                    let size = (b % 2 == 0).then_some(c);
                    let change = SetAttr { mode, uid, gid, size, times: c % 2 == 0, fh: Some(fh) };
                    fs.setattr(ME, ino, change, tree.reply("setattr"));
                }
                3 => drop(fs.mkdir(ME, ino, &name, c as u16)),
                4 => drop(fs.rmdir(ino, &name)),
                5 => drop(fs.opendir(ino)),
                6 => drop(fs.readdir(ino, fh, c, |entry| entry.next_offset % 7 == 0)),
                7 => drop(fs.open(me(), ino, ACCESSES[c as usize % ACCESSES.len()])),
                8 => fs.read(fh, a, c, b as u32, ReadMode { nonblock: c % 2 == 0, for_page_cache: c % 3 == 0 }, tree.reply("read")),
                9 => fs.write(fh, name.as_bytes(), WriteMode { durable: c % 2 == 0, append: c % 3 == 0 }, tree.reply("write")),
                10 => fs.flush(me(), fh, tree.reply("flush")),
                11 => fs.release(fh),
                12 => drop(fs.poll(fh, None)),
                13 => fs.forget(ino, c),
                14 => drop(fs.getxattr(ino, format!("user.{name}").as_bytes(), c as u32)),
                15 => drop(fs.listxattr(ino, c as u32)),
                _ => fs.interrupt(a),
            }
        }
        tree.fs.close();
        prop_assert_eq!(tree.fs.parked_reads(), 0);
    }
}

/// This thread, as the kernel names it.
fn me() -> Caller {
    Caller {
        thread: gettid().as_raw() as u32,
        ..ME
    }
}

/// More than is kept in memory.
const LARGE: usize = 300 << 10;

impl Tree {
    fn open_by(&self, caller: Caller, name: &str) -> u64 {
        let ino = self.ino(name);
        self.fs.open(caller, ino, Access::Write).unwrap().fh
    }

    /// Closes a descriptor on behalf of a process, and takes the answer.
    fn close(&self, caller: Caller, fh: u64) -> Answer {
        self.fs.flush(caller, fh, self.reply("close"));
        self.wait().1
    }

    fn record(&self, n: u64) -> Vec<u8> {
        match self.read(self.open(&n.to_string()), 0, u32::MAX) {
            Some(Answer::Data(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }
}

fn written(bytes: &[u8]) -> Answer {
    Answer::Written(bytes.len() as u32)
}

#[test]
fn what_is_written_between_open_and_close_is_one_record_small_or_large() {
    for sync in [Sync::Never, Sync::Always] {
        let tree = Tree::with(sync);
        for (n, bytes) in [3, LARGE].into_iter().enumerate() {
            let fh = tree.open_by(me(), "append-file");
            let piece = vec![b'a' + n as u8; bytes];
            for _ in 0..3 {
                assert_eq!(tree.write(fh, &piece, PLAIN), written(&piece));
            }
            assert_eq!(tree.count(), n as u64);
            assert_eq!(tree.close(me(), fh), Answer::Done);
            assert_eq!(tree.count(), 1 + n as u64);
            assert!(tree.record(n as u64) == piece.repeat(3));
            // Whoever still has it.
            assert_eq!(
                tree.write(fh, b"late", PLAIN),
                Answer::Refused(Errno::EBADF)
            );
            assert_eq!(tree.close(me(), fh), Answer::Done);
            tree.fs.release(fh);
        }
        let empty = tree.open_by(me(), "append-file");
        assert_eq!(tree.close(me(), empty), Answer::Done);
        tree.fs.release(empty);
        tree.fs.end_spools();
        assert_eq!(tree.count(), 2);
    }
}

#[test]
fn nobody_opens_a_file_whose_fate_could_not_be_seen() {
    let tree = Tree::new();
    let opened = tree.fs.open(ME, tree.ino("append-file"), Access::Write);
    assert_eq!(opened.map(|_| ()), Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_file_gives_back_where_its_record_is_once_it_is_stored() {
    for bytes in [3, LARGE] {
        let tree = Tree::new();
        tree.append(b"before");
        let ino = tree.ino("append-file");
        let fh = tree.fs.open(me(), ino, Access::ReadWrite).unwrap().fh;
        tree.write(fh, &vec![b'x'; bytes], PLAIN);
        assert_eq!(tree.read(fh, 0, 100), Some(data(b"")));
        assert_eq!(tree.close(me(), fh), Answer::Done);
        // The index of the record behind a header of 8 bytes, a size of 8 and 6 bytes.
        let line = format!("1 22 {bytes}\n");
        assert_eq!(tree.read(fh, 0, 100), Some(data(line.as_bytes())));
    }
}

/// A process, and how it is known to the file system.
struct Process(Child);

impl Process {
    fn start() -> Process {
        Process(
            Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn caller(&self) -> Caller {
        Caller {
            thread: self.0.id(),
            ..ME
        }
    }

    /// Ends it, by a signal or by itself, as far as it ends before somebody has looked how.
    fn end(&mut self, signal: Option<Signal>) {
        match signal {
            Some(signal) => kill(Pid::from_raw(self.0.id() as i32), signal).unwrap(),
            None => drop(self.0.stdin.take()),
        }
        let id = Id::Pid(Pid::from_raw(self.0.id() as i32));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_is_stored_by_its_openers_end_unless_that_was_killed() {
    let cancelled = Answer::Refused(Errno::ECANCELED);
    for bytes in [1, LARGE] {
        for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGTERM)] {
            let tree = Tree::new();
            let (mut opener, mut heir) = (Process::start(), Process::start());
            let fh = tree.open_by(opener.caller(), "append-file");
            tree.write(fh, &vec![b'a'; bytes], PLAIN);
            // Somebody who has inherited it is killed: the opener goes on.
            heir.end(Some(Signal::SIGKILL));
            assert_eq!(tree.close(heir.caller(), fh), Answer::Done);
            assert_eq!(tree.write(fh, b"b", PLAIN), Answer::Written(1));
            opener.end(signal);
            let answer = tree.close(opener.caller(), fh);
            if signal.is_none() {
                assert_eq!((answer, tree.count()), (Answer::Done, 1));
                assert_eq!(tree.record(0).len(), bytes + 1);
                continue;
            }
            assert_eq!(answer, cancelled);
            // Whoever has it still: what it writes would be a part of something.
            assert_eq!(tree.write(fh, b"c", PLAIN), cancelled);
            tree.fs.fsync(fh, tree.reply("fsync"));
            assert_eq!(tree.wait(), ("fsync", cancelled.clone()));
            assert_eq!(tree.close(me(), fh), cancelled);
            tree.fs.release(fh);
            tree.fs.end_spools();
            assert_eq!(tree.count(), 0);
        }
    }
}

#[test]
fn a_file_that_was_handed_on_is_stored_at_the_last_close_unless_who_has_it_was_killed() {
    for signal in [None, Some(Signal::SIGKILL)] {
        let tree = Tree::new();
        let mut heir = Process::start();
        let fh = tree.open_by(me(), "append-file");
        assert_eq!(tree.close(me(), fh), Answer::Done);
        assert_eq!(tree.write(fh, b"by the heir", PLAIN), Answer::Written(11));
        assert_eq!(tree.close(heir.caller(), fh), Answer::Done);
        assert_eq!(tree.count(), 0, "it may have another descriptor");
        heir.end(signal);
        let answer = tree.close(heir.caller(), fh);
        tree.fs.release(fh);
        tree.fs.end_spools();
        match signal {
            None => assert_eq!((answer, tree.count()), (Answer::Done, 1)),
            Some(_) => {
                assert_eq!(answer, Answer::Refused(Errno::ECANCELED));
                assert_eq!(tree.count(), 0);
            }
        }
    }
}

#[test]
fn after_a_refused_change_of_its_size_nothing_of_a_file_is_stored() {
    let tree = Tree::new();
    let fh = tree.open_by(me(), "append-file");
    let resize = |size| {
        let change = SetAttr {
            size: Some(size),
            fh: Some(fh),
            ..SetAttr::default()
        };
        let ino = tree.ino("append-file");
        tree.fs.setattr(me(), ino, change, tree.reply("resize"));
        match tree.wait().1 {
            Answer::Refused(errno) => Err(errno),
            _ => Ok(()),
        }
    };
    assert_eq!(resize(0), Ok(()));
    assert_eq!(tree.write(fh, b"x", PLAIN), Answer::Written(1));
    assert_eq!(resize(7), Err(Errno::EPERM));
    assert_eq!(tree.write(fh, b"y", PLAIN), Answer::Refused(Errno::EPERM));
    assert_eq!(tree.close(me(), fh), Answer::Refused(Errno::EPERM));
    tree.fs.release(fh);
    assert_eq!(tree.count(), 0);
}

/// At the end what was closed is stored, and what was not is given up, also when it is closed afterwards.
#[test]
fn the_end_stores_what_was_closed_and_nothing_else() {
    let tree = Tree::new();
    let (closed, open) = (
        tree.open_by(me(), "append-file"),
        tree.open_by(me(), "append-file"),
    );
    for fh in [closed, open] {
        tree.write(fh, &vec![b'x'; LARGE], PLAIN);
    }
    tree.fs.close();
    tree.fs.flush(me(), closed, tree.reply("closed"));
    tree.fs.end_spools();
    assert_eq!(tree.next(), Some(("closed", Answer::Done)));
    assert_eq!(tree.close(me(), open), Answer::Refused(Errno::ECANCELED));
    tree.fs.release(open);
    tree.fs.end_spools();
    assert_eq!(tree.count(), 1);
}

/// The machine's disk, with a gate before each write of more than [`LARGE`] - 1 bytes, and when it is asked for,
/// before each read that is more than a look.
#[derive(Debug, Default)]
struct GatedDisk(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// Whether somebody waits at it, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
    before_reads: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    fn wait_until_reached(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |(reached, _)| !*reached)
                .unwrap(),
        );
    }

    fn open(&self) {
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
        self.0.sync_data()
    }
}

/// Every call here is made by one thread: if one of them waited, nobody would open the gate.
#[test]
fn while_a_large_record_is_stored_nobody_holds_a_thread_to_wait() {
    for sync in [Sync::Never, Sync::Always] {
        let disk = GatedDisk::default();
        let gate = disk.0.clone();
        let tree = Tree::on(Arc::new(disk), sync);
        let fs = &tree.fs;
        fs.mkdir(ME, ROOT, "other", 0o755).unwrap();
        let other = fs.lookup(ROOT, "other").unwrap().ino;
        let other = fs.lookup(other, "append").unwrap().ino;
        let other = fs.open(ME, other, Access::Write).unwrap().fh;
        let file = tree.open_by(me(), "append-file");
        let (small, open_line, line) = (
            tree.open_by(me(), "append-file"),
            tree.open_by(me(), "append-lines"),
            tree.open_by(me(), "append-lines"),
        );
        let (append, frames) = (tree.open("append"), tree.open("append-frames"));
        let log = tree.open_with("log", Access::Append);
        tree.write(file, &vec![b'L'; LARGE], PLAIN);
        tree.write(small, b"small file", PLAIN);
        tree.write(open_line, b"open line", PLAIN);
        tree.write(line, b"released line", PLAIN);

        fs.flush(me(), file, tree.reply("large"));
        gate.wait_until_reached();
        fs.write(append, b"written", PLAIN, tree.reply("write"));
        fs.write(append, b"O_SYNC", DURABLE, tree.reply("O_SYNC"));
        fs.write(
            frames,
            b"\x05\0\0\0\0\0\0\0frame",
            PLAIN,
            tree.reply("frame"),
        );
        fs.write(log, b"to log\n", WITH_O_APPEND, tree.reply("log"));
        fs.flush(me(), open_line, tree.reply("line"));
        fs.release(line);
        fs.flush(me(), small, tree.reply("small"));
        fs.fsync(append, tree.reply("fsync"));
        assert_eq!(fs.rmdir(ROOT, "ns"), Err(Errno::ENOTEMPTY));
        assert_eq!((tree.next(), tree.count()), (None, 0));
        // Everything else goes on: what is read, what is not closed yet, other namespaces.
        assert_eq!(tree.read(tree.open("count"), 0, 100), Some(data(b"0\n")));
        assert!(matches!(
            tree.read(tree.open("stats"), 0, 1000),
            Some(Answer::Data(_))
        ));
        let next = tree.open_by(me(), "append-file");
        assert_eq!(tree.write(next, b"more", PLAIN), Answer::Written(4));
        assert_eq!(tree.write(other, b"elsewhere", PLAIN), Answer::Written(9));
        fs.fsync(other, tree.reply("elsewhere"));
        assert_eq!(tree.wait(), ("elsewhere", Answer::Done));

        gate.open();
        let answers: Vec<_> = (0..8).map(|_| tree.wait()).collect();
        assert_eq!(answers[0], ("large", Answer::Done));
        for answer in [
            ("write", Answer::Written(7)),
            ("O_SYNC", Answer::Written(6)),
            ("frame", Answer::Written(13)),
            ("log", Answer::Written(7)),
            ("line", Answer::Done),
            ("small", Answer::Done),
            ("fsync", Answer::Done),
        ] {
            assert!(answers.contains(&answer), "{answer:?} in {answers:?}");
        }
        fs.end_spools();
        assert!(tree.record(0) == vec![b'L'; LARGE]);
        let rest = tree.read(open_start(&tree, "from", "1"), 0, 1000);
        assert_eq!(
            rest,
            Some(data(
                b"written\nO_SYNC\nframe\nto log\nopen line\nreleased line\nsmall file\n"
            ))
        );
        // And now nothing is in the way any more.
        assert_eq!(tree.write(append, b"directly", PLAIN), Answer::Written(8));
        assert_eq!(tree.count(), 9);
    }
}
