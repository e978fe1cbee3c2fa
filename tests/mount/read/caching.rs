//! What the kernel may remember of a mount, and what it must ask for again. An earlier version exchanged the
//! times to live of names and of attributes: the size of an open `follow` could be a day old.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::errno::Errno;
use support::Mount;

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

/// Lines of different lengths, none of which holds a NUL: what a page of the cache shows beyond its end.
fn lines(records: usize) -> Vec<String> {
    (0..records)
        .map(|n| format!("{n:-<width$}\n", width = n % 97 + 5))
        .collect()
}

/// Appends the lines, one write each, and calls `read` again and again meanwhile, and once when all are there.
fn while_it_grows(mount: &Mount, lines: &[String], mut read: impl FnMut()) {
    let append = mount.file("append-lines");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut append = File::options().append(true).open(append).unwrap();
            for line in lines {
                std::io::Write::write_all(&mut append, line.as_bytes()).unwrap();
            }
        });
        while !writer.is_finished() {
            read();
        }
    });
    read();
}

/// A reader that races with appends: never a byte that is not the log's, and all that its size has promised.
#[test]
fn a_reader_that_races_with_appends_sees_only_the_logs_bytes() {
    let mount = Mount::new();
    let lines = lines(5_000);
    let expected = lines.concat();
    let log = mount.file("log");
    let mut seen = 0;
    while_it_grows(&mount, &lines, || {
        let mut file = File::open(&log).unwrap();
        let size = file.metadata().unwrap().len() as usize;
        let start = usize::saturating_sub(seen, 5000);
        file.seek(SeekFrom::Start(start as u64)).unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert_eq!(text, &expected.as_bytes()[start..start + text.len()]);
        assert!(
            start + text.len() >= size,
            "the size promised more than could be read"
        );
        seen = start + text.len();
    });
    assert_eq!(seen, expected.len());
}

/// One call that takes bytes through the page cache, from an offset on.
fn through_the_page_cache(call: &str, file: &File, offset: usize) -> Result<Vec<u8>, Errno> {
    let (mut read, write) = std::io::pipe().unwrap();
    let mut at = offset as i64;
    // SAFETY: both descriptors are open, and `at` is an offset.
    let sent = Errno::result(unsafe {
        match call {
            "splice" => libc::splice(
                file.as_raw_fd(),
                &raw mut at,
                write.as_raw_fd(),
                std::ptr::null_mut(),
                16 << 10,
                0,
            ),
            _ => libc::sendfile(write.as_raw_fd(), file.as_raw_fd(), &raw mut at, 16 << 10),
        }
    })?;
    drop(write);
    let mut bytes = vec![0; sent as usize];
    read.read_exact(&mut bytes).unwrap();
    Ok(bytes)
}

/// The last page of the cache was filled up to where the log ended, and beyond that showed NULs when the log had grown.
// > A read returns only bytes that were written, and no size is larger than the file, however a program reads
// > and whatever other programs look at meanwhile.
#[test]
fn regression_the_page_cache_of_a_log_that_grows_shows_no_nul() {
    // Each line is the same: what is at an offset follows from the offset.
    const LINE: &[u8] = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUV\n";
    const LINES: usize = 4_000;
    let mount = Mount::new();
    mount.append(LINE);
    let path = mount.file("log");
    let read = |call: &str| {
        let file = File::open(&path).unwrap();
        let mut at = 0;
        // As long as there is something; at the end it is tried again, and once more when nobody writes any more.
        while at < (2 * LINES + 1) * LINE.len() {
            match through_the_page_cache(call, &file, at) {
                Ok(bytes) if bytes.is_empty() => drop(file.metadata().unwrap()),
                Ok(bytes) => {
                    let wrong = bytes
                        .iter()
                        .zip(at..)
                        .find(|(byte, at)| **byte != LINE[at % LINE.len()]);
                    assert_eq!(wrong, None, "{call}");
                    at += bytes.len();
                }
                Err(errno) => {
                    assert_eq!(errno, Errno::EINVAL, "{call}");
                    at += LINE.len();
                }
            }
        }
    };
    let write = || {
        let mut log = File::options().append(true).open(&path).unwrap();
        for _ in 0..LINES {
            std::io::Write::write_all(&mut log, LINE).unwrap();
        }
    };
    std::thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(write)));
        for call in ["splice", "sendfile", "splice", "sendfile"] {
            let read = &read;
            scope.spawn(move || read(call));
        }
    });
}

