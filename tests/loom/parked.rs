//! The reads that wait, explored in every order in which their threads can run. `tests/fs/parked.rs` has them one call
//! after the other.

use loom::sync::Mutex;

use crate::explore;
use crate::explored::parked::{Need, Pace, Parked, Parking, Reached, Ready};

const NAMESPACE: u32 = 7;
const UNIQUE: u64 = 10;

/// Each append answers by itself.
const FEW: Pace = Pace {
    inline: 8,
    crowd: 16,
    slice: 32,
};
/// One reader is a crowd; two is one slice too many.
const CROWD: Pace = Pace {
    inline: 0,
    crowd: 1,
    slice: 1,
};
/// Two readers are a crowd, one is not: the gate opens and closes.
const ALMOST: Pace = Pace {
    inline: 1,
    crowd: 2,
    slice: 2,
};

/// A mount with one log, seen from the four doors. A waiter is the number of the record that it waits
/// for.
struct Mount {
    parked: Parked<u64>,
    log: Mutex<State>,
    answers: Mutex<Vec<(u64, &'static str)>>,
    /// A mistake: a round looks at the log before it takes the lock.
    looks_early: bool,
}

#[derive(Clone, Copy, Default)]
struct State {
    count: u64,
    removed: bool,
}

impl Mount {
    fn look(&self) -> Reached {
        let state = *self.log.lock().unwrap();
        Reached {
            records: state.count,
            closed: state.removed,
            ..Reached::NOTHING
        }
    }

    fn answer(&self, record: u64, how: &'static str) {
        self.answers.lock().unwrap().push((record, how));
    }

    /// As `Fs::read`: a look, unless the crowd is held back, then the parking, which looks again.
    fn read(&self, record: u64) {
        let need = Need::Records(record + 1);
        if !self.parked.holds_back(NAMESPACE, need) && self.look().meets(need) {
            return self.answer(record, "record");
        }
        let look = || self.look();
        match (self.parked).park(NAMESPACE, UNIQUE + 2 * record, need, record, look) {
            Parking::Parked => {}
            Parking::Ready(r) => self.answer(r, "record"),
            Parking::Interrupted(r) => self.answer(r, "interrupt"),
            Parking::Closed(r) => self.answer(r, "close"),
        }
    }

    /// As the thread of an append, which, when there is a crowd, goes on as the thread that serves rounds: one
    /// at a time is told.
    fn changed(&self) {
        let mut goes_on = self.answer_all(self.parked.news(NAMESPACE, || self.look()));
        while goes_on {
            let early = self.looks_early.then(|| self.look());
            let look = || early.unwrap_or_else(|| self.look());
            goes_on = self.answer_all(self.parked.slice(NAMESPACE, look));
        }
    }

    fn answer_all(&self, ready: Ready<u64, ()>) -> bool {
        for record in ready.readers {
            self.answer(record, "record");
        }
        ready.goes_on
    }

    fn append(&self) {
        self.log.lock().unwrap().count += 1;
        self.changed();
    }

    fn remove(&self) {
        self.log.lock().unwrap().removed = true;
        self.changed();
    }

    fn interrupt(&self, record: u64) {
        if let Some(record) = self.parked.interrupt(UNIQUE + 2 * record) {
            self.answer(record, "interrupt");
        }
    }

    /// As the thread that ends the reads which have waited too long: here that is all who wait.
    fn overdue(&self) {
        for record in self.parked.take_any(|_| true) {
            self.answer(record, "overdue");
        }
    }

