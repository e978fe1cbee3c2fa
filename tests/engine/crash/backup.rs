//! Copies of a log and its index that were made one after the other, while records were appended, and are opened on
//! another machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bench::contents;
use immuta::{Durability, Error, Format, Log, Namespace, Options, Storage};
use support::Random;
use support::sim::{Image, SimDisk, directory, seed};

/// A writer, and a copier of its files, who take turns.
struct Scene {
    dir: tempfile::TempDir,
    format: Format,
    disk: SimDisk,
    log: Arc<Log>,
    written: Vec<Vec<u8>>,
    dice: Random,
}

/// What was copied.
struct Copy {
    log: Vec<u8>,
    index: Vec<u8>,
    /// How many records in it are whole, and were counted by it, or appended before it was begun.
    owed: usize,
}

impl Scene {
    fn new(format: Format, seed: u64) -> Self {
        let (dir, disk) = (directory(), SimDisk::new(Image::default(), 1));
        let options = options(dir.path(), &disk).format(format).namespaces(["a"]);
        let storage = Storage::open(options).expect("opened");
        let log = storage.log("a").expect("there");
        std::mem::forget(storage); // The writer goes on for ever.
        Scene {
            dir,
            format,
            disk,
            log,
            written: Vec::new(),
            dice: Random(seed),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&mut self) {
        for _ in 0..self.dice.below(6) {
            let n = self.written.len();
            let payload = format!("record {n} {}", "x".repeat(self.dice.below(60))).into_bytes();
            self.log.append(&payload).expect("appended");
            self.written.push(payload);
        }
        if self.dice.one_in(12) {
            self.log.sync().expect("synced");
        }
    }

    /// As rsync does: it looks at the length, and then reads so much from the front, in pieces.
    fn copy_file(&mut self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        let length = self.disk.with(&path, |bytes| bytes.len());
        let mut copy = Vec::new();
        while copy.len() < length {
            if self.dice.one_in(2) {
                self.write();
            }
            let (from, piece) = (copy.len(), 1 + self.dice.below(900));
            let to = length.min(from + piece);
            self.disk
                .with(&path, |bytes| copy.extend_from_slice(&bytes[from..to]));
        }
        copy
    }

    fn copy(&mut self, log_first: bool) -> Copy {
        let (log, index, before);
        if log_first {
            before = self.written.len();
            log = self.copy_file("a.log");
            self.write();
            index = self.copy_file("a.idx");
        } else {
            index = self.copy_file("a.idx");
            self.write();
            before = self.written.len();
            log = self.copy_file("a.log");
        }
        let header = self.format.header_bytes() as usize;
        let whole = frames(&log[header..]).len();
        let counted = match self.format {
            Format::Bare => before,
            _ => i64::from_le_bytes(log[..8].try_into().expect("eight")) as usize,
        };
        let owed = counted.min(whole);
        Copy { log, index, owed }
    }

    /// The copy on a disk of another machine.
    fn elsewhere(&self, copy: &Copy) -> SimDisk {
        let mut image = Image::default();
        for (name, bytes) in [("a.log", &copy.log), ("a.idx", &copy.index)] {
            image.0.insert(self.path(name), bytes.clone().into());
        }
        SimDisk::new(image, 2)
    }
}

fn options(dir: &Path, disk: &SimDisk) -> Options {
    Options::new(dir)
        .sync(Durability::Never)
        .disk(Arc::new(disk.clone()))
}

/// The whole records in bytes that are a size and a payload, again and again.
fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((size, rest)) = bytes.split_first_chunk() {
        let Some((payload, rest)) = rest.split_at_checked(u64::from_le_bytes(*size) as usize)
        else {
            break;
        };
        records.push(payload.to_vec());
        bytes = rest;
    }
    records
}

fn each_copy(log_first: bool, mut check: impl FnMut(&Scene, &Copy, PathBuf)) {
    let first = seed(3);
    for n in 0..150 {
        let format = Format::ALL[n as usize % 3];
        // A directory of its own for the copy: the writer holds the lock of its own.
        let mut scene = Scene::new(format, first ^ (n << 32));
        for _ in 0..10 {
            scene.write();
        }
        let copy = scene.copy(log_first);
        let elsewhere = directory();
        scene.dir = elsewhere;
        let path = scene.dir.path().to_owned();
        check(&scene, &copy, path);
    }
}

