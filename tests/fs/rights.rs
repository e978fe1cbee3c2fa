//! Permission bits, which way a file can be opened, and changes of them.

use std::time::{Duration, Instant};

use immuta_fs::fs::SetAttr;
use immuta_fs::fs::errno::Errno;

use crate::transport::{ACCESSES, Answer, ME, ROOT, Tree};

#[test]
fn a_change_of_rights_is_answered_when_nobody_believes_the_old_ones() {
    let tree = Tree::new();
    tree.append(b"x");
    let ns = tree.fs.lookup(ROOT, "ns").unwrap();
    // Its log was made by this process, and nobody has said more.
    assert_eq!(ns.uid, nix::unistd::geteuid().as_raw());
    let chmod = |mode| SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    // Of the directory's own rights the kernel learns with the answer: nobody else was told.
    tree.fs
        .setattr(ME, ns.ino, chmod(0o750), tree.reply("at once"));
    let mode_of = |(_, answer): (&str, Answer)| match answer {
        Answer::Attr(attr) => attr.mode,
        other => panic!("{other:?}"),
    };
    assert_eq!(mode_of(tree.wait()), 0o750);

    for name in ["append", "0", "from"] {
        let begun = Instant::now();
        let told = tree.fs.lookup(ns.ino, name).unwrap();
        assert!(told.attr_ttl > Duration::ZERO);
        let mode = if name == "0" { 0o700 } else { 0o770 };
        tree.fs
            .setattr(ME, ns.ino, chmod(mode), tree.reply("later"));
        // It is said when the last one who was told has forgotten it.
        assert_eq!(mode_of(tree.wait()), mode);
        assert!(begun.elapsed() > told.attr_ttl);
        // What is so already is no change.
        tree.fs
            .setattr(ME, ns.ino, chmod(mode), tree.reply("unchanged"));
        assert_eq!(tree.wait().0, "unchanged");
        assert_eq!(tree.fs.lookup(ROOT, "ns").unwrap().mode, mode);
    }

    for name in ["append", "log", "0", "from"] {
        let ino = tree.ino(name);
        tree.fs.setattr(ME, ino, chmod(0o777), tree.reply(name));
        assert_eq!(tree.next(), Some((name, Answer::Refused(Errno::EPERM))));
    }

    tree.fs
        .setattr(ME, ns.ino, chmod(0o711), tree.reply("unmounted"));
    tree.fs.close();
    assert_eq!(tree.wait().0, "unmounted");
    tree.ino("append");
    tree.fs
        .setattr(ME, ns.ino, chmod(0o755), tree.reply("late"));
    assert_eq!(tree.next().unwrap().0, "late");
}

#[test]
fn which_way_a_file_can_be_opened() {
    let tree = Tree::new();
    tree.append(b"x");
    let errno = |name: &str| {
        let opened = |access| tree.fs.open(ME, tree.ino(name), access).err();
        ACCESSES.map(opened)
    };
    let eacces = || Some(Errno::EACCES);
    let eperm = || Some(Errno::EPERM);
    let read = [None, eacces(), eacces(), eacces(), eacces(), eacces()];
    for name in [
        "follow",
        "count",
        "frames",
        "follow-frames",
        "stats",
        "0",
        "1",
    ] {
        assert_eq!(errno(name), read, "{name}");
    }
    for name in ["append", "append-lines", "append-frames"] {
        assert_eq!(errno(name), [eacces(), eacces(), None, None, None, None]);
    }
    assert_eq!(errno("log"), [None, eperm(), eperm(), None, eperm(), None]);
}

#[test]
fn the_permission_bits_of_a_file_are_those_of_its_directions() {
    let tree = Tree::new();
    tree.append(b"x");
    for (name, mode) in [
        ("append", 0o600),
        ("append-lines", 0o600),
        ("append-frames", 0o600),
        ("log", 0o644),
        ("follow", 0o444),
        ("0", 0o444),
    ] {
        let attr = tree.fs.getattr(tree.ino(name), None).unwrap();
        assert_eq!(attr.mode, mode, "{name}: {:o}", attr.mode);
    }
}
