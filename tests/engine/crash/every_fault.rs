//! Every call of a workload fails in turn, in every way that it can; then two of them; then the process is
//! killed or the power goes.

use std::sync::Arc;

use crate::bench::contents;
use immuta::{Durability, Error, Format, Options, Storage};
use support::Random;
use support::cut::{Replay, Style};
use support::sim::{Call, Fault, Image, SimDisk, directory, long};

const EVERY_KIND_OF_WRITE: [Fault; 9] = [
    Fault::Errno(libc::EIO),
    Fault::Half(libc::EIO),
    Fault::Errno(libc::ENOSPC),
    Fault::Half(libc::ENOSPC),
    Fault::Errno(libc::EDQUOT),
    Fault::Half(libc::EDQUOT),
    Fault::Errno(libc::EINTR),
    Fault::Half(libc::EINTR),
    Fault::Short,
];

fn faults_of(call: Call) -> &'static [Fault] {
    match call {
        Call::Write => &EVERY_KIND_OF_WRITE,
        Call::Read => &[
            Fault::Errno(libc::EIO),
            Fault::Errno(libc::EINTR),
            Fault::Short,
        ],
        _ => &[
            Fault::Errno(libc::EIO),
            Fault::Errno(libc::ENOSPC),
            Fault::Errno(libc::EDQUOT),
            Fault::Errno(libc::EINTR),
        ],
    }
}

/// Whether the fault has to be carried on from, as if it had not been.
fn is_nothing(call: Call, fault: Fault) -> bool {
    match fault {
        Fault::Short => true,
        // Half of a write and an error is what no system does with EINTR: it gives the half.
        Fault::Errno(libc::EINTR) => matches!(call, Call::Read | Call::Write),
        Fault::Half(libc::EINTR) => call == Call::Write,
        _ => false,
    }
}

/// A log in a directory, and how it is used.
struct Scene {
    dir: tempfile::TempDir,
    sync: Durability,
    format: Format,
    base: Image,
    before: Vec<Vec<u8>>,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Every record whose append returned.
    acknowledged: Vec<Vec<u8>>,
    /// How many of them are promised to be on the disk.
    promised: usize,
    /// The records of an append that failed, in a way that stops the log.
    doubtful: Vec<Vec<u8>>,
    errors: Vec<Error>,
}

impl Scene {
    fn options(&self, disk: &SimDisk) -> Options {
        Options::new(self.dir.path())
            .sync(self.sync)
            .format(self.format)
            .disk(Arc::new(disk.clone()))
    }

    /// Three records, and the log closed in order, or its writer killed.
    fn new(sync: Durability, format: Format, closed: bool) -> Self {
        let mut scene = Scene {
            dir: directory(),
            sync,
            format,
            base: Image::default(),
            before: vec![b"one\n".to_vec(), Vec::new(), vec![3; 700]],
        };
        let disk = SimDisk::new(Image::default(), 1);
        let storage = Storage::open(scene.options(&disk).namespaces(["a"])).expect("opened");
        storage.append_batch("a", &scene.before).expect("appended");
        if closed {
            storage.close().expect("closed");
        } else {
            storage.abandon();
        }
        scene.base = everything(&disk);
        scene
    }

    fn disk(&self) -> SimDisk {
        SimDisk::new(self.base.clone(), 1)
    }

    fn open(&self, disk: &SimDisk) -> Result<Storage, Error> {
        let storage = Storage::open(self.options(disk))?;
        match storage.failed().pop() {
            None => Ok(storage),
            Some((_, why)) => {
                drop(storage);
                Err(Arc::into_inner(why).expect("nobody else has it"))
            }
        }
    }

