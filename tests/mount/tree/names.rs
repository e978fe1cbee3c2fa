//! Names, directories and attributes, as programs see them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use support::{Mount, Reader, append, read, refused, shell_ok};
use support::{c_path, files::FIXED};

/// Appends the numbers from `from` up to below `to`, a line each.
fn append_numbers(mount: &Mount, from: usize, to: usize) {
    let mut file = mount.appender("append-lines");
    let text: String = (from..to).map(|n| format!("{n}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

/// A directory stream as in C: with places that can be told and sought.
struct Listing(*mut libc::DIR);

impl Listing {
    fn open(path: &Path) -> Listing {
        let path = c_path(path);
        // SAFETY: a string that ends in NUL.
        let stream = unsafe { libc::opendir(path.as_ptr()) };
        assert!(!stream.is_null(), "{}", Errno::last());
        Listing(stream)
    }

    /// The next name with its inode number.
    fn next(&mut self) -> Option<(String, u64)> {
        Errno::clear();
        // SAFETY: an open stream, and the entry is copied before the next call on it.
        let entry = unsafe { libc::readdir(self.0).as_ref() };
        assert_eq!(Errno::last_raw(), 0);
        let entry = entry?;
        // SAFETY: readdir ends names with NUL.
        let name = unsafe { CStr::from_ptr(entry.d_name.as_ptr()) };
        Some((name.to_str().unwrap().to_owned(), entry.d_ino))
    }

    fn rest(&mut self) -> Vec<(String, u64)> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn tell(&mut self) -> libc::c_long {
        // SAFETY: an open stream.
        unsafe { libc::telldir(self.0) }
    }

    fn seek(&mut self, to: libc::c_long) {
        // SAFETY: an open stream and a place that it has told.
        unsafe { libc::seekdir(self.0, to) }
    }

    fn rewind(&mut self) {
        // SAFETY: an open stream.
        unsafe { libc::rewinddir(self.0) }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: an open stream that nobody uses any more.
        unsafe { libc::closedir(self.0) };
    }
}

/// What a listing of a namespace with so many records gives.
fn names(records: usize) -> Vec<String> {
    let fixed = [".", ".."].into_iter().chain(FIXED.iter().copied());
    fixed
        .map(str::to_owned)
        .chain((0..records).map(|n| n.to_string()))
        .collect()
}

/// The next names of an open directory, as many as fit into a page: a C library asks for more at once.
fn some_names(directory: &File) -> Vec<String> {
    const NAME_AT: usize = 19; // struct linux_dirent64: ino and offset of 8 bytes, length of 2, type of 1
    let mut page = [0u8; 4096];
    let fd = directory.as_raw_fd();
    // SAFETY: the kernel writes at most so many bytes to the page.
    let got = unsafe { libc::syscall(libc::SYS_getdents64, fd, page.as_mut_ptr(), page.len()) };
    let mut rest = &page[..usize::try_from(got).unwrap()];
    let mut names = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let name = CStr::from_bytes_until_nul(&rest[NAME_AT..length]).unwrap();
        names.push(name.to_str().unwrap().to_owned());
        rest = &rest[length..];
    }
    names
}

fn only_names(entries: Vec<(String, u64)>) -> Vec<String> {
    entries.into_iter().map(|(name, _)| name).collect()
}

// > `mkdir` in the root makes a namespace. `rmdir` removes a namespace without records; of a namespace with
// > records it is ENOTEMPTY.
#[test]
fn mkdir_makes_a_log_and_rmdir_removes_an_empty_one() {
    let mut mount = Mount::new();
    let orders = mount.path().join("orders");
    fs::create_dir(&orders).unwrap();
    refused(fs::create_dir(&orders), Errno::EEXIST);
    assert!(mount.logs().join("orders.log").exists());
    mount.restart();
    assert_eq!(read(&orders.join("count")), b"0\n");
    append(&orders.join("append"), "x").unwrap();
    refused(fs::remove_dir(&orders), Errno::ENOTEMPTY);
    mount.restart();
    refused(fs::remove_dir(&orders), Errno::ENOTEMPTY);
    assert_eq!(read(&orders.join("0")), b"x");

    let empty = mount.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::remove_dir(&empty).unwrap();
    refused(fs::remove_dir(&empty), Errno::ENOENT);
    assert!(!empty.exists() && !mount.logs().join("empty.log").exists());
    mount.restart();
    assert!(!empty.exists());
}

// > A namespace's name is 1 to 200 bytes of `A-Z a-z 0-9 . _ -` and does not start with a dot. `mkdir` of any
// > other name is EINVAL; a longer name is ENAMETOOLONG in every call.
#[test]
fn a_namespace_has_a_name_that_is_safe_everywhere() {
    let mut mount = Mount::new();
    let good = [
        "a",
        "0",
        "-",
        "_x",
        "A.b-C_9",
        "a..b",
        "a.log",
        "append",
        &"x".repeat(200),
    ];
    for name in good {
        fs::create_dir(mount.path().join(name)).unwrap();
    }
    mount.restart();
    for name in good {
        assert_eq!(read(&mount.path().join(name).join("count")), b"0\n");
    }
    let long = [b'x'; 201];
    let longer = [b'x'; 255];
    let bad: &[&[u8]] = &[
        b".hidden",
        b"..a",
        b"...",
        b"a b",
        b"a\n",
        b"a:b",
        b"a,b",
        b"a\\b",
        b"*",
        b"\xff",
        "ü".as_bytes(),
        b"a\x7f",
    ];
    let create = |name| fs::create_dir(mount.path().join(OsStr::from_bytes(name)));
    for name in bad {
        refused(create(name), Errno::EINVAL);
    }
    for name in [&long[..], &longer] {
        refused(create(name), Errno::ENAMETOOLONG);
    }
    // And `default`, and `.immuta`.
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), good.len() + 2);
}

