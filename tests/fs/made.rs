//! What is made when it is asked for: the count, the status, the attributes.

use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, ReadMode, XattrReply};

use crate::transport::{Answer, ME, NOW, PLAIN, ROOT, Tree, WAIT, data, request};

/// It was put together from two numbers, `9` and the end of `10`.
#[test]
fn regression_a_count_that_grows_while_it_is_read_is_one_number() {
    let tree = Tree::new();
    let count = tree.open("count");
    let read = |offset| {
        tree.fs
            .read(count, request(2, offset, 100, WAIT), tree.reply("count"));
        tree.next().unwrap().1
    };
    assert_eq!(read(0), Answer::Data(b"0\n".to_vec()));
    for _ in 0..10 {
        tree.append(b"x");
    }
    assert_eq!(read(2), Answer::Data(Vec::new()));

    let tree = Tree::new();
    for _ in 0..9 {
        tree.append(b"x");
    }
    let count = tree.open("count");
    let read = |offset| {
        tree.fs
            .read(count, request(2, offset, 100, WAIT), tree.reply("count"));
        tree.next().unwrap().1
    };
    assert_eq!(read(0), Answer::Data(b"9\n".to_vec()));
    tree.append(b"x");
    assert_eq!(read(2), Answer::Data(Vec::new()));
    assert_eq!(read(0), Answer::Data(b"10\n".to_vec()));
}

#[test]
fn what_grows_is_not_read_for_the_page_cache_and_a_written_record_is() {
    let tree = Tree::new();
    tree.append(b"x");
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let status = tree.fs.lookup(about, "status").unwrap().ino;
    let for_page_cache = ReadMode {
        for_page_cache: true,
        ..NOW
    };
    let next = tree.open("1");
    let ino = tree.ino("1");
    tree.append(b"the next one");
    let names = "follow log count frames follow-frames log.jsonl follow.jsonl stats";
    let mut files: Vec<u64> = names.split(' ').map(|name| tree.open(name)).collect();
    files.push(tree.fs.open(ME, status, Access::Read).unwrap().fh);
    // Also when it is opened, by the inode that it had before, when it has been written.
    files.extend([next, tree.fs.open(ME, ino, Access::Read).unwrap().fh]);
    for file in files {
        let mode = for_page_cache;
        tree.fs
            .read(file, request(2, 0, 100, mode), tree.reply("sendfile"));
        assert_eq!(
            tree.next(),
            Some(("sendfile", Answer::Refused(Errno::EINVAL)))
        );
        assert!(matches!(tree.read(file, 0, 100), Some(Answer::Data(d)) if !d.is_empty()));
    }
    let opened = tree.fs.open(ME, tree.ino("1"), Access::Read).unwrap();
    assert!(opened.cached);
    let reply = tree.reply("sendfile");
    let request = request(2, 0, 100, for_page_cache);
    tree.fs.read(opened.fh, request, reply);
    assert_eq!(tree.next(), Some(("sendfile", data(b"the next one"))));
}

/// The kernel raised the size of the inode while it was the next record's, and kept that when it was written.
#[test]
fn regression_the_next_record_and_the_written_one_have_inodes_of_their_own() {
    let tree = Tree::new();
    let next = tree.ino("0");
    let size = |ino| tree.fs.getattr(ino, None).map(|attr| attr.size);
    assert_eq!(size(next), Ok(0));
    let lookup = |name| {
        let ns = tree.fs.lookup(ROOT, "ns").unwrap().ino;
        tree.fs.lookup(ns, name).unwrap()
    };
    assert_eq!(lookup("0").entry_ttl, std::time::Duration::ZERO);
    tree.append(b"record");
    let written = tree.ino("0");
    assert_ne!(written, next);
    assert_eq!((size(written), size(next)), (Ok(6), Ok(6)));
    assert!(!tree.fs.open(ME, next, Access::Read).unwrap().cached);
    // A number that no lookup has given.
    let beyond = written + 1;
    assert_eq!(size(beyond), Err(Errno::ESTALE));
    let opened = tree.fs.open(ME, beyond, Access::Read).map(|_| ());
    assert_eq!(opened, Err(Errno::ESTALE));
}

#[test]
fn a_status_is_that_of_its_opening_and_an_open_file_as_any_other() {
    let tree = Tree::new();
    let about = tree.fs.lookup(ROOT, ".immuta").unwrap().ino;
    let ino = tree.fs.lookup(about, "status").unwrap().ino;
    let file = tree.fs.open(ME, ino, Access::Read).unwrap().fh;
    let Some(Answer::Data(before)) = tree.read(file, 0, 10_000) else {
        panic!("no status");
    };
    tree.append(b"x");
    assert_eq!(tree.read(file, 0, 10_000), Some(data(&before)));
    let middle = before.len() as u64 / 2;
    let rest = data(&before[before.len() / 2..]);
    assert_eq!(tree.read(file, middle, 10_000), Some(rest));
    assert_eq!(tree.read(file, u64::MAX, 10), Some(data(b"")));
    assert!(tree.fs.poll(file, None).unwrap().readable);
    tree.fs.fsync(file, tree.reply("fsync"));
    assert_eq!(tree.next(), Some(("fsync", Answer::Done)));
    tree.fs.flush(ME, file, tree.reply("flush"));
    assert_eq!(tree.next(), Some(("flush", Answer::Done)));
    let written = tree.write(file, b"x", PLAIN);
    assert_eq!(written, Answer::Refused(Errno::EBADF));
    tree.fs.release(file);
    assert_eq!(tree.read(file, 0, 1), Some(Answer::Refused(Errno::EBADF)));
    for access in [Access::Write, Access::ReadWrite, Access::ReadTruncate] {
        let opened = tree.fs.open(ME, ino, access).map(|_| ());
        assert_eq!(opened, Err(Errno::EACCES));
    }
}

#[test]
fn an_attribute_is_given_whole_or_not_at_all() {
    let tree = Tree::new();
    tree.append(b"one");
    tree.append(b"two");
    let (record, next) = (tree.ino("1"), tree.ino("2"));
    let get = |ino, name: &str, size| tree.fs.getxattr(ino, name.as_bytes(), size);
    let index = "user.immuta.index";
    assert_eq!(get(record, index, 0), Ok(XattrReply::Size(2)));
    assert_eq!(get(record, index, 1), Err(Errno::ERANGE));
    assert_eq!(get(record, index, 2), Ok(XattrReply::Data(b"19".to_vec())));
    assert_eq!(get(next, index, 9), Err(Errno::ENODATA));
    let names = "user.immuta.record\0user.immuta.index\0";
    let list = |ino, size| tree.fs.listxattr(ino, size);
    assert_eq!(list(record, 0), Ok(XattrReply::Size(names.len() as u32)));
    assert_eq!(list(record, names.len() as u32 - 1), Err(Errno::ERANGE));
    assert_eq!(list(record, 99), Ok(XattrReply::Data(names.into())));
    assert_eq!(
        list(next, 99),
        Ok(XattrReply::Data(b"user.immuta.record\0".to_vec()))
    );
    assert_eq!(
        list(tree.ino("append"), 99),
        Ok(XattrReply::Data(Vec::new()))
    );
    assert_eq!(get(record, "user.immuta.count", 9), Err(Errno::ENODATA));
    assert_eq!(get(record, "security.selinux", 9), Err(Errno::EOPNOTSUPP));
}
