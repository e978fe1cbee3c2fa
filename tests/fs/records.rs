//! The numbered records: as a directory lists them, and where one is damaged.

use immuta_fs::fs::errno::Errno;

use crate::transport::{Answer, ROOT, Tree, data};
use support::files::FIXED;

#[test]
fn a_damaged_record_is_eio_and_its_neighbours_are_served() {
    let tree = Tree::new();
    for record in [&b"one"[..], b"two", b"three"] {
        tree.append(record);
    }
    // The payload of record 1: behind the count, a size field, `one` and a size field.
    tree.damage(8 + 8 + 3 + 8);

    let records: Vec<u64> = ["0", "1", "2"].iter().map(|n| tree.open(n)).collect();
    assert_eq!(tree.read(records[0], 0, 100), Some(data(b"one")));
    assert_eq!(
        tree.read(records[1], 0, 100),
        Some(Answer::Refused(Errno::EIO))
    );
    assert_eq!(tree.read(records[2], 0, 100), Some(data(b"three")));

    let text = tree.open("log");
    assert_eq!(
        tree.read(text, 0, 100),
        Some(data(b"one\n")),
        "up to the damage"
    );
    assert_eq!(tree.read(text, 4, 100), Some(Answer::Refused(Errno::EIO)));
    assert_eq!(
        tree.read(text, 8, 100),
        Some(data(b"three\n")),
        "a reader can step over it"
    );
}

#[test]
fn a_listing_is_of_what_was_there_when_it_was_rewound() {
    let tree = Tree::new();
    tree.append(b"x");
    let ns = tree.fs.lookup(ROOT, "ns").unwrap().ino;
    let fh = tree.fs.opendir(ns).unwrap();
    let mut names = Vec::new();
    let mut at = 0;
    loop {
        // A buffer of two names, and a writer that is as fast as the reader.
        let mut listed = Vec::new();
        tree.fs
            .readdir(ns, fh, at, |entry| {
                let full = listed.len() == 2;
                if !full {
                    listed.push((entry.name.to_owned(), entry.next_offset));
                }
                full
            })
            .unwrap();
        let Some((_, next)) = listed.last() else {
            break;
        };
        at = *next;
        names.extend(listed.into_iter().map(|(name, _)| name));
        tree.append(b"y");
        tree.append(b"z");
    }
    let expected = [".", ".."].iter().chain(FIXED).chain(&["0"]);
    assert!(names.iter().eq(expected), "{names:?}");
    let mut rewound = 0;
    let mut count = |_: immuta_fs::fs::DirEntry<'_>| {
        rewound += 1;
        false
    };
    tree.fs.readdir(ns, fh, 0, &mut count).unwrap();
    assert_eq!(rewound, 2 + FIXED.len() as u64 + tree.count());
}
