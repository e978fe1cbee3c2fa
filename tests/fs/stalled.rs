//! While a disk stands still: who waits for it, and who does not.

use std::sync::Arc;
use std::time::Duration;

use immuta::Durability;
use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, Asked, Caller};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::stall::{StallingDisk, Threads};
use crate::transport::{Answer, ME, NOW, PLAIN, ROOT, Tree, WAIT, data, me, request, written};

const NAMESPACES: usize = 16;

/// Those beside `ns`.
fn names() -> Vec<String> {
    (0..NAMESPACES).map(|n| format!("n{n}")).collect()
}

fn open(tree: &Tree, namespace: &str, file: &str, access: Access) -> u64 {
    open_by(ME, tree, namespace, file, access)
}

fn open_by(caller: Caller, tree: &Tree, namespace: &str, file: &str, access: Access) -> u64 {
    let namespace = tree.fs.lookup(ROOT, namespace).unwrap().ino;
    let ino = tree.fs.lookup(namespace, file).unwrap().ino;
    tree.fs.open(caller, ino, access).unwrap().fh
}

fn asked(unique: u64, thread: u32, ino: u64) -> Asked {
    Asked {
        unique,
        thread,
        ino,
    }
}

/// A mount of these namespaces that six threads serve, and a file of each to append to. Each has a record.
fn stalling(sync: Durability, disk: &StallingDisk) -> (Tree, Vec<u64>) {
    let tree = Tree::on(Arc::new(disk.clone()), sync);
    let mut files = Vec::new();
    for name in names() {
        tree.fs.mkdir(ME, ROOT, &name, 0o755).unwrap();
        files.push(open(&tree, &name, "append", Access::Write));
        tree.write(*files.last().unwrap(), b"first", PLAIN);
    }
    tree.write(tree.open("append"), b"first", PLAIN);
    tree.fs.serve_with(6);
    (tree, files)
}

// > A namespace whose disk stands still, or takes long, holds up the programs that write to it. It does not hold
// > up programs that write to other namespaces or read what is in memory.
#[test]
fn namespaces_whose_disk_stands_still_stop_no_other() {
    for sync in [Durability::Never, Durability::Always] {
        let disk = StallingDisk::default();
        let (tree, files) = stalling(sync, &disk);
        let threads = Threads::new(6);
        disk.stall(&names());
        for round in ["second", "third"] {
            for fh in &files {
                let (fs, fh, reply) = (tree.fs.clone(), *fh, tree.reply("stalled"));
                threads.call(move || fs.write(fh, round.as_bytes(), PLAIN, reply));
            }
            // The second round comes behind the first one.
            disk.wait_for(NAMESPACES);
        }
        // All six threads go on.
        let append = tree.open("append");
        for _ in 0..6 {
            let (fs, reply) = (tree.fs.clone(), tree.reply("free"));
            threads.call(move || fs.write(append, b"free", PLAIN, reply));
            assert_eq!(tree.wait(), ("free", Answer::Written(4)));
        }
        assert_eq!(tree.read(tree.open("count"), 0, 100), Some(data(b"7\n")));
        let stalled = open(&tree, "n3", "count", Access::Read);
        assert_eq!(tree.read(stalled, 0, 100), Some(data(b"1\n")));
        assert_eq!(tree.next(), None);

        disk.go_on();
        for _ in 0..2 * NAMESPACES {
            let (who, answer) = tree.wait();
            assert!(matches!(answer, Answer::Written(5 | 6)), "{answer:?}");
            assert_eq!(who, "stalled");
        }
        for name in names() {
            let log = open(&tree, &name, "log", Access::Read);
            let all = Some(data(b"first\nsecond\nthird\n"));
            assert_eq!(tree.read(log, 0, 100), all, "{name}");
        }
    }
}

