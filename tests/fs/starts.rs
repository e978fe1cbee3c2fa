//! `from` and `since`.

use immuta_fs::fs::Access;
use immuta_fs::fs::errno::Errno;

use crate::transport::{Answer, ME, PLAIN, Tree, WAIT, data, open_start, request, start};

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
    tree.fs
        .read(fifth, request(2, 0, 100, WAIT), tree.reply("reader"));
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
