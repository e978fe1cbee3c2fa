//! The reads that wait: first by themselves, then explored by loom in every order in which their threads can
//! run.

#![allow(missing_docs, clippy::unwrap_used)]

use immuta::fs::parked::{Parked, Parking};

#[test]
fn a_commit_between_the_look_and_the_parking_is_not_lost() {
    let parked = Parked::default();
    assert_eq!(parked.park(1, 10, "w", |_| true), Parking::Ready("w"));
    assert!(parked.is_empty());
}

#[test]
fn an_interrupt_before_the_parking_is_not_lost() {
    let parked = Parked::default();
    assert_eq!(parked.interrupt(10), None);
    assert_eq!(
        parked.park(1, 10, "w", |_| false),
        Parking::Interrupted("w")
    );
    assert_eq!(
        parked.park(1, 12, "v", |_| false),
        Parking::Parked,
        "only its target"
    );
}

#[test]
fn a_waiter_leaves_by_one_door_only() {
    let parked = Parked::default();
    assert_eq!(parked.park(1, 10, "w", |_| false), Parking::Parked);
    assert_eq!(parked.interrupt(10), Some("w"));
    assert_eq!(parked.take_ready(1, |_| true), Vec::<&str>::new());
    assert_eq!(parked.close(), Vec::<&str>::new());
    assert_eq!(parked.park(1, 12, "w", |_| false), Parking::Closed("w"));
}

#[test]
fn only_the_ready_of_one_namespace_are_taken_in_the_order_they_came() {
    let parked = Parked::default();
    for (namespace, unique) in [(1, 30), (1, 10), (1, 20), (2, 40)] {
        assert_eq!(
            parked.park(namespace, unique, unique, |_| false),
            Parking::Parked
        );
    }
    assert_eq!(parked.take_ready(1, |&w| w != 20), [10, 30]);
    assert_eq!(parked.len(), 2);
    let mut rest = parked.close();
    rest.sort_unstable();
    assert_eq!(rest, [20, 40]);
}

#[test]
fn those_who_leave_are_taken_from_every_namespace() {
    let parked = Parked::default();
    for (namespace, unique) in [(1, 30), (1, 10), (2, 20), (3, 40)] {
        assert_eq!(
            parked.park(namespace, unique, unique, |_| false),
            Parking::Parked
        );
    }
    let mut taken = parked.take_any(|&w| w < 35);
    taken.sort_unstable();
    assert_eq!(taken, [10, 20, 30]);
    assert_eq!((parked.len(), parked.waiting_for(1)), (1, 0));
    // Nobody was interrupted: a number that comes again is a new read.
    assert_eq!(parked.park(1, 10, 10, |_| false), Parking::Parked);
}

#[test]
fn of_many_stray_interrupts_the_oldest_are_forgotten() {
    let parked = Parked::default();
    for unique in 0..10_000 {
        assert_eq!(parked.interrupt(unique), None);
    }
    assert_eq!(parked.park(1, 0, "w", |_| false), Parking::Parked);
    assert_eq!(
        parked.park(1, 9_999, "v", |_| false),
        Parking::Interrupted("v")
    );
}

/// The same source with loom's locks.
#[path = "."]
mod explored {
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use parked::{Parked, Parking};

    mod sync {
        pub(super) use loom::sync::{Mutex, MutexGuard};
        pub(super) use std::sync::PoisonError;
    }

    #[allow(dead_code, unreachable_pub)]
    #[path = "../src/fs/parked.rs"]
    mod parked;

    const NAMESPACE: u32 = 7;
    const UNIQUE: u64 = 10;

    /// A mount with one log, seen from the four doors. A waiter is the number of the record that it waits
    /// for.
    #[derive(Default)]
    struct Mount {
        parked: Parked<u64>,
        log: Mutex<State>,
        answers: Mutex<Vec<(u64, &'static str)>>,
    }

    #[derive(Clone, Copy, Default)]
    struct State {
        count: u64,
        removed: bool,
    }

    impl Mount {
        fn state(&self) -> State {
            *self.log.lock().unwrap()
        }

        fn would_not_wait(&self, record: u64) -> bool {
            let state = self.state();
            state.count > record || state.removed
        }

        fn answer(&self, record: u64, how: &'static str) {
            self.answers.lock().unwrap().push((record, how));
        }

        /// As `Fs::read`: a look, then the parking, which looks again.
        fn read(&self, record: u64) {
            if self.would_not_wait(record) {
                return self.answer(record, "record");
            }
            match self.parked.park(NAMESPACE, UNIQUE + record, record, |&r| {
                self.would_not_wait(r)
            }) {
                Parking::Parked => {}
                Parking::Ready(r) => self.answer(r, "record"),
                Parking::Interrupted(r) => self.answer(r, "interrupt"),
                Parking::Closed(r) => self.answer(r, "close"),
            }
        }

        fn changed(&self) {
            for record in self
                .parked
                .take_ready(NAMESPACE, |&r| self.would_not_wait(r))
            {
                self.answer(record, "record");
            }
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
            if let Some(record) = self.parked.interrupt(UNIQUE + record) {
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
            for record in self.parked.close() {
                self.answer(record, "close");
            }
        }
    }

    /// Runs the threads in every order, and checks that each of the reads has had exactly one answer.
    fn explore(reads: u64, threads: &'static [fn(&Mount)]) {
        let mut model = loom::model::Builder::new();
        // More than this many forced switches of threads in one run find nothing new and take hours.
        model.preemption_bound = Some(3);
        model.check(move || {
            let mount = Arc::new(Mount::default());
            let running: Vec<_> = threads
                .iter()
                .map(|&thread| {
                    let mount = mount.clone();
                    thread::spawn(move || thread(&mount))
                })
                .collect();
            for thread in running {
                thread.join().unwrap();
            }
            let mut answers = mount.answers.lock().unwrap().clone();
            answers.sort_unstable();
            let answered: Vec<u64> = answers.iter().map(|(record, _)| *record).collect();
            assert_eq!(answered, (0..reads).collect::<Vec<_>>(), "{answers:?}");
            assert!(mount.parked.is_empty());
        });
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
}
