//! The life of a few logs on a disk that writes everything down: random work, and at every moment what is
//! owed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use immuta::{Durability, Format, Log, Options, Storage};

use crate::bench::contents;
use support::Random;
use support::cut::Replay;
use support::sim::{Event, Image, Note, SimDisk};

/// The namespaces of every life.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

pub(crate) type Payload = Arc<[u8]>;

/// What is owed at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Whether the namespaces are there.
    pub(crate) created: bool,
    /// Every record that may be found.
    pub(crate) records: [Vec<Payload>; NAMES.len()],
    /// How many there are before and behind each batch: of a batch, all of its records are there or none.
    pub(crate) wholes: [BTreeSet<usize>; NAMES.len()],
    /// How many of them have to be there after a power cut.
    pub(crate) promised: [usize; NAMES.len()],
    /// And how many after a kill.
    pub(crate) returned: [usize; NAMES.len()],
}

/// How a life goes, and where.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) dir: PathBuf,
    pub(crate) sync: Durability,
    pub(crate) format: Format,
}

impl Terms {
    pub(crate) fn options(&self, disk: &SimDisk) -> Options {
        Options::new(&self.dir)
            .sync(self.sync)
            .format(self.format)
            .disk(Arc::new(disk.clone()))
    }

    /// Opens, and compares what is there with what is owed. What is found is promised from then on.
    pub(crate) fn open(&self, disk: &SimDisk, ledger: &mut Ledger, killed: bool) -> Storage {
        if ledger.created {
            for name in NAMES {
                let path = self.dir.join(format!("{name}.log"));
                disk.with(&path, |_| "it was made, and has to be there");
            }
        }
        let storage = Storage::open(self.options(disk).namespaces(NAMES)).expect("opened");
        assert!(storage.failed().is_empty(), "{:?}", storage.failed());
        ledger.created = true;
        for (ns, name) in NAMES.iter().enumerate() {
            let log = storage.log(name).expect("there");
            let found = contents(&log);
            let written = &mut ledger.records[ns];
            let owed = if killed {
                ledger.returned[ns]
            } else {
                ledger.promised[ns]
            };
            assert!(
                found.len() >= owed,
                "'{name}' lost records: {} of {owed} are there ({})",
                found.len(),
                log.recovery()
            );
            assert!(
                found.len() <= written.len(),
                "'{name}' has {} records of {}",
                found.len(),
                written.len()
            );
            for (n, (found, written)) in found.iter().zip(written.iter()).enumerate() {
                assert!(
                    **found == **written,
                    "'{name}' has another record {n}: {} bytes for {}",
                    found.len(),
                    written.len()
                );
            }
            let wholes = &ledger.wholes[ns];
            assert!(
                found.is_empty() || wholes.contains(&found.len()),
                "'{name}' has a part of a batch: {} of {wholes:?}",
                found.len()
            );
            assert_eq!(log.recovery().damaged, 0);
            let report = log.verify().expect("read");
            assert!(report.is_clean(), "{report:?}");
            written.truncate(found.len());
            ledger.wholes[ns].retain(|whole| *whole <= found.len());
            ledger.promised[ns] = found.len();
            ledger.returned[ns] = found.len();
            disk.note(Note::Opened(ns, found.len()));
        }
        storage
    }

    /// What a power cut, or a kill, has left: opened, compared, appended to, closed, and opened again.
    pub(crate) fn survive(
        &self,
        disk: SimDisk,
        before: &Ledger,
        killed: bool,
        dice: &mut Random,
    ) -> Life {
        let mut ledger = before.clone();
        let storage = self.open(&disk, &mut ledger, killed);
        for (ns, name) in NAMES.iter().enumerate() {
            let log = storage.log(name).expect("there");
            self.append(&disk, &log, ns, &mut ledger, &[payload(dice)]);
        }
        close(&disk, &storage, &mut ledger);
        drop(storage);
        let storage = self.open(&disk, &mut ledger, true);
        for name in NAMES {
            assert!(storage.log(name).expect("there").recovery().clean);
        }
        drop(storage);
        Life {
            disk,
            before: before.clone(),
            after: ledger,
        }
    }

