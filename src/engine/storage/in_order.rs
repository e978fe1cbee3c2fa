//! Work that several threads share. One step of each piece is done in the order of the pieces.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use crate::locks::{lock, wait};

/// Pieces of work, numbered from 0. Threads take them in this order.
pub(crate) struct InOrder {
    pieces: usize,
    state: Mutex<State>,
    passed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next piece to be taken.
    next: usize,
    /// All pieces below this one have done their step, or leave it out.
    turn: usize,
    /// Pieces above `turn` that have done their step, or leave it out.
    passed: BTreeSet<usize>,
}

/// A piece of work that a thread has taken. When it is dropped, its step counts as done.
pub(crate) struct Piece<'a> {
    order: &'a InOrder,
    pub(crate) number: usize,
}

impl InOrder {
    pub(crate) fn new(pieces: usize) -> InOrder {
        InOrder {
            pieces,
            state: Mutex::default(),
            passed: Condvar::new(),
        }
    }

    /// The next piece; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<Piece<'_>> {
        let mut state = lock(&self.state);
        let number = state.next;
        if number == self.pieces {
            return None;
        }
        state.next += 1;
        Some(Piece {
            order: self,
            number,
        })
    }
}

impl Piece<'_> {
    /// Does the step of this piece, after the steps of all pieces before it. These were taken before, and none of them waits
    /// for this one.
    pub(crate) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let mut state = lock(&self.order.state);
        while state.turn < self.number {
            state = wait(&self.order.passed, state);
        }
        drop(state);
        let done = step();
        self.pass();
        done
    }

    fn pass(&self) {
        let mut state = lock(&self.order.state);
        if self.number >= state.turn {
            state.passed.insert(self.number);
        }
        let State { turn, passed, .. } = &mut *state;
        while passed.remove(turn) {
            *turn += 1;
        }
        self.order.passed.notify_all();
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        self.pass();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn steps_are_done_in_order_whichever_thread_has_them_and_whichever_leave_them_out() {
        const PIECES: usize = 500;
        let (order, done) = (InOrder::new(PIECES), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(piece) = order.take() {
                        if piece.number % 3 == 0 {
                            continue;
                        }
                        piece.step(|| lock(&done).push(piece.number));
                    }
                });
            }
        });
        let expected: Vec<_> = (0..PIECES).filter(|n| n % 3 != 0).collect();
        assert_eq!(*lock(&done), expected);
    }
}
