//! Writes that wait for their turn while a disk stands still: the memory that they take.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use immuta::Durability;
use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, WriteMode};

use crate::stall::StallingDisk;
use crate::transport::{Answer, DURABLE, ME, PLAIN, ROOT, Tree, WITH_O_APPEND, data, me};

const LIMIT: u64 = 1 << 20;
const NO_ROOM: Answer = Answer::Refused(Errno::ENOBUFS);

/// A number that `.immuta/status` shows of the mount.
fn shown(tree: &Tree, field: &str) -> u64 {
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let status = tree.fs.lookup(about, "status").unwrap().ino;
    let fh = tree.fs.open(ME, status, Access::Read).unwrap().fh;
    let text = match tree.read(fh, 0, 1 << 20) {
        Some(Answer::Data(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    let value = text.split_once(&format!("\"{field}\": ")).unwrap().1;
    value.split([',', '\n']).next().unwrap().parse().unwrap()
}

fn by(uid: u32, mode: WriteMode) -> WriteMode {
    WriteMode { uid, ..mode }
}

/// Every call here is made by one thread: none of them waits for the disk.
#[test]
fn regression_writes_that_wait_for_a_disk_take_no_more_memory_than_was_said() {
    for sync in [Durability::Never, Durability::Always] {
        let disk = StallingDisk::default();
        let tree = Tree::with_memory(Arc::new(disk.clone()), sync, LIMIT);
        let fs = &tree.fs;
        fs.serve_with(6);
        let (append, log) = (tree.open("append"), tree.open_with("log", Access::Append));
        let files = [
            (append, PLAIN),
            (append, DURABLE),
            (tree.open("append-lines"), PLAIN),
            (log, WITH_O_APPEND),
        ];
        disk.stall(&["ns".to_owned()]);
        let line = [vec![b'x'; (100 << 10) - 1], b"\n".to_vec()].concat();
        let mut writes = files.iter().cycle();
        let mut write = |uid, bytes: &[u8]| {
            let (fh, mode) = *writes.next().unwrap();
            fs.write(fh, bytes, by(uid, mode), tree.reply("write"));
            tree.next()
        };
        // The first one has its turn, and stands still. A user has half of what the others may take.
        assert_eq!(write(1, &line), None);
        disk.wait_for(1);
        assert_eq!(shown(&tree, "open_bytes"), 0);
        for _ in 0..5 {
            assert_eq!(write(1, &line), None);
        }
        assert_eq!(write(1, &line), Some(("write", NO_ROOM)));
        // So much is nothing but the job of a write.
        let mut small = 0;
        while write(1, b"\n").is_none() {
            small += 1;
            assert!(small < 100);
        }
        for _ in 0..5 {
            assert_eq!(write(2, &line), None);
        }
        assert_eq!(write(2, &line), Some(("write", NO_ROOM)));
        assert_eq!(write(3, &line), Some(("write", NO_ROOM)));
        assert!((1000 << 10..=LIMIT).contains(&shown(&tree, "open_bytes")));
        assert_eq!(shown(&tree, "refused_for_memory"), 4);
        // Frames that would wait for their end have no room either, and have not happened.
        let frames = tree.open("append-frames");
        fs.write(frames, &line[..20 << 10], by(2, PLAIN), tree.reply("write"));
        assert_eq!(tree.next(), Some(("write", NO_ROOM)));

        disk.go_on();
        for _ in 0..11 + small {
            let (_, answer) = tree.wait();
            assert!(matches!(answer, Answer::Written(_)), "{answer:?}");
        }
        assert_eq!(shown(&tree, "open_bytes"), 0);
        assert_eq!(tree.count(), 11 + small);
        // Nobody is refused any more.
        assert_eq!(tree.write(append, &line, PLAIN), Answer::Written(100 << 10));
        let next = tree.open(&(11 + small).to_string());
        assert_eq!(tree.read(next, 0, 1 << 20), Some(data(&line)));
    }
}

// > After a write or an `ftruncate` that failed, nothing is stored, and `close` fails with the same error.
#[test]
fn regression_writes_to_append_file_that_wait_for_a_thread_are_counted_too() {
    let tree = Tree::with_memory(Arc::new(immuta::StdDisk), Durability::Never, LIMIT);
    let fs = &tree.fs;
    let [stored, refused, other] = [(); 3].map(|()| tree.open_by(me(), "append-file"));
    // None of the threads that serve the mount may wait, and those that may for this namespace are all held up.
    fs.serve_with(2);
    let namespace = Some(tree.storage.log("ns").unwrap().id());
    let (held, release) = channel::<()>();
    let release = Arc::new(Mutex::new(release));
    for _ in 0..64 {
        let release = release.clone();
        fs.apart(namespace, move |_| {
            assert!(release.lock().unwrap().recv().is_err())
        });
    }
    let piece = vec![b'x'; 300 << 10];
    for (fh, uid) in [(stored, 1), (refused, 1), (other, 2)] {
        fs.write(fh, &piece, by(uid, PLAIN), tree.reply("write"));
    }
    assert_eq!(tree.next(), None);
    let counted = shown(&tree, "open_bytes");
    assert!((600 << 10..=601 << 10).contains(&counted), "{counted}");
    assert_eq!(shown(&tree, "refused_for_memory"), 1);
    drop(held);
    let mut answers = [tree.wait().1, tree.wait().1, tree.wait().1];
    answers.sort_by_key(|answer| *answer == NO_ROOM);
    let written = Answer::Written(300 << 10);
    assert_eq!(answers, [written.clone(), written, NO_ROOM]);
    assert_eq!(tree.close(me(), refused), NO_ROOM);
    assert_eq!(tree.close(me(), other), Answer::Done);
    assert_eq!(tree.close(me(), stored), Answer::Done);
    assert_eq!((tree.count(), shown(&tree, "open_bytes")), (2, 0));
    assert!(tree.record(0) == piece && tree.record(1) == piece);
}