    /// Works until the end or until the log has stopped.
    fn work(&self, disk: &SimDisk) -> (Option<Storage>, Outcome) {
        let mut outcome = Outcome {
            acknowledged: self.before.clone(),
            promised: self.before.len(),
            ..Outcome::default()
        };
        let storage = match self.open(disk) {
            Ok(storage) => storage,
            Err(e) => {
                outcome.errors.push(e);
                return (None, outcome);
            }
        };
        let log = storage.log("a").expect("there");
        let large = vec![b'l'; 70_000];
        let works: [&[&[u8]]; 6] = [
            &[b"four"],
            &[b"five\n", b"", &[6; 600]],
            &[&large],
            &[],
            &[b"eight", b"nine"],
            &[b"read from a file"],
        ];
        for (i, batch) in works.iter().enumerate() {
            let result = match batch {
                [] => log.sync().map(|()| {
                    outcome.promised = outcome.acknowledged.len();
                }),
                [one] if i > 2 => log.append_from(&mut &one[..]).map(drop),
                batch => log.append_batch(batch).map(drop),
            };
            let batch = batch.iter().map(|record| record.to_vec());
            match result {
                Ok(()) => outcome.acknowledged.extend(batch),
                Err(e) => {
                    let stopped = !matches!(e, Error::NoSpace { .. });
                    outcome.errors.push(e);
                    if stopped {
                        outcome.doubtful = batch.collect();
                        break;
                    }
                }
            }
            if self.sync == Durability::Always {
                outcome.promised = outcome.acknowledged.len();
            }
        }
        drop(log);
        (Some(storage), outcome)
    }

    /// Works on a disk with these faults, and looks at everything that is promised for it.
    fn play(&self, faults: &[(usize, Fault)], harmless: bool, dice: &mut Random) {
        let disk = self.disk();
        disk.plan(faults);
        let (storage, mut outcome) = self.work(&disk);
        disk.plan(&[]);
        if harmless {
            assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        }
        if let Some(storage) = storage {
            self.look(&storage, &mut outcome);
            storage.abandon();
        }
        self.cut(&disk, &outcome, dice);

        // Killed where it stands, and opened again.
        let storage = self.open(&disk).expect("opened");
        let log = storage.log("a").expect("there");
        let kept = contents(&log);
        let mut possible = outcome.acknowledged.clone();
        possible.append(&mut outcome.doubtful);
        assert!(
            kept.len() >= outcome.acknowledged.len(),
            "lost: {outcome:?}"
        );
        assert_same(&kept, &possible);
        assert!(log.verify().expect("read").is_clean());
        outcome.acknowledged = kept;
        outcome.promised = outcome.acknowledged.len();
        storage.abandon();
        self.cut(&disk, &outcome, dice);

        let storage = self.open(&disk).expect("opened");
        storage.append("a", &b"goes on"[..]).expect("appended");
        storage.close().expect("closed");
        outcome.acknowledged.push(b"goes on".to_vec());
        outcome.promised += 1;
        self.cut(&disk, &outcome, dice);
    }

    /// The running log: stopped or not, it gives what was committed.
    fn look(&self, storage: &Storage, outcome: &mut Outcome) {
        let log = storage.log("a").expect("there");
        assert_same(&contents(&log), &outcome.acknowledged);
        assert_eq!(log.state().count as usize, outcome.acknowledged.len());
        let report = log.verify().expect("read");
        assert!(report.is_clean(), "{report:?} {outcome:?}");
        let stopped = outcome
            .errors
            .iter()
            .any(|e| matches!(e, Error::Io { action, .. } if *action != "read"));
        assert_eq!(log.state().failed, stopped, "{outcome:?}");
        assert_eq!(log.failure().is_some(), stopped);
        match log.append(b"there is room again") {
            Ok(_) => {
                assert!(!stopped);
                outcome.acknowledged.push(b"there is room again".to_vec());
            }
            Err(Error::Failed { .. }) => assert!(stopped),
            Err(e) => panic!("{e:?} {outcome:?}"),
        }
        if self.sync == Durability::Always {
            outcome.promised = outcome.acknowledged.len();
        }
    }

    /// The power goes: what is there is a prefix of what was written, and has what was promised.
    fn cut(&self, disk: &SimDisk, outcome: &Outcome, dice: &mut Random) {
        let mut replay = Replay::new(disk.base());
        for event in disk.events() {
            replay.apply(&event);
        }
        for n in 0..6 {
            let style = Style::pick(n, dice);
            let left = SimDisk::new(replay.cut(style, dice), 2);
            let storage = self.open(&left).expect("opened");
            let log = storage.log("a").expect("there");
            let kept = contents(&log);
            assert!(
                kept.len() >= outcome.promised,
                "{style:?}: {} of {} are left: {} {outcome:?}",
                kept.len(),
                outcome.promised,
                log.recovery(),
            );
            let possible = [&outcome.acknowledged[..], &outcome.doubtful].concat();
            assert_same(&kept, &possible);
            assert!(log.verify().expect("read").is_clean());
            log.append(b"on").expect("appended");
        }
    }

