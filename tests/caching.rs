//! What the kernel may remember of a mount, and what it must ask for again. An earlier version exchanged the
//! times to live of names and of attributes: the size of an open `follow` could be a day old.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use common::Mount;

/// > `st_size` of `follow` and `log` is the number of bytes that can be read from them now.
#[test]
fn the_size_of_an_open_file_is_never_an_old_one() {
    let mount = Mount::new();
    let open: Vec<File> = ["follow", "log"]
        .iter()
        .map(|name| File::open(mount.file(name)).unwrap())
        .collect();
    for appended in 0..100 {
        for file in &open {
            assert_eq!(file.metadata().unwrap().len(), 2 * appended);
        }
        assert_eq!(fs::metadata(mount.file("log")).unwrap().len(), 2 * appended);
        mount.append("x");
    }
}

#[test]
fn a_record_that_was_looked_at_before_it_was_written_shows_itself_afterwards() {
    let mount = Mount::new();
    let early = File::open(mount.file("0")).unwrap();
    assert_eq!(early.metadata().unwrap().len(), 0);
    mount.append("record");
    assert_eq!(early.metadata().unwrap().len(), 6);
    assert_eq!(fs::metadata(mount.file("0")).unwrap().len(), 6);
    assert_eq!(fs::read(mount.file("0")).unwrap(), b"record");
    let mut text = String::new();
    (&early).read_to_string(&mut text).unwrap();
    assert_eq!(text, "record");
}

#[test]
fn a_namespace_made_again_shows_nothing_of_the_one_before() {
    let mount = Mount::new();
    let directory = mount.path().join("again");
    let mut inodes = Vec::new();
    for _ in 0..3 {
        fs::create_dir(&directory).unwrap();
        for name in ["append", "follow", "log", "count", "0"] {
            inodes.push(fs::metadata(directory.join(name)).unwrap().ino());
        }
        assert_eq!(fs::read_to_string(directory.join("count")).unwrap(), "0\n");
        fs::remove_dir(&directory).unwrap();
        assert!(!directory.join("follow").exists());
    }
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), 15);
}

/// A reader that races with appends, through every way to read: never a byte that is not the log's.
#[test]
fn a_reader_that_races_with_appends_sees_only_the_logs_bytes() {
    const RECORDS: usize = 5_000;
    let mount = Mount::new();
    let (log, append) = (mount.file("log"), mount.file("append-lines"));
    // Lines of different lengths, none of which holds a NUL: what a page of the cache shows beyond its end.
    let lines: Vec<String> = (0..RECORDS)
        .map(|n| format!("{n:-<width$}\n", width = n % 97 + 5))
        .collect();
    let expected = lines.concat();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut append = File::options().append(true).open(append).unwrap();
            for line in &lines {
                std::io::Write::write_all(&mut append, line.as_bytes()).unwrap();
            }
        });
        let mut seen = 0;
        while seen < expected.len() {
            let mut file = File::open(&log).unwrap();
            let size = file.metadata().unwrap().len() as usize;
            file.seek(SeekFrom::Start(seen.saturating_sub(5000) as u64))
                .unwrap();
            let mut text = Vec::new();
            file.read_to_end(&mut text).unwrap();
            let start = seen.saturating_sub(5000);
            assert_eq!(text, &expected.as_bytes()[start..start + text.len()]);
            assert!(
                start + text.len() >= size,
                "the size promised more than could be read"
            );
            seen = start + text.len();
        }
    });
}
