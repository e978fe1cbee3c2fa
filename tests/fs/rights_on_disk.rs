//! Changes of rights on a disk whose power is cut behind any call, and on one that fails any call.

use std::collections::BTreeSet;
use std::sync::Arc;

use immuta::{Disk, Durability};
use immuta_fs::fs::SetAttr;
use immuta_fs::fs::errno::Errno;
use support::Random;
use support::cut::{Replay, Style};
use support::sim::{Call, Event, Fault, Image, SimDisk, Telling, directory, seed};
use tempfile::TempDir;

use crate::transport::{Answer, ME, ROOT, Tree};

/// So many outcomes of one power cut are looked at.
const OUTCOMES: usize = 8;

/// Owner, group and mode of a directory.
type Rights = (u32, u32, u16);

/// A directory of logs on a disk that is mounted again and again.
struct Bench(Arc<TempDir>);

impl Bench {
    fn new() -> Bench {
        Bench(Arc::new(directory()))
    }

    /// A disk with a namespace `ns`, mounted.
    fn begin(&self) -> (SimDisk, Tree) {
        let disk = SimDisk::new(Image::default(), 1);
        let tree = self.mount(&disk);
        (disk, tree)
    }

    fn mount(&self, disk: &SimDisk) -> Tree {
        let disk = Arc::new(disk.clone());
        Tree::in_directory(self.0.clone(), disk, Durability::Never, 1 << 20)
    }

    /// Mounts what there is on a disk, and unmounts it. Returns the rights of the root and of `ns`.
    fn rights_on(&self, disk: &SimDisk) -> [Rights; 2] {
        let tree = self.mount(disk);
        let found = rights(&tree);
        // Whatever is left over is in nobody's way: not that of the next change, which takes it away.
        let namespaces = tree.storage.namespaces();
        assert_eq!(namespaces.len(), 1, "{namespaces:?}");
        for name in ["", "ns"] {
            set(&tree, name, chmod(0o4321)).unwrap();
        }
        tree.storage.close().unwrap();
        let names = disk.list(self.0.path()).unwrap();
        let mut names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [".immuta.rights", "ns.idx", "ns.log", "ns.rights"]);
        found
    }
}

/// The rights of the root and of `ns`.
fn rights(tree: &Tree) -> [Rights; 2] {
    let (root, ns) = (tree.fs.getattr(ROOT, None), tree.fs.lookup(ROOT, "ns"));
    [root, ns].map(|attr| {
        let attr = attr.unwrap();
        (attr.uid, attr.gid, attr.mode)
    })
}

/// Changes the rights of a namespace, or with an empty name those of the root.
fn set(tree: &Tree, name: &str, change: SetAttr) -> Result<(), Errno> {
    let ino = match name {
        "" => ROOT,
        name => tree.fs.lookup(ROOT, name).unwrap().ino,
    };
    tree.fs.setattr(ME, ino, change, tree.reply("set"));
    match tree.wait().1 {
        Answer::Attr(_) => Ok(()),
        Answer::Refused(errno) => Err(errno),
        other => panic!("{other:?}"),
    }
}

fn chmod(mode: u16) -> SetAttr {
    SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    }
}

fn chown(uid: u32, gid: u32) -> SetAttr {
    SetAttr {
        uid: Some(uid),
        gid: Some(gid),
        ..SetAttr::default()
    }
}

/// Goes through what a disk has seen from the event `from` on. `check` gets each outcome of a power cut behind each event,
/// with the number of the events before the cut.
fn cut_everywhere(disk: &SimDisk, from: usize, mut check: impl FnMut(&SimDisk, usize)) {
    let mut dice = Random(seed(20_261_125));
    let mut replay = Replay::new(disk.base());
    for (at, event) in disk.events().iter().enumerate() {
        replay.apply(event);
        if at + 1 < from || !Replay::matters(event) {
            continue;
        }
        for n in 0..OUTCOMES {
            let style = Style::pick(n, &mut dice);
            let telling = Telling(format!("cut behind event {at}, {event:?}, {style:?}"));
            check(&SimDisk::new(replay.cut(style, &mut dice), 2), at + 1);
            drop(telling);
        }
    }
}

#[test]
fn a_power_cut_leaves_the_old_rights_or_the_new_ones() {
    let bench = Bench::new();
    let (disk, tree) = bench.begin();
    // Behind so many events, these are the rights.
    let mut known = vec![(disk.events().len(), rights(&tree))];
    for (name, change) in [
        ("ns", chmod(0o700)),
        ("ns", chown(5, 6)),
        ("", chmod(0o1777)),
        ("ns", chmod(0o2750)),
        ("", chown(4_000_000_000, 7)),
        ("ns", chown(123_456, 654_321)),
    ] {
        set(&tree, name, change).unwrap();
        known.push((disk.events().len(), rights(&tree)));
    }
    tree.storage.close().unwrap();

    let mut found_of: Vec<BTreeSet<bool>> = vec![BTreeSet::new(); known.len()];
    cut_everywhere(&disk, known[0].0, |left, at| {
        let last = known.iter().rposition(|(events, _)| *events <= at).unwrap();
        let found = bench.rights_on(left);
        let is_next = known
            .get(last + 1)
            .is_some_and(|(events, next)| at < *events && found == *next);
        let expected = &known[last].1;
        assert!(found == *expected || is_next, "{found:?}, {expected:?}");
        found_of[last].insert(is_next);
    });
    // Both were seen of each change.
    let both = BTreeSet::from([false, true]);
    let (_, changes) = found_of.split_last().unwrap();
    assert!(changes.iter().all(|found| *found == both), "{found_of:?}");
}

