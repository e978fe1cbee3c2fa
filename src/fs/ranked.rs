//! What a waiter needs of its log, and waiters in the order of what they need.
//!
//! A log only grows, so what a waiter needs is one number, and an append asks only whether the smallest number
//! of each kind has been reached: four comparisons, however many waiters there are. No disk is read for that.

use std::collections::{BTreeMap, HashMap};

/// What has to be there before a waiter has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: any news is enough.
    News,
    /// The log has at least this many records.
    Records(u64),
    /// The text of the log is at least this many bytes long.
    Text(u64),
    /// The log file is at least this many bytes long.
    Log(u64),
    /// The last record's time, in nanoseconds since 1970, is this or later.
    Time(i64),
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Committed records.
    pub records: u64,
    /// The length of the text in bytes.
    pub text: u64,
    /// The length of the log file in bytes.
    pub log: u64,
    /// The last record's time in nanoseconds since 1970; `i64::MIN` without a record.
    pub time: i64,
    /// There will be no more: every need counts as met.
    pub closed: bool,
}

impl Reached {
    /// A log without records.
    pub const NOTHING: Reached = Reached {
        records: 0,
        text: 0,
        log: 0,
        time: i64::MIN,
        closed: false,
    };

    /// Whether what `need` names is there.
    pub fn meets(&self, need: Need) -> bool {
        self.closed || need <= self.largest_met(need)
    }

    /// The largest need of the same kind that is met.
    fn largest_met(&self, kind: Need) -> Need {
        match kind {
            Need::News => Need::News,
            Need::Records(_) => Need::Records(self.records),
            Need::Text(_) => Need::Text(self.text),
            Need::Log(_) => Need::Log(self.log),
            Need::Time(_) => Need::Time(self.time),
        }
    }
}

/// The smallest need of each kind.
const KINDS: [Need; 5] = [
    Need::News,
    Need::Records(0),
    Need::Text(0),
    Need::Log(0),
    Need::Time(i64::MIN),
];

/// Where a waiter stands: by need, then by its turn.
type Place = (Need, u64);

/// Waiters by what they need; among equal needs, the first to come is the first.
#[derive(Debug)]
pub(super) struct Ranked<W> {
    by_need: BTreeMap<Place, (u64, W)>,
    /// The place of each waiter, by the number it came under.
    places: HashMap<u64, Place>,
    last_turn: u64,
}

impl<W> Default for Ranked<W> {
    fn default() -> Self {
        Ranked {
            by_need: BTreeMap::new(),
            places: HashMap::new(),
            last_turn: 0,
        }
    }
}

impl<W> Ranked<W> {
    /// Adds a waiter under `number`. Returns the one that stood there before.
    pub(super) fn insert(&mut self, number: u64, need: Need, waiter: W) -> Option<W> {
        let before = self.remove(number);
        self.last_turn += 1;
        let place = (need, self.last_turn);
        self.places.insert(number, place);
        self.by_need.insert(place, (number, waiter));
        before
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<W> {
        let place = self.places.remove(&number)?;
        self.by_need.remove(&place).map(|(_, waiter)| waiter)
    }

    /// Whether anybody's need is met.
    pub(super) fn any_met(&self, reached: &Reached) -> bool {
        if reached.closed {
            return !self.by_need.is_empty();
        }
        KINDS
            .iter()
            .any(|&kind| self.first_met(reached, kind).is_some())
    }

    fn first_met(&self, reached: &Reached, kind: Need) -> Option<Place> {
        let (first, last) = (kind, reached.largest_met(kind));
        if first > last {
            return None;
        }
        let mut met = self.by_need.range((first, 0)..=(last, u64::MAX));
        met.next().map(|(&place, _)| place)
    }

    /// Takes out up to `most` of those whose need is met, with the numbers they came under.
    pub(super) fn take_met(&mut self, reached: &Reached, most: usize) -> Vec<(u64, W)> {
        let mut taken = Vec::new();
        for kind in KINDS {
            while taken.len() < most {
                let place = if reached.closed {
                    self.by_need.first_key_value().map(|(&place, _)| place)
                } else {
                    self.first_met(reached, kind)
                };
                let Some((number, waiter)) = place.and_then(|p| self.by_need.remove(&p)) else {
                    break;
                };
                self.places.remove(&number);
                taken.push((number, waiter));
            }
        }
        taken
    }

    /// Takes out those for whom `leaves` holds, with the numbers they came under.
    pub(super) fn take_if(&mut self, mut leaves: impl FnMut(&W) -> bool) -> Vec<(u64, W)> {
        let taken: Vec<_> = self
            .by_need
            .extract_if(.., |_, (_, waiter)| leaves(waiter))
            .map(|(_, numbered)| numbered)
            .collect();
        for (number, _) in &taken {
            self.places.remove(number);
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.by_need.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_need.is_empty()
    }
}
