//! What a waiter needs of its log, and waiters in the order of what they need.
//!
//! A log only grows, so what a waiter needs is one number, and an append asks only whether the smallest number
//! of each kind has been reached: four comparisons, however many waiters there are. No disk is read for that.

use std::collections::{BTreeMap, HashMap};

use crate::fs::namespace::{Need, Reached};

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
pub(crate) struct Ranked<W> {
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
    pub(crate) fn insert(&mut self, number: u64, need: Need, waiter: W) -> Option<W> {
        let before = self.remove(number);
        self.last_turn += 1;
        let place = (need, self.last_turn);
        self.places.insert(number, place);
        self.by_need.insert(place, (number, waiter));
        before
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<W> {
        let place = self.places.remove(&number)?;
        self.by_need.remove(&place).map(|(_, waiter)| waiter)
    }

    /// Whether anybody's need is met.
    pub(crate) fn any_met(&self, reached: &Reached) -> bool {
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
    pub(crate) fn take_met(&mut self, reached: &Reached, most: usize) -> Vec<(u64, W)> {
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
    pub(crate) fn take_if(&mut self, mut leaves: impl FnMut(&W) -> bool) -> Vec<(u64, W)> {
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

    pub(crate) fn len(&self) -> usize {
        self.by_need.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_need.is_empty()
    }
}
