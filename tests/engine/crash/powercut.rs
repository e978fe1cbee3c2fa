//! A power cut at every call of random workloads, and again at every call of what comes after.
//!
//! `IMMUTA_SEED` chooses the workloads, `IMMUTA_CUTS` how many cuts each mode gets (by default a few
//! thousand; with `IMMUTA_LONG=1`, hundreds of thousands).

use crate::bench::contents;
use crate::disk::life::{Ledger, Life, NEVER_ENDING, Terms, settle_syncs, terms};
use immuta::{Durability, Format, Namespace, Storage};
use support::Random;
use support::cut::{Replay, Style};
use support::sim::{Event, Image, SimDisk, Telling, directory, long, seed};

/// Outcomes that are looked at for each cut of the first life.
const OUTCOMES: usize = 4;
/// Of how many outcomes one is cut again at every call.
const AGAIN_ONE_IN: usize = 16;

fn wanted_cuts() -> u64 {
    let default = if long() { 400_000 } else { 7_000 };
    std::env::var("IMMUTA_CUTS").map_or(default, |text| {
        text.parse().expect("IMMUTA_CUTS is a number")
    })
}

struct Explorer {
    terms: Terms,
    boot: u64,
    dice: Random,
    cuts: u64,
    kills: u64,
}

impl Explorer {
    /// Cuts a life at every call, from event `from` on; `depth`: how many cuts were before.
    fn explore(&mut self, life: &Life, from: usize, depth: usize) {
        let events = settle_syncs(life.disk.events(), &mut self.dice);
        // Of a third cut in a row, one place.
        let only = (depth >= 2).then(|| from + self.dice.below(events.len() - from + 1));
        life.moments(&events, |replay, owed, at| {
            if at < from || only.is_some_and(|only| at < only || at > only + 4) {
                return;
            }
            let outcomes = if depth == 0 { OUTCOMES } else { 1 };
            for n in 0..outcomes {
                let n = if depth == 0 { n } else { self.dice.below(6) };
                let style = Style::pick(n, &mut self.dice);
                let telling = Telling(format!(
                    "cut {} in a row, behind event {at} ({:?}), {style:?}, boot {}",
                    depth + 1,
                    events.get(at.wrapping_sub(1)),
                    self.boot,
                ));
                let image = replay.cut(style, &mut self.dice);
                self.cuts += 1;
                let boot = if self.boot == 0 { 0 } else { self.boot + 1 };
                let disk = SimDisk::new(image, boot);
                let next = self.terms.survive(disk, owed, false, &mut self.dice);
                if depth < 2 && self.dice.one_in(if depth == 0 { AGAIN_ONE_IN } else { 4 }) {
                    self.boot = boot;
                    self.explore(&next, 0, depth + 1);
                    self.boot = boot.saturating_sub(1);
                }
                drop(telling);
            }
            if depth == 0 && self.dice.one_in(3) {
                let telling = Telling(format!("killed behind event {at}"));
                let disk = life.disk.killed_after(&events[..at]);
                let mut next = self.terms.survive(disk, owed, true, &mut self.dice);
                next.before = life.before.clone();
                self.kills += 1;
                if self.dice.one_in(AGAIN_ONE_IN) {
                    self.explore_killed(&next, owed, at);
                }
                drop(telling);
            }
        });
    }

    /// The power goes while the log is opened that a killed process has left.
    fn explore_killed(&mut self, life: &Life, owed: &Ledger, from: usize) {
        let events = life.disk.events();
        let mut now = owed.clone();
        let mut replay = Replay::new(life.disk.base());
        for (at, event) in events.iter().enumerate() {
            replay.apply(event);
            if at < from {
                continue;
            }
            if let Event::Note(note) = event {
                now.take(*note, &life.after);
                continue;
            }
            let n = self.dice.below(6);
            let style = Style::pick(n, &mut self.dice);
            let telling = Telling(format!("killed, then cut behind {event:?}, {style:?}"));
            let image = replay.cut(style, &mut self.dice);
            self.cuts += 1;
            let boot = if self.boot == 0 { 0 } else { self.boot + 1 };
            let disk = SimDisk::new(image, boot);
            self.terms.survive(disk, &now, false, &mut self.dice);
            drop(telling);
        }
    }
}

fn cut_everywhere(sync: Durability, salt: u64) {
    let dir = directory();
    let first = seed(20_261_121);
    let wanted = wanted_cuts();
    let mut explorer = Explorer {
        terms: terms(dir.path(), sync),
        boot: 1,
        dice: Random(0),
        cuts: 0,
        kills: 0,
    };
    let mut workloads = 0;
    while explorer.cuts < wanted {
        let telling = Telling(format!(
            "IMMUTA_SEED={first}, {sync:?}, workload {workloads} (each third one in another format)"
        ));
        explorer.dice = Random(first ^ (salt << 56) ^ (workloads << 32));
        explorer.boot = u64::from(workloads % 5 != 4);
        explorer.terms.format =
            [Format::Count8, Format::Bare, Format::Count16][(workloads % 3) as usize];
        let steps = 4 + explorer.dice.below(16);
        let life = explorer
            .terms
            .work(explorer.boot, steps, &mut explorer.dice);
        explorer.explore(&life, 0, 0);
        workloads += 1;
        drop(telling);
    }
    println!(
        "{sync:?}: {workloads} workloads, {} power cuts, {} kills",
        explorer.cuts, explorer.kills
    );
}