/// It was cut where the older index ended: 990 of 1,000 records that the log counted were gone at the first opening.
// > Records that a log counts and that are whole in it are cut only after a copy of them has been saved beside
// > it: `NAMESPACE.cut-OFFSET`, as frames.
#[test]
fn regression_a_copy_whose_index_is_older_than_its_log_loses_no_record_that_the_log_counts() {
    let (mut cut, mut kept_all) = (0, 0);
    each_copy(false, |scene, copy, dir| {
        let disk = scene.elsewhere(copy);
        let storage = Storage::open(options(&dir, &disk)).expect("opened");
        let log = storage.log("a").expect("it opens");
        let mut found = contents(&log);
        assert_eq!(found, scene.written[..found.len()]);
        let recovery = log.recovery();
        if let Some(path) = &recovery.saved {
            let saved = frames(&disk.with(path, |bytes| bytes.clone()));
            assert!(saved.len() as u64 >= recovery.cut.expect("cut").records);
            assert!(recovery.to_string().contains("saved in '"), "{recovery}");
            // What the message says: they are appended again.
            let saved: Vec<&[u8]> = saved.iter().map(|record| &**record).collect();
            log.append_batch(&saved).expect("appended");
            found = contents(&log);
            cut += 1;
        } else {
            kept_all += 1;
        }
        assert!(
            found.len() >= copy.owed,
            "{} of {} ({:?}): {recovery}",
            found.len(),
            copy.owed,
            scene.format
        );
        assert_eq!(found, scene.written[..found.len()]);
        storage.close().expect("closed");
    });
    println!("{cut} were cut and saved, {kept_all} kept whole");
    assert!(cut > 20, "only {cut} copies were cut");
}

/// The order that docs/recipes.md gives.
#[test]
fn a_copy_whose_log_is_older_than_its_index_opens_with_every_record_that_the_log_counts() {
    let (mut opened, mut refused) = (0, 0);
    each_copy(true, |scene, copy, dir| {
        let disk = scene.elsewhere(copy);
        let name = Namespace::new("a").expect("a name");
        let storage = Storage::open(options(&dir, &disk)).expect("opened");
        let storage = match storage.log("a") {
            Ok(_) => {
                opened += 1;
                storage
            }
            // Its count is of a record behind the length that the copier had looked at: as in a log that has lost its
            // end. The way out is the one that the message names.
            Err(_) => {
                let failed = storage.failed();
                assert!(matches!(&*failed[0].1, Error::Damaged { .. }));
                let log = disk.with(&dir.join("a.log"), |bytes| bytes.clone());
                assert_eq!(log, copy.log, "it was changed");
                drop(storage);
                let options = options(&dir, &disk);
                let plan = immuta::repair(&options, &name, true).expect("a plan");
                let why = plan.opening.expect("said").expect_err("it is refused");
                assert!(why.contains("is damaged at byte"), "{why}");
                immuta::repair(&options, &name, false).expect("repaired");
                refused += 1;
                Storage::open(options).expect("opened")
            }
        };
        let log = storage.log("a").expect("it opens");
        let found = contents(&log);
        assert!(found.len() >= copy.owed, "{} of {}", found.len(), copy.owed);
        assert_eq!(found, scene.written[..found.len()]);
        assert_eq!(log.details().expect("known").rebuilt, 0, "a time was lost");
        storage.close().expect("closed");
    });
    println!("{opened} opened, {refused} had to be repaired");
    assert!(opened > 30, "only {opened} copies opened");
}

/// It said what a repair keeps, and was taken for what opening keeps.
#[test]
fn a_dry_run_of_repair_says_what_opening_would_do() {
    each_copy(false, |scene, copy, dir| {
        let disk = scene.elsewhere(copy);
        let name = Namespace::new("a").expect("a name");
        let plan = immuta::repair(&options(&dir, &disk), &name, true).expect("a plan");
        let said = plan.opening.expect("said").expect("it opens");
        if scene.format != Format::Bare {
            assert!(
                plan.recovery.records as usize >= copy.owed,
                "{copy:?}",
                copy = plan.recovery
            );
        }
        let storage = Storage::open(options(&dir, &disk)).expect("opened");
        let done = storage.log("a").expect("it opens").recovery().clone();
        assert_eq!(said, done);
        storage.close().expect("closed");
    });
}

/// Two power cuts at one place of a log cut two things.
#[test]
fn what_is_cut_at_one_place_a_second_time_is_saved_beside_the_first() {
    let mut scene = Scene::new(Format::Count8, 1);
    let payload = |n: usize| format!("record {n}").into_bytes();
    scene.log.append(&payload(0)).expect("appended");
    scene.log.sync().expect("synced");
    let index = scene.disk.with(&scene.path("a.idx"), |bytes| bytes.clone());
    scene.log.append(&payload(1)).expect("appended");
    let log = scene.disk.with(&scene.path("a.log"), |bytes| bytes.clone());
    let copy = Copy {
        log,
        index,
        owed: 2,
    };
    scene.dir = directory();
    let disk = scene.elsewhere(&copy);
    let saved = |bytes: &[u8]| {
        disk.with(&scene.path("a.log"), |log| *log = bytes.to_vec());
        disk.with(&scene.path("a.idx"), |index| *index = copy.index.clone());
        let storage = Storage::open(options(scene.dir.path(), &disk)).expect("opened");
        let recovery = storage.log("a").expect("opened").recovery().clone();
        recovery.saved.expect("saved")
    };
    assert_eq!(saved(&copy.log), scene.path("a.cut-24"));
    assert_eq!(saved(&copy.log), scene.path("a.cut-24"), "the same bytes");
    let mut other = copy.log.clone();
    *other.last_mut().expect("a byte") = b'!';
    assert_eq!(saved(&other), scene.path("a.cut-24-2"));
}