/// Every call here is made by one thread: if one of them waited, nobody would have the disk go on.
#[test]
fn what_syncs_the_disk_holds_no_thread_that_serves_the_mount() {
    for sync in [Durability::Never, Durability::Always] {
        let disk = StallingDisk::default();
        let tree = Tree::on(Arc::new(disk.clone()), sync);
        let fs = &tree.fs;
        fs.serve_with(6);
        let lines = tree.open_by(me(), "append-lines");
        let append = tree.open("append");
        disk.stall(&["ns".to_owned()]);
        fs.write(
            append,
            b"the first since it was opened",
            PLAIN,
            tree.reply("first"),
        );
        fs.write(lines, b"a line", PLAIN, tree.reply("line"));
        disk.wait_for(1);
        assert_eq!(tree.next(), None);
        disk.go_on();
        let mut answers = [tree.wait().0, tree.wait().0];
        answers.sort_unstable();
        assert_eq!(answers, ["first", "line"]);

        disk.stall(&["ns".to_owned()]);
        let threads = Threads::new(2);
        let (closed, reply) = (fs.clone(), tree.reply("close"));
        let caller = me();
        threads.call(move || closed.flush(caller, lines, reply));
        disk.wait_for(1);
        fs.fsync(append, tree.reply("fsync"));
        disk.go_on();
        let mut answers = [tree.wait().0, tree.wait().0];
        answers.sort_unstable();
        assert_eq!(answers, ["close", "fsync"]);
        assert_eq!(tree.count(), 2);
    }
}

#[test]
fn a_sync_that_takes_long_holds_up_no_other_namespace() {
    let disk = StallingDisk::default();
    let (tree, files) = stalling(Durability::Never, &disk);
    for fh in &files[..8] {
        tree.write(*fh, b"unsynced", PLAIN);
    }
    disk.stall(&names());
    for fh in &files[..8] {
        tree.fs.fsync(*fh, tree.reply("stalled"));
    }
    disk.wait_for(8);
    let other = tree.open("append");
    tree.write(other, b"other", PLAIN);
    tree.fs.fsync(other, tree.reply("other"));
    assert_eq!(tree.wait(), ("other", Answer::Done));
    disk.go_on();
    for _ in 0..8 {
        assert_eq!(tree.wait(), ("stalled", Answer::Done));
    }
}

/// Every call here is made by one thread. It opened the log's files, and waited for the disk.
#[test]
fn regression_the_files_of_a_log_are_opened_by_no_thread_that_serves_the_mount() {
    let disk = StallingDisk::default();
    let (tree, files) = stalling(Durability::Never, &disk);
    let log = tree.storage.log("n0").unwrap();
    assert!(!log.next_append_syncs());
    disk.stall_closed(&names()[..1]);
    assert!(log.next_append_syncs());
    tree.fs
        .write(files[0], b"second", PLAIN, tree.reply("stalled"));
    disk.wait_for(1);
    assert_eq!(tree.write(files[1], b"other", PLAIN), Answer::Written(5));
    disk.go_on();
    assert_eq!(tree.wait(), ("stalled", Answer::Written(6)));
}

/// Whoever asked how much is on the disk waited for a close that the disk held up.
#[test]
fn regression_the_status_waits_for_no_log_that_is_being_closed() {
    let disk = StallingDisk::default();
    let (tree, _) = stalling(Durability::Never, &disk);
    let threads = Threads::new(2);
    let log = tree.storage.log("n0").unwrap();
    disk.stall_syncs(&names());
    let (storage, closed) = (tree.storage.clone(), tree.reply("close"));
    threads.call(move || {
        storage.close().unwrap();
        closed.done();
    });
    disk.wait_for(1);
    let answer = tree.reply("status");
    threads.call(move || {
        assert_eq!(log.synced(), Some(0));
        assert_eq!(log.unsynced().unwrap().0, 1);
        answer.done();
    });
    assert_eq!(tree.wait(), ("status", Answer::Done));
    disk.go_on();
    assert_eq!(tree.wait(), ("close", Answer::Done));
}

