//! A power cut at every call of random workloads, and again at every call of what comes after.
//!
//! `IMMUTA_SEED` chooses the workloads, `IMMUTA_CUTS` how many cuts each mode gets (by default a few
//! thousand; with `IMMUTA_LONG=1`, hundreds of thousands).

mod crash;
mod engine_support;

use crash::cut::{Replay, Style};
use crash::life::{Ledger, Life, NEVER_ENDING, Telling, Terms, settle_syncs, terms};
use crash::{Dice, Event, Image, SimDisk, directory, long, seed};
use immuta::{Format, Sync};

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
    dice: Dice,
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

fn cut_everywhere(sync: Sync, salt: u64) {
    let dir = directory();
    let first = seed(20_261_121);
    let wanted = wanted_cuts();
    let mut explorer = Explorer {
        terms: terms(dir.path(), sync),
        boot: 1,
        dice: Dice(0),
        cuts: 0,
        kills: 0,
    };
    let mut workloads = 0;
    while explorer.cuts < wanted {
        let telling = Telling(format!(
            "IMMUTA_SEED={first}, {sync:?}, workload {workloads} (each third one in another format)"
        ));
        explorer.dice = Dice(first ^ (salt << 56) ^ (workloads << 32));
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
/// Under the promise are, with `Sync::Always`, all records whose append has returned.
#[test]
fn a_power_cut_at_any_call_loses_no_record_that_was_synced_by_its_append() {
    cut_everywhere(Sync::Always, 1);
}

/// The same; under the promise is what was appended before the last sync that succeeded.
#[test]
fn a_power_cut_at_any_call_loses_no_record_before_the_last_sync_at_an_interval() {
    cut_everywhere(Sync::Every(NEVER_ENDING), 2);
}

/// The same for a log that is synced only when asked, and on close.
#[test]
fn a_power_cut_at_any_call_loses_no_record_before_the_last_sync_that_was_asked_for() {
    cut_everywhere(Sync::Never, 3);
}

/// "Every record acknowledged under the promise is there": a process that is killed while it makes a
/// namespace leaves names that it has not synced. The next one found them, wrote and synced records under
/// them, and lost both to a power cut.
#[test]
fn regression_a_namespace_that_a_killed_process_has_half_made_is_there_for_ever_once_it_is_opened()
{
    let dir = directory();
    let terms = terms(dir.path(), Sync::Always);
    let first = SimDisk::new(Image::default(), 1);
    let storage = terms.open(&first, &mut Ledger::default(), false);
    storage.abandon();
    let events = first.events();
    for killed in 0..=events.len() {
        let disk = first.killed_after(&events[..killed]);
        let mut dice = Dice(killed as u64);
        let life = terms.survive(disk, &Ledger::default(), false, &mut dice);
        let mut replay = Replay::new(life.disk.base());
        life.disk.events().iter().for_each(|e| replay.apply(e));
        let left = SimDisk::new(replay.cut(Style::None, &mut dice), 2);
        terms.survive(left, &life.after, false, &mut dice);
    }
}
