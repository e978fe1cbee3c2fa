//! What is answered after the disk has it.

use immuta::Sync;

use crate::transport::{Answer, DURABLE, PLAIN, Tree, WAIT, data};

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