#[test]
fn on_a_full_disk_the_threads_that_serve_the_mount_sync_once() {
    let disk = StallingDisk::default();
    let (tree, files) = stalling(Durability::Never, &disk);
    let log = tree.storage.log("n0").unwrap();
    assert!(!log.next_append_syncs());
    disk.fill(true);
    let full = Answer::Refused(Errno::ENOSPC);
    for _ in 0..3 {
        assert_eq!(tree.write(files[0], b"no room", PLAIN), full);
        assert!(log.next_append_syncs());
    }
    disk.fill(false);
    assert_eq!(tree.write(files[0], b"room", PLAIN), Answer::Written(4));
    assert!(!log.next_append_syncs());
}

/// Every call here is made by one thread: if one of them waited, nobody would have the disk go on.
//
// > Bytes that are not in memory are read from the disk by threads for that purpose: a read that waits for the
// > disk holds up no other call, and a signal ends it.
#[test]
fn a_read_that_waits_for_the_disk_holds_no_thread_that_serves_the_mount() {
    let disk = StallingDisk::default();
    let (tree, _) = stalling(Durability::Never, &disk);
    let fs = &tree.fs;
    let other = tree.open("log");
    let (log, record) = (
        open(&tree, "n0", "log", Access::Read),
        open(&tree, "n0", "0", Access::Read),
    );
    let (json, count) = (
        open(&tree, "n0", "log.jsonl", Access::Read),
        open(&tree, "n0", "count", Access::Read),
    );
    let directory = fs.lookup(ROOT, "n0").unwrap().ino;
    disk.stall_reads(&names());
    fs.read(log, request(1, 0, 100, WAIT), tree.reply("log"));
    fs.read(record, request(2, 0, 100, NOW), tree.reply("record"));
    fs.read(json, request(3, 0, 1000, WAIT), tree.reply("lines"));
    fs.read(log, request(4, 0, 100, WAIT), tree.reply("killed"));
    let reply = tree.reply("lookup");
    fs.ask(
        asked(5, 0, directory),
        move |fs| fs.lookup(directory, "0"),
        |_, _| {},
        move |found| match found {
            Ok(_) => reply.done(),
            Err(errno) => reply.refuse(errno),
        },
    );
    disk.wait_for(5);
    fs.interrupt(4);
    let killed = ("killed", Answer::Refused(Errno::EINTR));
    assert_eq!(tree.next(), Some(killed));
    assert_eq!(tree.read(count, 0, 100), Some(data(b"1\n")));
    assert_eq!(tree.read(other, 0, 100), Some(data(b"first\n")));
    assert_eq!(tree.next(), None);

    disk.go_on();
    for _ in 0..4 {
        match tree.wait() {
            ("log", answer) => assert_eq!(answer, data(b"first\n")),
            ("record", answer) => assert_eq!(answer, data(b"first")),
            ("lines", Answer::Data(line)) => assert!(line.ends_with(b"}\n")),
            (who, answer) => assert_eq!((who, answer), ("lookup", Answer::Done)),
        }
    }
    assert_eq!(tree.next(), None);
}

/// The thread of an append, and the one that answers crowds, read what they had to show to the followers.
#[test]
fn regression_who_answers_followers_waits_for_no_read_of_the_disk() {
    const FOLLOWERS: usize = 10;
    let disk = StallingDisk::default();
    let (tree, files) = stalling(Durability::Never, &disk);
    let other = tree.open("follow");
    for n in 0..FOLLOWERS as u64 {
        let follow = open(&tree, "n0", "follow", Access::Read);
        assert_eq!(tree.read(follow, 0, 100), Some(data(b"first\n")));
        tree.fs
            .read(follow, request(n, 6, 100, WAIT), tree.reply("stalled"));
    }
    disk.stall_only_reads(&names());
    let (fs, fh, reply) = (tree.fs.clone(), files[0], tree.reply("write"));
    let thread = Threads::new(1);
    thread.call(move || fs.write(fh, b"second", PLAIN, reply));
    assert_eq!(tree.wait(), ("write", written(b"second")));
    let reply = tree.reply("next");
    thread.call(move || reply.done());
    assert_eq!(tree.wait(), ("next", Answer::Done));
    let append = tree.open("append");
    for n in 0..FOLLOWERS as u64 {
        let at = 6 + 7 * n;
        tree.fs
            .read(other, request(100 + n, at, 100, WAIT), tree.reply("other"));
        tree.fs.write(append, b"second", PLAIN, tree.reply("write"));
        let mut answers = [tree.wait(), tree.wait()];
        answers.sort_by_key(|&(who, _)| who);
        assert_eq!(
            answers,
            [("other", data(b"second\n")), ("write", written(b"second"))]
        );
    }
    disk.go_on();
    for _ in 0..FOLLOWERS {
        assert_eq!(tree.wait(), ("stalled", data(b"second\n")));
    }
}

