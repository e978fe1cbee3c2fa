//! Knows where the lines of `log.jsonl` are, as far as they have been made since the mount began.
//!
//! The length of a line is not in the log's index, so a byte is found by making lines from a place before it. Each namespace
//! remembers the furthest place, and places at regular distances before it. When there are too many, every other one is
//! forgotten.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::json_lines;
use super::json_lines::{Buffers, Large, Place, Position, Window};
use crate::fs::locks::lock;
use immuta::{Log, RecordNo, Result, may_wait};

/// Bytes between two remembered places, at first.
const SPACING_BYTES: u64 = 64 << 10;
/// The most places that are remembered, of 24 bytes each. At a distance of 64 KiB they reach through 256 MiB.
const MAX_PLACES: usize = 1 << 12;
/// A read up to this many bytes behind the furthest place measures them itself; a read farther behind waits until they are
/// measured.
const NEAR_BYTES: u64 = 8 << 20;
/// The most bytes of the log that are read to tell the size of the lines, while nobody has them open.
const LOOKED_AT_BYTES: u64 = 1 << 20;
/// As [`LOOKED_AT_BYTES`], while a program has the lines open, and will read them anyway.
const OPEN_BYTES: u64 = 16 << 20;

/// The size of all lines together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// This many bytes.
    Exact(u64),
    /// This many bytes or more.
    AtLeast(u64),
    /// Too much of the log would have to be read to tell it.
    Unknown,
}

/// The known places of the lines of a namespace.
#[derive(Debug, Default)]
pub(crate) struct JsonIndex {
    known: Mutex<JsonIndexState>,
    /// Number of open files that show the lines.
    open: AtomicUsize,
}

#[derive(Debug)]
struct JsonIndexState {
    /// In order; the first one is the beginning.
    places: Vec<Place>,
    spacing_bytes: u64,
    furthest: Place,
    /// What is known of the record at `furthest`, if it is a large one.
    large: Option<Large>,
    /// The end of the bytes that any reader has read.
    read_end: u64,
}

impl Default for JsonIndexState {
    fn default() -> JsonIndexState {
        JsonIndexState {
            places: vec![Place::default()],
            spacing_bytes: SPACING_BYTES,
            furthest: Place::default(),
            large: None,
            read_end: 0,
        }
    }
}

impl JsonIndexState {
    fn note(&mut self, place: Place, large: Option<Large>) {
        if place.offset <= self.furthest.offset {
            return;
        }
        (self.furthest, self.large) = (place, large);
        let last = self.places.last().map_or(0, |last| last.offset);
        if place.offset - last >= self.spacing_bytes {
            self.places.push(place);
        }
        if self.places.len() > MAX_PLACES {
            let mut nth = 0;
            self.places.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.spacing_bytes *= 2;
        }
    }

    /// The last known place at or before an offset.
    fn before(&self, offset: u64) -> Place {
        if offset >= self.furthest.offset {
            return self.furthest;
        }
        let behind = self.places.partition_point(|place| place.offset <= offset);
        let found = behind.checked_sub(1).and_then(|at| self.places.get(at));
        found.copied().unwrap_or_default()
    }
}

impl JsonIndex {
    /// Counts a file that shows the lines as opened.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a file that shows the lines as closed.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a read at `offset` needs so many lines measured first that the thread that answers reads must not do it.
    pub(crate) fn is_far(&self, log: &Log, position: &Position, offset: u64) -> bool {
        let furthest = lock(&self.known).furthest;
        position.offset != offset
            && offset > furthest.offset.saturating_add(NEAR_BYTES)
            && furthest.record < log.state().count
    }

    /// The record that has to be in the log before a line is at `offset` or behind it, as far as the known places tell;
    /// `None`: they do not.
    pub(crate) fn record_at(&self, position: &Position, offset: u64) -> Option<u64> {
        let place = self.from(position, offset);
        (offset >= place.offset).then_some(place.record)
    }

    /// The place from which lines are made to reach `offset`.
    fn from(&self, position: &Position, offset: u64) -> Place {
        if position.offset == offset {
            position.place
        } else {
            lock(&self.known).before(offset)
        }
    }

    /// Reads lines from `offset` into `out`: all committed bytes, up to `size` of them; none at the end or behind it. A read
    /// ends before a damaged record, and fails when it begins in one.
    ///
    /// # Errors
    /// Those of [`json_lines::make`].
    pub(crate) fn read(
        &self,
        log: &Log,
        position: &Mutex<Position>,
        offset: u64,
        size: usize,
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let before = *lock(position);
        if before.offset != offset {
            self.measure_up_to(log, offset, buffers)?;
        }
        let mut next = Position {
            offset,
            place: self.from(&before, offset),
            large: before.large,
        };
        let mut window = Window::new(offset, offset.saturating_add(size as u64), out);
        let made = json_lines::make(log, &mut next.place, &mut next.large, &mut window, buffers);
        next.offset = offset + out.len() as u64;
        let mut known = lock(&self.known);
        known.note(next.place, next.large);
        if !out.is_empty() {
            known.read_end = known.read_end.max(next.offset);
        }
        drop(known);
        match made {
            Err(e) if out.is_empty() || e.would_wait() => return Err(e),
            _ => *lock(position) = next,
        }
        Ok(())
    }