// > Only a record is read through the kernel's page cache: `sendfile(2)` and `splice(2)` of any other file that
// > is not empty are EINVAL, a shared mapping is ENODEV, and a private mapping is SIGBUS where it is touched.
#[test]
fn only_a_record_is_read_through_the_page_cache() {
    const MAP: &str = r#"
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
mapped = mmap.mmap(file, 2, flags=getattr(mmap, sys.argv[2]), prot=mmap.PROT_READ)
print(mapped[:].decode())
"#;
    let mount = Mount::new();
    mount.append("record");
    let map = |name: &str, kind: &str| {
        let output = Command::new("python3")
            .args(["-c", MAP])
            .arg(mount.file(name))
            .arg(kind)
            .output()
            .unwrap();
        (output.status.signal(), output.stdout, output.stderr)
    };
    let names = "log follow frames follow-frames log.jsonl follow.jsonl count stats from/0";
    for name in names.split(' ') {
        let file = File::open(mount.file(name)).unwrap();
        // A name in from/ is asked for its size when it is looked up.
        file.metadata().unwrap();
        for call in ["splice", "sendfile"] {
            let got = through_the_page_cache(call, &file, 0);
            assert_eq!(got, Err(Errno::EINVAL), "{call} of {name}");
        }
        let (signal, _, said) = map(name, "MAP_SHARED");
        let said = String::from_utf8_lossy(&said);
        assert!(
            signal.is_none() && said.contains("No such device"),
            "{name}: {said}"
        );
        assert_eq!(map(name, "MAP_PRIVATE").0, Some(libc::SIGBUS), "{name}");
    }
    let record = File::open(mount.file("0")).unwrap();
    for call in ["splice", "sendfile"] {
        let got = through_the_page_cache(call, &record, 0);
        assert_eq!(got.unwrap(), b"record");
    }
    for kind in ["MAP_SHARED", "MAP_PRIVATE"] {
        let (signal, out, said) = map("0", kind);
        assert_eq!((signal, &out[..]), (None, &b"re\n"[..]), "{said:?}");
    }
}

// > The next record has another inode number until it is written. A file that was opened before shows the
// > record's bytes and size from then on, and is not read through the page cache.
#[test]
fn the_next_record_is_another_inode_than_the_written_one() {
    let mount = Mount::new();
    let name = mount.file("0");
    let next = File::open(&name).unwrap();
    let before = next.metadata().unwrap();
    assert_eq!(before.len(), 0);
    mount.append("record");
    let after = fs::metadata(&name).unwrap();
    assert_ne!(after.ino(), before.ino());
    let kept = next.metadata().unwrap();
    assert_eq!((kept.ino(), kept.len()), (before.ino(), 6));
    for call in ["splice", "sendfile"] {
        let got = through_the_page_cache(call, &next, 0);
        assert_eq!(got, Err(Errno::EINVAL), "{call}");
    }
    let mut text = String::new();
    (&next).read_to_string(&mut text).unwrap();
    assert_eq!(text, "record");
}

/// A byte was announced to the kernel far behind the end, for whoever looked at an empty file; who asked for the end at
/// the same time got that byte's place.
#[test]
fn regression_the_end_of_an_empty_file_is_0_also_while_somebody_else_looks() {
    const LOOKS: usize = 2_000;
    let mount = Mount::new();
    let names = ["follow", "from/0", "0"].map(|name| mount.file(name));
    std::thread::scope(|scope| {
        for name in &names {
            let looker = scope.spawn(move || {
                for _ in 0..LOOKS {
                    assert_eq!(fs::metadata(name).unwrap().len(), 0);
                }
            });
            scope.spawn(move || {
                while !looker.is_finished() {
                    let mut file = File::open(name).unwrap();
                    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 0, "{name:?}");
                }
            });
        }
    });
}