    /// Appends, one record or a batch, and notes what that means.
    fn append(&self, disk: &SimDisk, log: &Log, ns: usize, ledger: &mut Ledger, batch: &[Payload]) {
        ledger.records[ns].extend_from_slice(batch);
        let count = ledger.records[ns].len();
        ledger.wholes[ns].insert(count);
        disk.note(Note::Begun(ns, count));
        let payloads: Vec<&[u8]> = batch.iter().map(|payload| &**payload).collect();
        let appended = log.append_batch(&payloads).expect("appended");
        assert_eq!(appended.record.0 as usize, count - batch.len());
        self.returned(disk, ns, ledger);
    }

    /// A transaction, with more than it keeps in memory in some of them: committed, or dropped.
    fn transact(
        &self,
        disk: &SimDisk,
        log: &Log,
        ns: usize,
        ledger: &mut Ledger,
        dice: &mut Random,
    ) {
        let batch: Vec<Payload> = (0..dice.below(30)).map(|_| payload(dice)).collect();
        let mut transaction = log.transaction().expect("begun");
        for payload in &batch {
            transaction.append(payload).expect("appended");
        }
        if dice.one_in(3) {
            return;
        }
        ledger.records[ns].extend_from_slice(&batch);
        let count = ledger.records[ns].len();
        ledger.wholes[ns].insert(count);
        disk.note(Note::Begun(ns, count));
        transaction.commit().expect("committed");
        self.returned(disk, ns, ledger);
    }

    fn returned(&self, disk: &SimDisk, ns: usize, ledger: &mut Ledger) {
        let count = ledger.records[ns].len();
        ledger.returned[ns] = count;
        disk.note(Note::Returned(ns, count));
        if self.sync == Durability::Always {
            ledger.promised[ns] = count;
            disk.note(Note::Promised(ns, count));
        }
    }

    /// `steps` random things, from an empty disk on.
    pub(crate) fn work(&self, boot: u64, steps: usize, dice: &mut Random) -> Life {
        let disk = SimDisk::new(Image::default(), boot);
        let mut ledger = Ledger::default();
        let mut storage = self.open(&disk, &mut ledger, false);
        for _ in 0..steps {
            let ns = dice.below(NAMES.len());
            let log = storage.log(NAMES[ns]).expect("there");
            match dice.below(23) {
                0..=8 => self.append(&disk, &log, ns, &mut ledger, &[payload(dice)]),
                9..=11 => {
                    let batch: Vec<Payload> = (0..dice.below(8)).map(|_| payload(dice)).collect();
                    self.append(&disk, &log, ns, &mut ledger, &batch);
                }
                12 => {
                    let payload = payload(dice);
                    ledger.records[ns].push(Arc::clone(&payload));
                    let count = ledger.records[ns].len();
                    ledger.wholes[ns].insert(count);
                    disk.note(Note::Begun(ns, count));
                    log.append_from(&mut &*payload).expect("appended");
                    self.returned(&disk, ns, &mut ledger);
                }
                13..=16 => {
                    log.sync().expect("synced");
                    ledger.promised[ns] = ledger.records[ns].len();
                    disk.note(Note::Promised(ns, ledger.promised[ns]));
                }
                17 => {
                    close(&disk, &storage, &mut ledger);
                    storage = self.open(&disk, &mut ledger, true);
                }
                18 => {
                    storage.abandon();
                    storage = self.open(&disk, &mut ledger, true);
                }
                19 => {
                    storage.sync().expect("synced");
                    promise_all(&disk, &mut ledger);
                }
                _ => self.transact(&disk, &log, ns, &mut ledger, dice),
            }
        }
        match dice.below(3) {
            0 => close(&disk, &storage, &mut ledger),
            _ => storage.abandon(),
        }
        Life {
            disk,
            before: Ledger::default(),
            after: ledger,
        }
    }
}

fn close(disk: &SimDisk, storage: &Storage, ledger: &mut Ledger) {
    storage.close().expect("closed");
    promise_all(disk, ledger);
}

fn promise_all(disk: &SimDisk, ledger: &mut Ledger) {
    for (ns, records) in ledger.records.iter().enumerate() {
        ledger.promised[ns] = records.len();
        disk.note(Note::Promised(ns, records.len()));
    }
}

/// What happened on a disk from its start, with what was owed then and at the end.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) disk: SimDisk,
    pub(crate) before: Ledger,
    pub(crate) after: Ledger,
}