    /// Measures the next `bytes` bytes of lines, or those that are left.
    ///
    /// # Errors
    /// Those of [`json_lines::make`].
    pub(crate) fn measure(&self, log: &Log, bytes: u64, buffers: &mut Buffers) -> Result<()> {
        let (count, mut measured) = (log.state().count, 0);
        while measured < bytes && lock(&self.known).furthest.record < count {
            measured += self.measure_once(log, buffers)?;
        }
        Ok(())
    }

    /// Measures until `offset` is less than one spacing away.
    fn measure_up_to(&self, log: &Log, offset: u64, buffers: &mut Buffers) -> Result<()> {
        let count = log.state().count;
        loop {
            let furthest = lock(&self.known).furthest;
            if furthest.record >= count || furthest.offset + SPACING_BYTES >= offset {
                return Ok(());
            }
            self.measure_once(log, buffers)?;
        }
    }

    /// Measures from the furthest place to the next one that is remembered. Returns the bytes between the two.
    fn measure_once(&self, log: &Log, buffers: &mut Buffers) -> Result<u64> {
        let (start, mut large) = {
            let known = lock(&self.known);
            (known.furthest, known.large)
        };
        let (mut place, mut nothing) = (start, Vec::new());
        let until = start.offset.saturating_add(SPACING_BYTES);
        let mut window = Window::measuring(until, &mut nothing);
        let made = json_lines::make(log, &mut place, &mut large, &mut window, buffers);
        lock(&self.known).note(place, large);
        made.map(|()| place.offset - start.offset)
    }

    /// Tells the size of all lines. Reads a bounded part of the log for that. `followed`: a reader polls the size, as `tail`
    /// does; then the answer never shrinks, and each call brings it closer to the end.
    ///
    /// # Errors
    /// Only `WouldBlock`, on a thread that must not wait for the disk.
    pub(crate) fn size(&self, log: &Log, followed: bool) -> Result<Size> {
        let state = log.state();
        let limit = match self.open.load(Ordering::Relaxed) {
            0 => LOOKED_AT_BYTES,
            _ => OPEN_BYTES,
        };
        let mut buffers = Buffers::default();
        let mut first_left = None;
        loop {
            let (furthest, read_end) = {
                let known = lock(&self.known);
                (known.furthest, known.read_end)
            };
            if furthest.record >= state.count {
                return Ok(Size::Exact(furthest.offset));
            }
            let at_least = Size::AtLeast(furthest.offset.max(read_end));
            let entry = match log.entry(RecordNo(furthest.record)) {
                Ok(entry) => entry,
                Err(e) if e.would_wait() => return Err(e),
                Err(_) => return Ok(at_least),
            };
            let left = state
                .log_end
                .saturating_sub(entry.index.0 + furthest.within());
            let first_left = *first_left.get_or_insert(left);
            if first_left > limit {
                if !followed {
                    return Ok(Size::Unknown);
                }
                if first_left.saturating_sub(left) >= OPEN_BYTES {
                    return Ok(at_least);
                }
            }
            if first_left > LOOKED_AT_BYTES && !may_wait() {
                // There is much to read. A thread that may wait reads all of it, so that the answer does not depend on which
                // pages are in memory.
                return Err(log.would_wait_error());
            }
            // Lines that cannot be made now are not part of the file now.
            match self.measure_once(log, &mut buffers) {
                Ok(_) => {}
                Err(e) if e.would_wait() => return Err(e),
                Err(_) => return Ok(at_least),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_that_are_remembered_are_few_and_near_however_long_the_lines_are() {
        let (mut known, mut place) = (JsonIndexState::default(), Place::default());
        let step = SPACING_BYTES / 3;
        for record in 1..=20 * MAX_PLACES as u64 {
            place.record = record;
            place.offset += step;
            known.note(place, None);
        }
        assert!(known.places.len() <= MAX_PLACES);
        assert!(known.places.len() > MAX_PLACES / 4);
        // Known already: it changes nothing.
        known.note(Place::default(), None);
        assert_eq!(known.before(u64::MAX), place);
        for offset in (0..place.offset).step_by(1_234_567) {
            let before = known.before(offset);
            assert_eq!(before.offset, before.record * step);
            assert!(before.offset <= offset);
            assert!(offset - before.offset <= 2 * known.spacing_bytes);
        }
        assert_eq!(known.before(0), Place::default());
    }
}