/// Of as many threads as there are, one namespace's reads had all.
#[test]
fn regression_a_crowd_that_waits_for_one_disk_leaves_threads_to_who_waits_for_another() {
    let disk = StallingDisk::default();
    let (tree, _) = stalling(Durability::Never, &disk);
    let [log, other] = ["n0", "n1"].map(|name| open(&tree, name, "log", Access::Read));
    let read = |unique, log, who| {
        tree.fs
            .read(log, request(unique, 0, 100, WAIT), tree.reply(who))
    };
    disk.stall_reads(&names());
    for unique in 0..1000 {
        read(unique, log, "stalled");
    }
    disk.wait_for(1);
    read(1000, other, "other");
    disk.go_on_with("n1");
    assert_eq!(tree.wait(), ("other", data(b"first\n")));
    disk.go_on();
    for _ in 0..1000 {
        assert_eq!(tree.wait(), ("stalled", data(b"first\n")));
    }
}

// > With `--max-block` a read that has waited that long is EINTR. Nothing is lost, and nothing comes twice when
// > the program reads again.
#[test]
fn regression_the_limit_of_waits_ends_a_read_that_waits_for_the_disk() {
    let disk = StallingDisk::default();
    let (tree, _) = stalling(Durability::Never, &disk);
    let log = open(&tree, "n0", "log", Access::Read);
    tree.fs.limit_waits(Duration::from_millis(10)).unwrap();
    disk.stall_reads(&names());
    tree.fs
        .read(log, request(1, 0, 100, WAIT), tree.reply("limited"));
    let limited = ("limited", Answer::Refused(Errno::EINTR));
    assert_eq!(tree.wait(), limited);
    disk.go_on();
    assert_eq!(tree.read(log, 0, 100), Some(data(b"first\n")));
}

/// A process that has been killed, and that nobody has waited for.
fn killed() -> std::process::Child {
    let mut child = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    child.kill().unwrap();
    let id = Id::Pid(Pid::from_raw(child.id() as i32));
    waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    child
}

// > A process that is killed while its `stat` or `open` waits for the disk is gone at once. Other signals do not
// > end these calls.
#[test]
fn a_killed_asker_does_not_wait_for_the_disk_and_what_is_found_for_him_is_undone() {
    let disk = StallingDisk::default();
    let (tree, _) = stalling(Durability::Never, &disk);
    let directory = tree.fs.lookup(ROOT, "n0").unwrap().ino;
    let mut child = killed();
    disk.stall_reads(&names());
    let askers = [(1, child.id(), "killed"), (3, me().thread, "lives")];
    for (unique, thread, who) in askers {
        let (answer, undone) = (tree.reply(who), tree.reply("undone"));
        tree.fs.ask(
            asked(unique, thread, directory),
            move |fs| fs.lookup(directory, "0"),
            move |_, _| undone.done(),
            move |found| match found {
                Ok(_) => answer.done(),
                Err(errno) => answer.refuse(errno),
            },
        );
    }
    disk.wait_for(2);
    tree.fs.interrupt(1);
    tree.fs.interrupt(3);
    let refused = ("killed", Answer::Refused(Errno::EINTR));
    assert_eq!(tree.next(), Some(refused));
    assert_eq!(tree.next(), None);
    disk.go_on();
    let mut answers = [tree.wait().0, tree.wait().0];
    answers.sort_unstable();
    assert_eq!(answers, ["lives", "undone"]);
    child.wait().unwrap();
}

