//! How much of what is written waits in memory, in the whole mount: lines without their newline, frames without their
//! end, and writes that wait for their turn because a disk takes long. Without a bound, any user who
//! may append could have the daemon take all of the machine's memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::locks::lock;

/// A buffer keeps so much for the next line or frame; what it has grown beyond that is given back.
const KEEP_BYTES: usize = 16 << 10;

/// What a write that waits for its turn takes beside its bytes: the job, and the answer to it. Else writes of one byte
/// would count for nothing.
const JOB_BYTES: usize = 512;

/// What all open files of a mount, and the writes that wait, hold in memory together. A user has half of it at most, so
/// that nobody takes it from all others.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    held: Mutex<ByUser>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct ByUser {
    all: u64,
    each: HashMap<u32, u64>,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            held: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// What an open file of this user waits with.
    pub(crate) fn waiting(self: &Arc<Self>, uid: u32) -> Waiting {
        Waiting {
            bytes: Vec::new(),
            share: self.share(uid),
        }
    }

    /// What a write of this user brings, to be kept until its turn has come.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub(crate) fn copy(self: &Arc<Self>, uid: u32, data: &[u8]) -> Result<Waiting, Errno> {
        let mut share = self.share(uid);
        share.at_least(data.len() + JOB_BYTES)?;
        Ok(Waiting {
            bytes: data.to_vec(),
            share,
        })
    }

    fn share(self: &Arc<Self>, uid: u32) -> Share {
        Share {
            budget: Some((Arc::clone(self), uid)),
            bytes: 0,
        }
    }

    /// How many bytes are held.
    pub(crate) fn held(&self) -> u64 {
        lock(&self.held).all
    }

    /// How many writes were refused because of it.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn change(&self, uid: u32, from: u64, to: u64) -> Result<(), Errno> {
        let mut held = lock(&self.held);
        let all = held.all - from + to;
        let each = held.each.entry(uid).or_default();
        let user = *each - from + to;
        if to > from && (all > self.limit || user > self.limit / 2) {
            return Err(Errno::ENOBUFS);
        }
        *each = user;
        if user == 0 {
            held.each.remove(&uid);
        }
        held.all = all;
        Ok(())
    }
}

/// What one buffer has of the budget.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// None: it counts nowhere.
    budget: Option<(Arc<Budget>, u32)>,
    bytes: u64,
}

impl Share {
    /// From now on the share has `bytes` bytes. Less is always granted.
    fn set(&mut self, bytes: usize) -> Result<(), Errno> {
        let bytes = bytes as u64;
        if let Some((budget, uid)) = &self.budget
            && bytes != self.bytes
        {
            budget.change(*uid, self.bytes, bytes)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Makes sure of `bytes` bytes: what is put into the buffer afterwards, up to there, is not refused.
    ///
    /// # Errors
    /// `ENOBUFS`, and nothing has changed.
    pub(crate) fn at_least(&mut self, bytes: usize) -> Result<(), Errno> {
        if bytes as u64 <= self.bytes {
            return Ok(());
        }
        self.set(bytes).inspect_err(|_| {
            if let Some((budget, _)) = &self.budget {
                budget.refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let less = self.set(0);
        debug_assert!(less.is_ok());
    }
}

/// What waits for its end in one open file, or for the turn of one write.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) bytes: Vec<u8>,
    /// Never less than what `bytes` takes.
    pub(crate) share: Share,
}

impl Waiting {
    /// Puts `data` behind what waits.
    ///
    /// # Errors
    /// `ENOBUFS`, and nothing has changed.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Errno> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            // Twice as much as before, so that a line which comes byte by byte is not copied for each.
            let mut room = needed.max(2 * self.bytes.capacity());
            if self.share.set(room.max(self.share.bytes as usize)).is_err() {
                room = needed;
                self.share.at_least(room)?;
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// What has waited, when its turn has come: from now on it counts nowhere. The threads that take it, one write each,
    /// are few.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Gives back what is not needed any more.
    pub(crate) fn give_back(&mut self) {
        if self.bytes.capacity() > KEEP_BYTES && self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes
                .shrink_to(KEEP_BYTES.min(2 * self.bytes.len()).max(self.bytes.len()));
        }
        // Less than it was, or as much.
        let less = self.share.set(self.bytes.capacity());
        debug_assert!(less.is_ok());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_bounded_and_given_back() {
        let budget = Budget::new(100 << 10);
        let mut one = budget.waiting(1);
        let mut other = budget.waiting(2);
        one.push(&[0; 40 << 10]).unwrap();
        // Half of it is the most that a user has.
        let mut second = budget.waiting(1);
        assert_eq!(second.push(&[0; 20 << 10]), Err(Errno::ENOBUFS));
        assert_eq!(budget.refused(), 1);
        assert!(second.bytes.is_empty());
        second.push(&[0; 10 << 10]).unwrap();
        other.push(&[0; 50 << 10]).unwrap();
        let mut third = budget.waiting(3);
        assert_eq!(third.push(&[0]), Err(Errno::ENOBUFS));
        assert_eq!(budget.held(), 100 << 10);
        one.bytes.clear();
        one.give_back();
        third.push(&[0]).unwrap();
        drop((one, second, third));
        assert_eq!(budget.held(), 50 << 10);
        drop(other);
        assert_eq!(budget.held(), 0);
        assert!(lock(&budget.held).each.is_empty());
    }

    #[test]
    fn what_was_made_sure_of_is_not_refused() {
        let budget = Budget::new(100);
        let mut waiting = budget.waiting(1);
        waiting.push(&[1; 10]).unwrap();
        waiting.share.at_least(40).unwrap();
        waiting.bytes.clear();
        assert_eq!(waiting.share.at_least(51), Err(Errno::ENOBUFS));
        let mut other = budget.waiting(1);
        assert_eq!(other.push(&[2; 11]), Err(Errno::ENOBUFS));
        waiting.push(&[3; 40]).unwrap();
        waiting.give_back();
        assert_eq!(budget.held(), waiting.bytes.capacity() as u64);
    }
}