#[test]
fn a_power_cut_leaves_no_namespace_that_is_more_open_than_it_was_made() {
    let bench = Bench::new();
    let (disk, tree) = bench.begin();
    let from = disk.events().len();
    tree.fs.mkdir(ME, ROOT, "orders", 0o700).unwrap();
    let made = disk.events().len();
    tree.fs.rmdir(ROOT, "orders").unwrap();
    let removed = disk.events().len();
    tree.storage.close().unwrap();

    let mut were_there = BTreeSet::new();
    cut_everywhere(&disk, from, |left, at| {
        let tree = bench.mount(left);
        let found = tree.fs.lookup(ROOT, "orders");
        were_there.insert(found.is_ok());
        match &found {
            Ok(attr) => assert_eq!((attr.uid, attr.gid, attr.mode), (ME.uid, ME.gid, 0o700)),
            Err(errno) => assert_eq!(*errno, Errno::ENOENT),
        }
        if at == made || at >= removed {
            assert_eq!(found.is_ok(), at == made);
        }
        if found.is_err() {
            // Rights of a namespace that is not there mean nothing.
            let again = tree.fs.mkdir(ME, ROOT, "orders", 0o755).unwrap();
            assert_eq!(again.mode, 0o755);
        }
        tree.storage.close().unwrap();
    });
    assert_eq!(were_there, BTreeSet::from([false, true]));
}

#[test]
fn a_change_that_the_disk_fails_is_refused_and_the_old_rights_hold() {
    let bench = Bench::new();
    let mut refused = BTreeSet::new();
    for fault in [
        Fault::Errno(libc::EIO),
        Fault::Errno(libc::ENOSPC),
        Fault::Half(libc::ENOSPC),
        Fault::Short,
    ] {
        // Without and with rights that were set before.
        for has_file in [false, true] {
            for at in 0.. {
                let telling = Telling(format!("{fault:?} at call {at}, {has_file}"));
                let (disk, tree) = bench.begin();
                if has_file {
                    set(&tree, "ns", chmod(0o700)).unwrap();
                }
                let (before, from) = (rights(&tree), disk.events().len());
                disk.plan(&[(at, fault)]);
                let result = set(&tree, "ns", chmod(0o1777));
                let call = disk.calls().get(at).copied();
                disk.plan(&[]);
                let new = [before[0], (before[1].0, before[1].1, 0o1777)];
                let expected = match (&result, fault) {
                    (Ok(()), _) => new,
                    (Err(errno), Fault::Errno(failed) | Fault::Half(failed)) => {
                        let is_full = failed == libc::ENOSPC;
                        assert_eq!(*errno, if is_full { Errno::ENOSPC } else { Errno::EIO });
                        refused.insert(format!("{:?}", call.unwrap()));
                        before
                    }
                    (Err(errno), _) => panic!("{errno}"),
                };
                assert_eq!(rights(&tree), expected);
                tree.storage.close().unwrap();
                // The process is killed now, or the power was cut at any call.
                let events = disk.events();
                let killed = disk.killed_after(&events);
                assert_eq!(bench.rights_on(&killed), expected);
                cut_everywhere(&disk, from, |left, at| {
                    let found = bench.rights_on(left);
                    let is_over = at == events.len() && result.is_ok();
                    assert!(found == new || found == before && !is_over, "{found:?}");
                });
                drop(telling);
                if call.is_none() {
                    break;
                }
            }
        }
    }
    let changes = [
        Call::Create,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::SyncDir,
    ];
    assert_eq!(refused, changes.map(|call| format!("{call:?}")).into());
}

#[test]
fn what_a_crash_has_left_of_a_change_is_replaced_by_the_next_one() {
    let bench = Bench::new();
    let (disk, tree) = bench.begin();
    set(&tree, "ns", chmod(0o700)).unwrap();
    tree.storage.close().unwrap();
    let events = disk.events();
    let renamed = events
        .iter()
        .rposition(|event| matches!(event, Event::Rename(..)))
        .unwrap();
    let killed = disk.killed_after(&events[..renamed]);
    let names = killed.list(bench.0.path()).unwrap();
    assert!(names.iter().any(|entry| entry.name == "ns.rights.new"));
    assert_eq!(bench.rights_on(&killed)[1].2, 0o755);
}
