//! Lines and frames, which writes cut where they like.

use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, Caller};

use crate::transport::{Answer, ME, PLAIN, Tree, WITH_O_APPEND, data};
use support::files::frames_of;

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
