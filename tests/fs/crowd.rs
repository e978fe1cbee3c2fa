//! Many who wait on one namespace: what they cost an append, and how they are answered.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use immuta::Durability;

use crate::transport::{Answer, PLAIN, Tree, WAIT, data, open_start, request};
use support::hooked_disk::{HookedDisk, Hooks};

/// How often the disk is read.
#[derive(Debug, Default)]
struct Reads(AtomicUsize);

impl Hooks for Reads {
    fn before_read(&self, _path: &Path, _bytes: usize) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Each append used to search the index for each reader of a time that had not come, under the one lock of all
/// namespaces.
#[test]
fn readers_of_a_time_that_has_not_come_cost_an_append_no_read_of_the_disk() {
    const READERS: u64 = 100;
    let disk = HookedDisk::<Reads>::default();
    let reads = disk.0.clone();
    let tree = Tree::on(Arc::new(disk), Durability::Never);
    let append = tree.open("append");
    assert_eq!(tree.write(append, b"first", PLAIN), Answer::Written(5));
    for reader in 0..READERS {
        let far = open_start(&tree, "since", "2099-01-01T00:00:00Z");
        let who = tree.reply("reader");
        tree.fs
            .read(far, request(2 + 2 * reader, 0, 100, WAIT), who);
    }
    assert_eq!(tree.fs.parked_reads() as u64, READERS);
    let before = reads.0.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(tree.write(append, b"x", PLAIN), Answer::Written(1));
    }
    assert_eq!(reads.0.load(Ordering::SeqCst), before);
    tree.fs.close();
    for _ in 0..READERS {
        assert_eq!(tree.wait(), ("reader", data(b"")));
    }
}

#[test]
fn a_reader_of_a_time_before_all_records_waits_for_the_first_one_only() {
    let tree = Tree::new();
    let append = tree.open("append");
    for name in ["1970-01-01T00:00:00Z", "9999years", "10m"] {
        let since = open_start(&tree, "since", name);
        let who = tree.reply("reader");
        tree.fs.read(since, request(2, 0, 100, WAIT), who);
        if tree.count() == 0 {
            assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 1));
            assert_eq!(tree.write(append, b"x", PLAIN), Answer::Written(1));
        }
        assert_eq!(tree.wait(), ("reader", data(b"x\n")), "since/{name}");
    }
}

/// More readers than an append answers itself, several times over: each gets each record once, and none is left.
#[test]
fn a_crowd_gets_every_record_from_the_thread_that_serves_rounds() {
    const READERS: u64 = 100;
    const RECORDS: usize = 20;
    let tree = Tree::new();
    let append = tree.open("append");
    let follows: Vec<u64> = (0..READERS).map(|_| tree.open("follow")).collect();
    let mut unique = 0;
    for record in 0..RECORDS {
        for follow in &follows {
            unique += 2;
            let offset = 2 * record as u64;
            tree.fs.read(
                *follow,
                request(unique, offset, 100, WAIT),
                tree.reply("reader"),
            );
        }
        tree.fs.write(append, b"x", PLAIN, tree.reply("writer"));
        assert_eq!(tree.wait(), ("writer", Answer::Written(1)));
        for _ in 0..READERS {
            assert_eq!(tree.wait(), ("reader", data(b"x\n")));
        }
        assert_eq!((tree.next(), tree.fs.parked_reads()), (None, 0));
    }
}

/// A crowd that waits for its next round is still interrupted, and still ends with the mount.
#[test]
fn every_door_is_open_to_a_crowd_too() {
    let tree = Tree::new();
    let append = tree.open("append");
    let follows: Vec<u64> = (0..100).map(|_| tree.open("follow")).collect();
    let wait = |offset| {
        for (reader, follow) in follows.iter().enumerate() {
            let unique = 2 + 2 * reader as u64 + 1000 * offset;
            tree.fs.read(
                *follow,
                request(unique, offset, 100, WAIT),
                tree.reply("reader"),
            );
        }
    };
    wait(0);
    tree.fs.write(append, b"x", PLAIN, tree.reply("writer"));
    assert_eq!(tree.wait(), ("writer", Answer::Written(1)));
    for _ in &follows {
        assert_eq!(tree.wait(), ("reader", data(b"x\n")));
    }
    wait(2);
    for reader in 0..50 {
        tree.fs.interrupt(2 + 2 * reader + 2000);
        let interrupted = Answer::Refused(immuta_fs::fs::errno::Errno::EINTR);
        assert_eq!(tree.wait(), ("reader", interrupted));
    }
    tree.fs.close();
    for _ in 50..100 {
        assert_eq!(tree.wait(), ("reader", data(b"")));
    }
}

/// `poll` has no offset, and `pread` does not move the file's: where the next read begins is in doubt.
#[test]
fn after_a_read_elsewhere_a_file_is_readable_until_one_reads_on() {
    let tree = Tree::new();
    let (follow, readable) = (tree.open("follow"), |fh| {
        tree.fs.poll(fh, None).unwrap().readable
    });
    tree.append(b"first");
    tree.append(b"last");
    // Sequential reads are no doubt.
    assert_eq!(tree.read(follow, 0, 6), Some(data(b"first\n")));
    assert_eq!(tree.read(follow, 6, 100), Some(data(b"last\n")));
    assert!(!readable(follow));
    // `pread` of the end, while the file's position may be anywhere.
    let peeks = tree.open("follow");
    assert_eq!(tree.read(peeks, 6, 100), Some(data(b"last\n")));
    assert!(readable(peeks), "nothing was read at the file's position");
    assert_eq!(tree.read(peeks, 0, 6), Some(data(b"first\n")));
    assert!(readable(peeks));
    assert_eq!(tree.read(peeks, 6, 100), Some(data(b"last\n")));
    assert!(!readable(peeks), "it reads on where it was");
    // Behind the end.
    let far = tree.open("follow");
    let nothing = Some(Answer::Refused(immuta_fs::fs::errno::Errno::EAGAIN));
    assert_eq!(tree.read(far, 1000, 100), nothing);
    assert!(readable(far));
    assert_eq!(tree.read(far, 1000, 100), nothing);
    assert!(!readable(far), "asked again at the same place");
}
