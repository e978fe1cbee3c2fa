//! `append-file`: open .. close is one record, if its writer ends well.

use std::process::{Child, Command, Stdio};

use immuta::Durability;
use immuta_fs::fs::errno::Errno;
use immuta_fs::fs::{Access, Caller, SetAttr};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::gate::LARGE;
use crate::transport::{Answer, ME, PLAIN, Tree, data, me, written};

/// A process, and how it is known to the file system.
struct Process(Child);

impl Process {
    fn start() -> Process {
        Process(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap())
    }

    fn caller(&self) -> Caller {
        Caller {
            thread: self.0.id(),
            ..ME
        }
    }

    /// Ends it, by a signal or by itself, as far as it ends before somebody has looked how.
    fn end(&mut self, signal: Option<Signal>) {
        match signal {
            Some(signal) => kill(Pid::from_raw(self.0.id() as i32), signal).unwrap(),
            None => drop(self.0.stdin.take()),
        }
        let id = Id::Pid(Pid::from_raw(self.0.id() as i32));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_written_between_open_and_close_is_one_record_small_or_large() {
    for sync in [Durability::Never, Durability::Always] {
        let tree = Tree::with(sync);
        for (n, bytes) in [3, LARGE].into_iter().enumerate() {
            let fh = tree.open_by(me(), "append-file");
            let piece = vec![b'a' + n as u8; bytes];
            for _ in 0..3 {
                assert_eq!(tree.write(fh, &piece, PLAIN), written(&piece));
            }
            assert_eq!(tree.count(), n as u64);
            assert_eq!(tree.close(me(), fh), Answer::Done);
            assert_eq!(tree.count(), 1 + n as u64);
            assert!(tree.record(n as u64) == piece.repeat(3));
            // Whoever still has it.
            assert_eq!(
                tree.write(fh, b"late", PLAIN),
                Answer::Refused(Errno::EBADF)
            );
            assert_eq!(tree.close(me(), fh), Answer::Done);
            tree.fs.release(fh);
        }
        let empty = tree.open_by(me(), "append-file");
        assert_eq!(tree.close(me(), empty), Answer::Done);
        tree.fs.release(empty);
        tree.fs.end_spools();
        assert_eq!(tree.count(), 2);
    }
}

#[test]
fn nobody_opens_a_file_whose_fate_could_not_be_seen() {
    let tree = Tree::new();
    let opened = tree.fs.open(ME, tree.ino("append-file"), Access::Write);
    assert_eq!(opened.map(|_| ()), Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_file_gives_back_where_its_record_is_once_it_is_stored() {
    for bytes in [3, LARGE] {
        let tree = Tree::new();
        tree.append(b"before");
        let ino = tree.ino("append-file");
        let fh = tree.fs.open(me(), ino, Access::ReadWrite).unwrap().fh;
        tree.write(fh, &vec![b'x'; bytes], PLAIN);
        assert_eq!(tree.read(fh, 0, 100), Some(data(b"")));
        assert_eq!(tree.close(me(), fh), Answer::Done);
        // The index of the record behind a header of 8 bytes, a size of 8 and 6 bytes.
        let line = format!("1 22 {bytes}\n");
        assert_eq!(tree.read(fh, 0, 100), Some(data(line.as_bytes())));
    }
}

#[test]
fn a_file_is_stored_by_its_openers_end_unless_that_was_killed() {
    let cancelled = Answer::Refused(Errno::ECANCELED);
    for bytes in [1, LARGE] {
        for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGTERM)] {
            let tree = Tree::new();
            let (mut opener, mut heir) = (Process::start(), Process::start());
            let fh = tree.open_by(opener.caller(), "append-file");
            tree.write(fh, &vec![b'a'; bytes], PLAIN);
            // Somebody who has inherited it is killed: the opener goes on.
            heir.end(Some(Signal::SIGKILL));
            assert_eq!(tree.close(heir.caller(), fh), Answer::Done);
            assert_eq!(tree.write(fh, b"b", PLAIN), Answer::Written(1));
            opener.end(signal);
            let answer = tree.close(opener.caller(), fh);
            if signal.is_none() {
                assert_eq!((answer, tree.count()), (Answer::Done, 1));
                assert_eq!(tree.record(0).len(), bytes + 1);
                continue;
            }
            assert_eq!(answer, cancelled);
            // Whoever has it still: what it writes would be a part of something.
            assert_eq!(tree.write(fh, b"c", PLAIN), cancelled);
            tree.fs.fsync(fh, tree.reply("fsync"));
            assert_eq!(tree.wait(), ("fsync", cancelled.clone()));
            assert_eq!(tree.close(me(), fh), cancelled);
            tree.fs.release(fh);
            tree.fs.end_spools();
            assert_eq!(tree.count(), 0);
        }
    }
}

#[test]
fn a_file_that_was_handed_on_is_stored_at_the_last_close_unless_who_has_it_was_killed() {
    for signal in [None, Some(Signal::SIGKILL)] {
        let tree = Tree::new();
        let mut heir = Process::start();
        let fh = tree.open_by(me(), "append-file");
        assert_eq!(tree.close(me(), fh), Answer::Done);
        assert_eq!(tree.write(fh, b"by the heir", PLAIN), Answer::Written(11));
        assert_eq!(tree.close(heir.caller(), fh), Answer::Done);
        assert_eq!(tree.count(), 0, "it may have another descriptor");
        heir.end(signal);
        let answer = tree.close(heir.caller(), fh);
        tree.fs.release(fh);
        tree.fs.end_spools();
        match signal {
            None => assert_eq!((answer, tree.count()), (Answer::Done, 1)),
            Some(_) => {
                assert_eq!(answer, Answer::Refused(Errno::ECANCELED));
                assert_eq!(tree.count(), 0);
            }
        }
    }
}

#[test]
fn after_a_refused_change_of_its_size_nothing_of_a_file_is_stored() {
    let tree = Tree::new();
    let fh = tree.open_by(me(), "append-file");
    let resize = |size| {
        let change = SetAttr {
            size: Some(size),
            fh: Some(fh),
            ..SetAttr::default()
        };
        let ino = tree.ino("append-file");
        tree.fs.setattr(me(), ino, change, tree.reply("resize"));
        match tree.wait().1 {
            Answer::Refused(errno) => Err(errno),
            _ => Ok(()),
        }
    };
    assert_eq!(resize(0), Ok(()));
    assert_eq!(tree.write(fh, b"x", PLAIN), Answer::Written(1));
    assert_eq!(resize(7), Err(Errno::EPERM));
    assert_eq!(tree.write(fh, b"y", PLAIN), Answer::Refused(Errno::EPERM));
    assert_eq!(tree.close(me(), fh), Answer::Refused(Errno::EPERM));
    tree.fs.release(fh);
    assert_eq!(tree.count(), 0);
}

/// At the end what was closed is stored, and what was not is given up, also when it is closed afterwards.
#[test]
fn the_end_stores_what_was_closed_and_nothing_else() {
    let tree = Tree::new();
    let (closed, open) = (
        tree.open_by(me(), "append-file"),
        tree.open_by(me(), "append-file"),
    );
    for fh in [closed, open] {
        tree.write(fh, &vec![b'x'; LARGE], PLAIN);
    }
    tree.fs.close();
    tree.fs.flush(me(), closed, tree.reply("closed"));
    tree.fs.end_spools();
    assert_eq!(tree.next(), Some(("closed", Answer::Done)));
    assert_eq!(tree.close(me(), open), Answer::Refused(Errno::ECANCELED));
    tree.fs.release(open);
    tree.fs.end_spools();
    assert_eq!(tree.count(), 1);
}