/// "After kill -9: every acknowledged record is there. After a power cut: every record acknowledged under the
/// promise is there; what is beyond it is either whole and right or cut off; never garbage, never a gap."
/// "Two crashes in a row are no worse than one."
///
/// Under the promise are, with `Durability::Always`, all records whose append has returned.
#[test]
fn a_power_cut_at_any_call_loses_no_record_that_was_synced_by_its_append() {
    cut_everywhere(Durability::Always, 1);
}

/// The same; under the promise is what was appended before the last sync that succeeded.
#[test]
fn a_power_cut_at_any_call_loses_no_record_before_the_last_sync_at_an_interval() {
    cut_everywhere(Durability::Every(NEVER_ENDING), 2);
}

/// The same for a log that is synced only when asked, and on close.
#[test]
fn a_power_cut_at_any_call_loses_no_record_before_the_last_sync_that_was_asked_for() {
    cut_everywhere(Durability::Never, 3);
}

/// "Every record acknowledged under the promise is there": a process that is killed while it makes a
/// namespace leaves names that it has not synced. The next one found them, wrote and synced records under
/// them, and lost both to a power cut.
#[test]
fn regression_a_namespace_that_a_killed_process_has_half_made_is_there_for_ever_once_it_is_opened()
{
    let dir = directory();
    let terms = terms(dir.path(), Durability::Always);
    let first = SimDisk::new(Image::default(), 1);
    let storage = terms.open(&first, &mut Ledger::default(), false);
    storage.abandon();
    let events = first.events();
    for killed in 0..=events.len() {
        let disk = first.killed_after(&events[..killed]);
        let mut dice = Random(killed as u64);
        let life = terms.survive(disk, &Ledger::default(), false, &mut dice);
        let mut replay = Replay::new(life.disk.base());
        life.disk.events().iter().for_each(|e| replay.apply(e));
        let left = SimDisk::new(replay.cut(Style::None, &mut dice), 2);
        terms.survive(left, &life.after, false, &mut dice);
    }
}

/// What there is of a namespace: `None` when there is no such, else its records.
type There = Option<Vec<Vec<u8>>>;

/// Namespaces made, removed and made again: what was there when the calls had returned. The first is from
/// before the first call. With each, how many events the disk had seen then.
fn makings(terms: &Terms, disk: &SimDisk, dice: &mut Random) -> Vec<(usize, There)> {
    let options = terms.options(disk);
    let storage = Storage::open(options).expect("opened");
    let name = Namespace::new("d").expect("a name");
    let mut history: Vec<(usize, There)> = vec![(disk.events().len(), None)];
    for n in 0..12u8 {
        let now: There = match history.last().and_then(|(_, there)| there.clone()) {
            None => {
                storage.create(&name).expect("created");
                Some(Vec::new())
            }
            Some(records) if records.is_empty() && dice.one_in(2) => {
                storage.remove("d").expect("removed");
                None
            }
            Some(mut records) if dice.one_in(3) => {
                records.push(vec![n; 1 + dice.below(600)]);
                let last = records.last().expect("one");
                storage.append("d", &last[..]).expect("appended");
                Some(records)
            }
            there => there,
        };
        history.push((disk.events().len(), now));
    }
    storage.abandon();
    history
}

/// "The directory entry is durable too": `create` and `remove` have returned, and it is so.
#[test]
fn a_namespace_that_was_made_or_removed_is_so_after_a_power_cut_or_a_kill() {
    let dir = directory();
    let first = seed(4711);
    let (mut cuts, lives) = (0, if long() { 600 } else { 30 });
    for life in 0..lives {
        let mut dice = Random(first ^ (life << 32));
        let mut terms = terms(dir.path(), Durability::Always);
        terms.format = [Format::Count8, Format::Bare, Format::Count16][(life % 3) as usize];
        let disk = SimDisk::new(Image::default(), 1);
        let history = makings(&terms, &disk, &mut dice);
        let events = settle_syncs(disk.events(), &mut dice);
        let mut replay = Replay::new(disk.base());
        for at in 0..=events.len() {
            let returned = history.partition_point(|(events, _)| *events <= at);
            // One call is under way: it may have come to its end, or not.
            let may_be = &history[returned.saturating_sub(1)..history.len().min(returned + 1)];
            let style = Style::pick(dice.below(6), &mut dice);
            let telling = Telling(format!(
                "IMMUTA_SEED={first}, life {life}, event {at}, {style:?}"
            ));
            let cut = SimDisk::new(replay.cut(style, &mut dice), 2);
            for left in [cut, disk.killed_after(&events[..at])] {
                cuts += 1;
                let storage = Storage::open(terms.options(&left)).expect("opened");
                assert!(storage.failed().is_empty(), "{:?}", storage.failed());
                let found: There = storage.log("d").ok().map(|log| contents(&log));
                assert!(
                    may_be.iter().any(|(_, there)| *there == found),
                    "there is {found:?}, and not one of {may_be:?}"
                );
                let name = Namespace::new("d").expect("a name");
                match found {
                    None => drop(storage.create(&name).expect("created")),
                    Some(records) if records.is_empty() => storage.remove("d").expect("removed"),
                    Some(_) => drop(storage.append("d", &b"on"[..]).expect("appended")),
                }
                storage.abandon();
            }
            if let Some(event) = events.get(at) {
                replay.apply(event);
            }
            drop(telling);
        }
    }
    println!("{lives} lives, {cuts} cuts and kills");
}