// > A record's name is its number in decimal, without leading zeros. It has no other name.
// > A number above the next record's is ENOENT.
#[test]
fn a_record_has_one_name() {
    let mount = Mount::new();
    append_numbers(&mount, 0, 11);
    for n in [0, 1, 9, 10] {
        assert_eq!(
            read(&mount.file(&n.to_string())),
            format!("{n}\n").as_bytes()
        );
    }
    for name in [
        "00",
        "01",
        "010",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1.",
        "1.0",
        "0x1",
        "1e0",
        "12",
        "100",
        "1099511627520",
        "18446744073709551615",
        "18446744073709551616",
        "Append",
        "append ",
        ".append",
        "١",
    ] {
        refused(fs::metadata(mount.file(name)), Errno::ENOENT);
        refused(File::open(mount.file(name)), Errno::ENOENT);
    }
    let non_utf8 = OsStr::from_bytes(b"1\xff");
    refused(fs::metadata(mount.file("").join(non_utf8)), Errno::ENOENT);
    refused(fs::metadata(mount.file("0/x")), Errno::ENOTDIR);
}

// > The file of the next record can be opened before that record is written: a read waits for the record, then
// > the file ends behind it.
#[test]
fn the_next_record_is_there_to_be_waited_for() {
    let mount = Mount::new();
    append_numbers(&mount, 0, 3);
    let next = mount.file("3");
    assert_eq!(fs::metadata(&next).unwrap().len(), 0);
    let mut reader = Reader::start("cat", &[&next]);
    reader.wait_until_blocked();
    refused(File::open(mount.file("4")), Errno::ENOENT);
    mount.append("three");
    mount.append("four");
    assert_eq!(reader.line().as_deref(), Some("three"));
    assert_eq!(reader.line(), None);
    assert_eq!(fs::metadata(&next).unwrap().len(), 5);
    assert_eq!(read(&next), b"three");
}

