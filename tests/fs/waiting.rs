//! Reads that wait, pollers, and the doors by which they leave.

use std::time::{Duration, Instant};

use immuta_fs::fs::errno::Errno;

use crate::transport::{Answer, ME, PLAIN, ROOT, Tree, WAIT, data, request};

#[test]
fn the_writer_is_answered_before_the_readers_and_the_first_to_wait_is_the_first_to_be_answered() {
    let tree = Tree::new();
    let (follow, zero, append) = (tree.open("follow"), tree.open("0"), tree.open("append"));
    tree.fs
        .read(zero, request(30, 0, 100, WAIT), tree.reply("second"));
    tree.fs
        .read(follow, request(20, 0, 100, WAIT), tree.reply("first"));
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
    tree.fs
        .read(follow, request(2, 3, 100, WAIT), tree.reply("reader"));
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
        .read(follow, request(2, 0, 100, WAIT), tree.reply("interrupted"));
    tree.fs.interrupt(2);
    assert_eq!(
        tree.next(),
        Some(("interrupted", Answer::Refused(Errno::EINTR)))
    );

    tree.fs.interrupt(4);
    tree.fs.read(
        follow,
        request(4, 0, 100, WAIT),
        tree.reply("interrupted before it was parked"),
    );
    assert_eq!(tree.next().unwrap().1, Answer::Refused(Errno::EINTR));

    tree.fs
        .read(follow, request(6, 0, 100, WAIT), tree.reply("removed"));
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
        .read(follow, request(8, 0, 100, WAIT), tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.next(), Some(("unmounted", data(b""))));
    tree.fs
        .read(follow, request(10, 0, 100, WAIT), tree.reply("late"));
    assert_eq!(tree.next(), Some(("late", data(b""))));
    assert_eq!(tree.fs.parked_reads(), 0);
}

#[test]
fn a_read_that_has_waited_as_long_as_it_may_is_interrupted_and_nobody_else() {
    const LIMIT: Duration = Duration::from_millis(20);
    let tree = Tree::new();
    let follow = tree.open("follow");
    // It came before there was a limit.
    tree.fs
        .read(follow, request(2, 0, 100, WAIT), tree.reply("for ever"));
    tree.fs.limit_waits(LIMIT).unwrap();
    // The first limit counts.
    tree.fs.limit_waits(Duration::ZERO).unwrap();
    for unique in [4, 6, 8] {
        let start = Instant::now();
        tree.fs
            .read(follow, request(unique, 0, 100, WAIT), tree.reply("limited"));
        assert_eq!(tree.wait(), ("limited", Answer::Refused(Errno::EINTR)));
        assert!(start.elapsed() >= LIMIT);
    }
    for unique in 10..30 {
        tree.fs
            .read(follow, request(unique, 0, 100, WAIT), tree.reply("limited"));
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