    fn calls(&self) -> Vec<Call> {
        let disk = self.disk();
        disk.plan(&[]);
        let (storage, outcome) = self.work(&disk);
        assert!(outcome.errors.is_empty(), "{outcome:?}");
        let calls = disk.calls();
        drop(storage);
        calls
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} acknowledged, {} promised, {} doubtful, {:?}",
            self.acknowledged.len(),
            self.promised,
            self.doubtful.len(),
            self.errors
        )
    }
}

fn assert_same(kept: &[Vec<u8>], possible: &[Vec<u8>]) {
    assert!(kept.len() <= possible.len(), "more than was written");
    for (n, (kept, written)) in kept.iter().zip(possible).enumerate() {
        let text = String::from_utf8_lossy(&kept[..kept.len().min(40)]);
        assert!(kept == written, "another record {n}: '{text}'");
    }
}

fn everything(disk: &SimDisk) -> Image {
    let mut replay = Replay::new(disk.base());
    for event in disk.events() {
        replay.apply(&event);
    }
    replay.cut(Style::All, &mut Random(0))
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for format in [Format::Count8, Format::Bare, Format::Count16] {
        for sync in [Durability::Never, Durability::Always] {
            scenes.extend([true, false].map(|closed| Scene::new(sync, format, closed)));
        }
    }
    scenes
}

/// "After a failed write or fsync the log refuses appends (EIO) until it is reopened and verified, keeps
/// serving committed records. ENOSPC and EDQUOT are not that: the record is refused whole, appends work again
/// when there is room."
#[test]
fn any_call_may_fail_in_any_way_and_the_log_is_whole_or_stopped() {
    let mut dice = Random(1);
    let mut played = 0;
    for scene in scenes() {
        for (at, call) in scene.calls().into_iter().enumerate() {
            for fault in faults_of(call) {
                let telling = support::sim::Telling(format!(
                    "{:?}, {}, call {at}, {call:?}, {fault:?}",
                    scene.sync, scene.format
                ));
                scene.play(&[(at, *fault)], is_nothing(call, *fault), &mut dice);
                played += 1;
                drop(telling);
            }
        }
    }
    println!("{played} single faults");
}

/// The same when the way back fails too: the second fault is at one of the calls right behind the first.
#[test]
fn any_two_calls_in_a_row_may_fail_and_the_log_is_whole_or_stopped() {
    let mut dice = Random(support::sim::seed(2));
    let mut played = 0;
    for scene in scenes() {
        for (at, call) in scene.calls().into_iter().enumerate() {
            for first in faults_of(call) {
                for distance in 1..=4 {
                    for second in EVERY_KIND_OF_WRITE {
                        if !long() && !dice.one_in(72) {
                            continue;
                        }
                        let telling = support::sim::Telling(format!(
                            "{:?}, {}, call {at}, {call:?}, {first:?}, then {second:?} {distance} later",
                            scene.sync, scene.format
                        ));
                        scene.play(&[(at, *first), (at + distance, second)], false, &mut dice);
                        played += 1;
                        drop(telling);
                    }
                }
            }
        }
    }
    println!("{played} pairs of faults");
}

/// "The record is refused whole": also for who comes after a power cut. Its bytes, its entry and the count
/// had been written when the disk was full; taking them back is worth nothing until that is on the disk.
#[test]
fn regression_a_record_that_was_refused_is_not_found_after_a_power_cut() {
    let scene = Scene::new(Durability::Never, Format::default(), true);
    let calls = scene.calls();
    for at in 0..calls.len() {
        let disk = scene.disk();
        disk.plan(&[(at, Fault::Half(libc::ENOSPC))]);
        let Ok(storage) = scene.open(&disk) else {
            continue;
        };
        let refused = storage.append("a", &b"refused"[..]).is_err();
        storage.abandon();
        let mut replay = Replay::new(disk.base());
        disk.events().iter().for_each(|event| replay.apply(event));
        for luck in 0..if refused { 200 } else { 0 } {
            let mut dice = Random(luck);
            let style = Style::pick(2, &mut dice);
            let left = SimDisk::new(replay.cut(style, &mut dice), 2);
            let storage = scene.open(&left).expect("opened");
            let kept = contents(&storage.log("a").expect("there"));
            assert!(kept == scene.before, "call {at}, luck {luck}, {style:?}");
        }
    }
}