// > `readdir` lists the fixed files, and then every record that existed when the listing began.
#[test]
fn a_listing_has_every_record_and_ends_while_the_log_grows() {
    const RECORDS: usize = 20_000;
    let mount = Mount::new();
    assert_eq!(only_names(Listing::open(&mount.file("")).rest()), names(0));
    append_numbers(&mount, 0, RECORDS);
    let mut listing = Listing::open(&mount.file(""));
    let mut listed: Vec<String> = (0..100).map(|_| listing.next().unwrap().0).collect();
    let place = listing.tell();
    let behind = listing.next().unwrap();
    listed.push(behind.0.clone());
    append_numbers(&mount, RECORDS, RECORDS + 1000);
    listed.extend(only_names(listing.rest()));
    assert!(listed == names(RECORDS));

    listing.seek(place);
    assert_eq!(listing.next(), Some(behind));
    listing.rewind();
    assert!(only_names(listing.rest()) == names(RECORDS + 1000));

    let script = r#"
        cd "$1"; ls -f | wc -l; ls | wc -l; set -- [0-9]*; echo $#
        find . -type f | wc -l; find . -type f -name '[0-9]*' -newermt 2001-01-01 | wc -l
        find . -maxdepth 1 -name '20[0-9]99' | wc -l; cat [0-9]* | wc -l"#;
    assert_eq!(
        shell_ok(script, &[&mount.file("")]),
        "21016\n21014\n21000\n21012\n21000\n10\n21000\n"
    );
}

#[test]
fn a_listing_ends_while_somebody_appends_as_fast_as_possible() {
    let mount = Mount::new();
    append_numbers(&mount, 0, 2000);
    let mut writer = Reader::shell(
        r#"echo begun; while :; do echo more; done > "$1/append""#,
        &[&mount.file("")],
    );
    writer.line();
    for _ in 0..20 {
        let before = mount.count() as usize;
        let listed = only_names(Listing::open(&mount.file("")).rest());
        let records = listed.len() - 2 - FIXED.len();
        assert!(before <= records && records as u64 <= mount.count());
        assert!(listed == names(records));
    }
}

#[test]
fn a_listing_of_the_root_misses_none_while_others_are_removed() {
    let mount = Mount::new();
    let stay: BTreeSet<String> = (0..40).map(|n| format!("stay-{n:0190}")).collect();
    for name in &stay {
        fs::create_dir(mount.path().join(name)).unwrap();
        fs::create_dir(mount.path().join(format!("go-{name}"))).unwrap();
    }
    let directory = File::open(mount.path()).unwrap();
    let mut seen = Vec::new();
    loop {
        let names = some_names(&directory);
        if names.is_empty() {
            break;
        }
        for name in names {
            if name.starts_with("go-") {
                fs::remove_dir(mount.path().join(&name)).unwrap();
            }
            seen.push(name);
        }
    }
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "a name came twice");
    assert!(once.is_superset(&stay));
    let left = support::names(&mount.path());
    assert!(!left.iter().any(|n| n.starts_with("go-")));
}

// > Inode numbers are the same after a remount, and the number of a removed namespace is not used again.
// > Exceptions: `append-file` has another number at each lookup, with `--sync always` all append files do, and
// > the number of the next record changes when that record is written.
#[test]
fn inode_numbers_are_unique_and_stay() {
    let mut mount = Mount::new();
    append_numbers(&mount, 0, 300);
    let gone = mount.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let mut used = BTreeSet::from([inode(&gone)]);
    for _ in 0..20 {
        fs::remove_dir(&gone).unwrap();
        fs::create_dir(&gone).unwrap();
        assert!(used.insert(inode(&gone)), "used again");
        assert!(used.insert(inode(&gone.join("log"))), "used again");
    }
    let all = |mount: &Mount| {
        let mut all = BTreeMap::new();
        for directory in [mount.path(), mount.file(""), gone.clone()] {
            for (name, ino) in Listing::open(&directory).rest() {
                let path = directory.join(&name);
                if name == "append-file" {
                    continue;
                }
                if name != ".." {
                    assert_eq!(inode(&path), ino, "{}", path.display());
                }
                if !name.starts_with('.') {
                    all.insert(path, ino);
                }
            }
        }
        all
    };
    let before = all(&mount);
    let numbers: BTreeSet<u64> = before.values().copied().collect();
    assert_eq!(numbers.len(), before.len(), "two files have one number");
    mount.restart();
    assert_eq!(all(&mount), before);
    mount.kill();
    mount.start();
    assert_eq!(all(&mount), before);

    let always = Mount::with(&["--sync", "always"]);
    for name in ["append", "append-lines", "append-frames", "append-file"] {
        let path = always.file(name);
        assert_ne!(inode(&path), inode(&path), "{name}");
    }
}