impl Life {
    /// Goes through every moment at which the power can go: what is on the disk then, what is owed, and how
    /// many events were before.
    pub(crate) fn moments(&self, events: &[Event], mut at: impl FnMut(&Replay, &Ledger, usize)) {
        let mut replay = Replay::new(self.disk.base());
        let mut owed = self.before.clone();
        let mut changed = true;
        for (i, event) in events.iter().enumerate() {
            if changed {
                at(&replay, &owed, i);
            }
            replay.apply(event);
            changed = Replay::matters(event);
            if let Event::Note(note) = event {
                owed.take(*note, &self.after);
                // More is owed now of the same disk.
                changed = matches!(note, Note::Promised(..) | Note::Opened(..));
            }
        }
        at(&replay, &owed, events.len());
    }
}

impl Ledger {
    pub(crate) fn take(&mut self, note: Note, after: &Ledger) {
        match note {
            Note::Opened(ns, found) => {
                self.created |= ns + 1 == NAMES.len();
                self.records[ns] = after.records[ns][..found].to_vec();
                self.wholes[ns].retain(|whole| *whole <= found);
                self.promised[ns] = found;
                self.returned[ns] = found;
            }
            Note::Begun(ns, count) => {
                self.records[ns] = after.records[ns][..count].to_vec();
                self.wholes[ns].insert(count);
            }
            Note::Returned(ns, count) => self.returned[ns] = count,
            Note::Promised(ns, count) => self.promised[ns] = self.promised[ns].max(count),
        }
    }
}

/// Syncs that were under way at the same time, in one of the orders that they may have ended in. Which one
/// the threads took is chance, and would make a seed worthless.
pub(crate) fn settle_syncs(events: Vec<Event>, dice: &mut Random) -> Vec<Event> {
    let mut settled = Vec::with_capacity(events.len());
    let mut run: Vec<Event> = Vec::new();
    let file = |event: &Event| match event {
        Event::SyncStart(id, _) | Event::SyncEnd(id, _) => Some(*id),
        _ => None,
    };
    for event in events.into_iter().map(Some).chain([None]) {
        match event {
            Some(event) if file(&event).is_some() => run.push(event),
            event => {
                run.sort_by_key(file);
                let split = run.partition_point(|event| file(event) == file(&run[0]));
                let mut second = run.split_off(split).into_iter().peekable();
                let mut first = run.drain(..).peekable();
                while first.peek().is_some() || second.peek().is_some() {
                    let one = if second.peek().is_none() || dice.one_in(2) {
                        first.next()
                    } else {
                        second.next()
                    };
                    settled.extend(one);
                }
                drop(first);
                settled.extend(event);
            }
        }
    }
    settled
}

/// Payloads that a torn log could make something of: nothing, zeros, sizes of records, whole sectors, and any
/// bytes.
pub(crate) fn payload(dice: &mut Random) -> Payload {
    let size = match dice.below(24) {
        0..=2 => 0,
        3..=14 => dice.below(120),
        15..=19 => 400 + dice.below(700),
        20 => 512 * dice.below(9),
        21 | 22 => 4000 + dice.below(5000),
        _ if dice.one_in(4) => 65_000 + dice.below(1000),
        _ => dice.below(20_000),
    };
    let mut bytes = vec![0; size];
    match dice.below(4) {
        0 => {}
        1 => {
            let field = (dice.below(64) as u64).to_le_bytes();
            let fields = field.iter().cycle();
            bytes.iter_mut().zip(fields).for_each(|(b, f)| *b = *f);
        }
        _ => {
            for chunk in bytes.chunks_mut(8) {
                let random = dice.draw().to_le_bytes();
                chunk.copy_from_slice(&random[..chunk.len()]);
            }
        }
    }
    if size > 0 && dice.one_in(3) {
        bytes[size - 1] = b'\n';
    }
    bytes.into()
}

/// Intervals that never end: `Every` is driven by explicit syncs, so that no clock is involved.
pub(crate) const NEVER_ENDING: Duration = Duration::from_secs(1 << 30);

pub(crate) fn terms(dir: &Path, sync: Durability) -> Terms {
    Terms {
        dir: dir.to_owned(),
        sync,
        format: Format::default(),
    }
}
