//! What an append file that is opened for reading too gives back.

use immuta::Durability;
use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, ReadMode};

use crate::transport::{Answer, DURABLE, PLAIN, Tree, data, request};
use support::files::frames_of;

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
        let tree = Tree::with(Durability::Always);
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
    tree.fs.read(
        append,
        request(2, 0, 4096, for_page_cache),
        tree.reply("kernel"),
    );
    assert_eq!(
        tree.next(),
        Some(("kernel", Answer::Refused(Errno::EINVAL)))
    );
    assert_eq!(tree.read(append, 0, 100), Some(data(b"0 8 1\n")));
}
