//! While a large record is stored: who waits for it, and who does not.

use std::sync::Arc;

use immuta::Durability;
use immuta_fs::fs::Access;
use immuta_fs::fs::errno::Errno;

use crate::gate::{GatedDisk, LARGE};
use crate::transport::{
    Answer, DURABLE, ME, PLAIN, ROOT, Tree, WITH_O_APPEND, data, me, open_start,
};

/// Every call here is made by one thread: if one of them waited, nobody would open the gate.
#[test]
fn while_a_large_record_is_stored_nobody_holds_a_thread_to_wait() {
    for sync in [Durability::Never, Durability::Always] {
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