// > The modification time of a record is the time of its append. The modification time of `log` and `follow` is
// > the time of the last append.
#[test]
fn times_are_those_of_the_appends() {
    let mut mount = Mount::new();
    let mut times = Vec::new();
    for n in 0..10 {
        let before = SystemTime::now();
        mount.append("x");
        let after = SystemTime::now();
        let time = |name: &str| fs::metadata(mount.file(name)).unwrap().modified().unwrap();
        let record = time(&n.to_string());
        assert!(before <= record && record <= after);
        assert_eq!([time("log"), time("follow")], [record; 2]);
        times.push(record);
    }
    for end in ["restart", "kill"] {
        match end {
            "restart" => mount.restart(),
            _ => {
                mount.kill();
                mount.start();
            }
        }
        for (n, time) in times.iter().enumerate() {
            let m = fs::metadata(mount.file(&n.to_string())).unwrap();
            assert_eq!(m.modified().unwrap(), *time, "record {n} after {end}");
        }
        let log = fs::metadata(mount.file("log")).unwrap();
        assert_eq!(log.modified().unwrap(), times[9], "log after {end}");
    }
}

// > `statfs` reports the space of the disk that holds the logs.
#[test]
fn statfs_is_that_of_the_disk() {
    let mount = Mount::new();
    let (ours, disk) = (
        statvfs(&mount.path()).unwrap(),
        statvfs(&mount.logs()).unwrap(),
    );
    // What is free changes while others use the disk.
    assert_eq!(ours.blocks(), disk.blocks());
    assert_eq!(ours.fragment_size(), disk.fragment_size());
    assert_eq!(ours.files(), disk.files());
    assert!(ours.blocks_free() > 0 && ours.blocks_available() <= ours.blocks_free());
    assert_eq!(ours.name_max(), 200);
    shell_ok(r#"df "$1" && df -i "$1/default/log""#, &[&mount.path()]);
}

#[test]
fn the_tools_that_look_at_files_work() {
    let mount = Mount::new();
    append_numbers(&mount, 0, 12);
    mount.append(vec![b'x'; 10_000]);
    let script = r#"
        cd "$1"
        stat -c '%n %s %A %F %h' append append-lines append-frames append-file follow log count 0 12 13
        test -s log && test -s 0 && ! test -s 13 && ! test -s append && echo sizes
        test -r log && test -f 0 && test -d . && test -e 13 && ! test -e 14 && echo kinds
        du -b 11 12 | tr '\t' ' '; du -h 12 > /dev/null; wc -c < log; ls -l > /dev/null
        echo 1?; grep -c . log; tar -cf - 0 1 log | tar -tf - | tr '\n' ' '; tac log | tail -n 1; cmp log log"#;
    let expected = "\
append 0 -rw------- regular empty file 1
append-lines 0 -rw------- regular empty file 1
append-frames 0 -rw------- regular empty file 1
append-file 0 -rw------- regular empty file 1
follow 10027 -r--r--r-- regular file 1
log 10027 -rw-r--r-- regular file 1
count 3 -r--r--r-- regular file 1
0 2 -r--r--r-- regular file 1
12 10000 -r--r--r-- regular file 1
13 0 -r--r--r-- regular empty file 1
sizes
kinds
3 11
10000 12
10027
10 11 12
13
0 1 log 0
";
    let said = shell_ok(script, &[&mount.file("")]);
    assert_eq!(said, expected);
}

#[test]
fn a_listing_of_a_million_records_takes_no_memory() {
    const RECORDS: usize = 1_000_000;
    let mut mount = Mount::new();
    shell_ok(
        r#"seq 0 $(($2 - 1)) > "$1""#,
        &[&mount.file("append-lines"), &RECORDS.to_string()],
    );
    // So that what appending took is not counted.
    mount.restart();
    assert_eq!(mount.count(), RECORDS as u64);
    let before = mount.peak_kib();
    let mut listing = Listing::open(&mount.file(""));
    let mut listed = 0;
    let mut last = String::new();
    while let Some((name, _)) = listing.next() {
        listed += 1;
        last = name;
    }
    assert_eq!(listed, RECORDS + FIXED.len() + 2);
    assert_eq!(last, (RECORDS - 1).to_string());
    let grown = mount.peak_kib() - before;
    assert!(grown < 30 << 10, "the daemon grew by {grown} KiB");
}