#[test]
fn a_large_record_is_verified_by_no_thread_that_serves_the_mount() {
    let tree = Tree::new();
    let large = vec![b'x'; 2 << 20];
    tree.append(&large);
    tree.fs.serve_with(6);
    let log = tree.open("log");
    tree.fs
        .read(log, request(1, 0, 100, WAIT), tree.reply("read"));
    assert_eq!(tree.wait(), ("read", data(&large[..100])));
    // Now it is verified, and this thread gives the next piece.
    tree.fs
        .read(log, request(2, 100, 100, WAIT), tree.reply("read"));
    assert_eq!(tree.next(), Some(("read", data(&large[..100]))));
}

/// The number that `.immuta/status` shows of a namespace.
fn shown(tree: &Tree, namespace: &str, field: &str) -> f64 {
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let status = tree.fs.lookup(about, "status").unwrap().ino;
    let fh = tree.fs.open(ME, status, Access::Read).unwrap().fh;
    let text = match tree.read(fh, 0, 1 << 20) {
        Some(Answer::Data(bytes)) => String::from_utf8(bytes).unwrap().replace(": ", ":"),
        other => panic!("{other:?}"),
    };
    let of_namespace = text
        .split_once(&format!("\"name\":\"{namespace}\""))
        .unwrap()
        .1;
    let value = of_namespace.split_once(&format!("\"{field}\":")).unwrap().1;
    value.split([',', '}']).next().unwrap().parse().unwrap()
}

// > `unsynced_records` and `sync_lag_seconds` count from the write on, and include records that readers do not
// > see yet: while a sync hangs they grow.
#[test]
fn a_sync_that_hangs_is_seen_in_the_status_with_sync_always_too() {
    let disk = StallingDisk::default();
    let (tree, files) = stalling(Durability::Always, &disk);
    assert_eq!(shown(&tree, "n0", "unsynced_records"), 0.0);
    assert_eq!(shown(&tree, "n0", "sync_lag_seconds"), 0.0);
    disk.stall_syncs(&names()[..1]);
    tree.fs
        .write(files[0], b"second", PLAIN, tree.reply("stalled"));
    disk.wait_for(1);
    assert_eq!(shown(&tree, "n0", "records"), 1.0);
    assert_eq!(shown(&tree, "n0", "unsynced_records"), 1.0);
    let lag = shown(&tree, "n0", "sync_lag_seconds");
    assert!(lag > 0.0);
    assert!(shown(&tree, "n0", "sync_lag_seconds") > lag);
    disk.go_on();
    assert_eq!(tree.wait(), ("stalled", Answer::Written(6)));
    assert_eq!(shown(&tree, "n0", "unsynced_records"), 0.0);
}

// > With `--sync` at an interval, a namespace whose sync takes long does not hold up the syncs of others.
#[test]
fn syncs_at_an_interval_go_on_while_others_hang() {
    let disk = StallingDisk::default();
    let interval = std::time::Duration::from_millis(1);
    let (tree, files) = stalling(Durability::Every(interval), &disk);
    let synced = |namespace: &str, records: u64| {
        let log = tree.storage.log(namespace).unwrap();
        let start = std::time::Instant::now();
        while log.synced() != Some(records) {
            assert!(start.elapsed().as_secs() < 60, "{namespace} is not synced");
            std::thread::yield_now();
        }
    };
    synced("n0", 1);
    synced("n1", 1);
    disk.stall_syncs(&names()[..1]);
    tree.write(files[0], b"second", PLAIN);
    disk.wait_for(1);
    // One log holds one thread, however often it is written to.
    for _ in 0..8 {
        tree.write(files[0], b"more", PLAIN);
        tree.write(files[1], b"more", PLAIN);
        let count = tree.storage.log("n1").unwrap().state().count;
        synced("n1", count);
    }
    disk.go_on();
    synced("n0", 10);
}
