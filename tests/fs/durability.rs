//! What is answered after the disk has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use immuta::Durability;

use crate::gate::GatedDisk;
use crate::transport::{Answer, DURABLE, PLAIN, Tree, WAIT, data, me, request};

#[test]
fn with_sync_always_no_answer_comes_before_the_disk_and_the_writers_come_before_the_readers() {
    let tree = Tree::with(Durability::Always);
    let (follow, append) = (tree.open("follow"), tree.open("append"));
    tree.fs
        .read(follow, request(2, 0, 100, WAIT), tree.reply("reader"));
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

/// Followers used to be woken only when the sync had ended, while any other reader saw the record at once.
#[test]
fn a_durable_write_wakes_its_followers_when_it_can_be_seen_not_after_its_sync() {
    let disk = GatedDisk::default();
    let gate = disk.0.clone();
    let tree = Tree::on(Arc::new(disk), Durability::Never);
    let (follow, append) = (tree.open("follow"), tree.open("append"));
    // The first append after the opening syncs by itself.
    assert_eq!(tree.write(append, b"first", PLAIN), Answer::Written(5));
    tree.fs
        .read(follow, request(2, 6, 100, WAIT), tree.reply("reader"));
    gate.before_syncs.store(true, Ordering::SeqCst);
    tree.fs.write(append, b"x", DURABLE, tree.reply("writer"));
    assert_eq!(tree.wait(), ("reader", data(b"x\n")));
    gate.wait_until_reached();
    assert_eq!(tree.next(), None, "the writer waits for the disk");
    gate.open();
    assert_eq!(tree.wait(), ("writer", Answer::Written(1)));
}

/// `close` used to return after every follower had been answered.
#[test]
fn a_close_that_ends_a_line_is_answered_before_the_readers() {
    let tree = Tree::new();
    let follow = tree.open("follow");
    let lines = tree.open_by(me(), "append-lines");
    tree.fs
        .read(follow, request(2, 0, 100, WAIT), tree.reply("reader"));
    assert_eq!(tree.write(lines, b"no newline", PLAIN), Answer::Written(10));
    tree.fs.flush(me(), lines, tree.reply("close"));
    assert_eq!(tree.wait(), ("close", Answer::Done));
    assert_eq!(tree.wait(), ("reader", data(b"no newline\n")));
}