    fn close(&self) {
        for record in self.parked.close().readers {
            self.answer(record, "close");
        }
    }
}

/// Runs the threads in every order, and checks that each of the reads has had exactly one answer.
fn explore(reads: u64, threads: &'static [fn(&Mount)]) {
    explore_at(FEW, false, reads, threads);
}

fn explore_at(pace: Pace, looks_early: bool, reads: u64, threads: &'static [fn(&Mount)]) {
    // More than this many forced switches of threads in one run find nothing new and take hours.
    let forced_switches = if reads == 1 { 3 } else { 2 };
    let new = move || Mount {
        parked: Parked::new(pace),
        log: Mutex::default(),
        answers: Mutex::default(),
        looks_early,
    };
    explore::explore(forced_switches, new, threads, move |mount| {
        let mut answers = mount.answers.lock().unwrap().clone();
        answers.sort_unstable();
        let answered: Vec<u64> = answers.iter().map(|(record, _)| *record).collect();
        assert_eq!(answered, (0..reads).collect::<Vec<_>>(), "{answers:?}");
        assert!(mount.parked.is_empty());
    });
}

const A_READER_AND_TWO_APPENDS: &[fn(&Mount)] = &[
    |m| {
        m.read(0);
        m.read(1);
    },
    |m| m.append(),
    |m| m.append(),
];

#[test]
fn a_crowd_of_one_and_two_appends_in_any_order() {
    explore_at(CROWD, false, 2, A_READER_AND_TWO_APPENDS);
}

#[test]
fn a_gate_that_opens_and_closes_and_two_appends_in_any_order() {
    explore_at(ALMOST, false, 2, A_READER_AND_TWO_APPENDS);
}

/// Shows that the models would see it: were the log looked at before the lock is taken, a commit could come in
/// between, and its reader wait for a round that has been.
#[test]
#[should_panic(expected = "left: ")]
fn a_round_that_looks_before_it_locks_loses_a_wake_up() {
    explore_at(CROWD, true, 2, A_READER_AND_TWO_APPENDS);
}

#[test]
fn a_crowd_an_append_and_an_interrupt_in_any_order() {
    explore_at(
        CROWD,
        false,
        2,
        &[
            |m| {
                m.read(0);
                m.read(1);
            },
            |m| {
                m.append();
                m.append();
            },
            |m| m.interrupt(1),
        ],
    );
}

#[test]
fn a_crowd_an_append_and_a_removal_in_any_order() {
    explore_at(
        CROWD,
        false,
        2,
        &[
            |m| {
                m.read(0);
                m.read(1);
            },
            |m| m.append(),
            |m| m.remove(),
        ],
    );
}

#[test]
fn a_crowd_an_append_and_an_unmount_in_any_order() {
    explore_at(
        CROWD,
        false,
        2,
        &[
            |m| {
                m.read(0);
                m.read(1);
            },
            |m| m.append(),
            |m| m.close(),
        ],
    );
}

#[test]
fn two_readers_of_whom_one_is_answered_at_once_and_an_append_in_any_order() {
    explore_at(
        ALMOST,
        false,
        3,
        &[
            |m| {
                m.read(0);
                m.read(2);
            },
            |m| m.read(1),
            |m| {
                m.append();
                m.append();
                m.append();
            },
        ],
    );
}

#[test]
fn a_read_and_an_append_in_any_order() {
    explore(1, &[|m| m.read(0), |m| m.append()]);
}

#[test]
fn a_read_and_an_interrupt_in_any_order() {
    explore(1, &[|m| m.read(0), |m| m.interrupt(0)]);
}

#[test]
fn a_read_and_a_removal_in_any_order() {
    explore(1, &[|m| m.read(0), |m| m.remove()]);
}

#[test]
fn a_read_and_an_unmount_in_any_order() {
    explore(1, &[|m| m.read(0), |m| m.close()]);
}

#[test]
fn a_read_an_append_and_an_interrupt_in_any_order() {
    explore(1, &[|m| m.read(0), |m| m.append(), |m| m.interrupt(0)]);
}

#[test]
fn a_read_that_is_overdue_an_append_and_an_interrupt_in_any_order() {
    explore(
        1,
        &[
            |m| m.read(0),
            |m| m.overdue(),
            |m| {
                m.interrupt(0);
                m.append();
            },
        ],
    );
}

#[test]
fn two_reads_of_whom_some_are_overdue_and_an_unmount_in_any_order() {
    explore(
        2,
        &[
            |m| {
                m.read(0);
                m.read(1);
            },
            |m| m.overdue(),
            |m| {
                m.append();
                m.close();
            },
        ],
    );
}

#[test]
fn two_reads_two_appends_and_an_unmount_in_any_order() {
    explore(
        2,
        &[
            |m| {
                m.read(0);
                m.read(1);
            },
            |m| m.append(),
            |m| {
                m.append();
                m.close();
            },
        ],
    );
}

#[test]
fn two_readers_an_append_an_interrupt_and_an_unmount_in_any_order() {
    explore(
        2,
        &[
            |m| m.read(0),
            |m| m.read(1),
            |m| {
                m.interrupt(1);
                m.append();
                m.close();
            },
        ],
    );
}
