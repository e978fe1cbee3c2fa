//! [`Signal`] by itself. In a file of its own, because `tests/loom` includes `signal.rs` with other locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::signal::{Signal, WaitOutcome};

fn commit(signal: &Signal, count: u64) {
    signal.update(|state| state.count = count);
}

#[test]
fn a_commit_before_the_wait_is_not_lost() {
    let signal = Signal::default();
    commit(&signal, 1);
    assert_eq!(signal.wait(0, None), WaitOutcome::Ready);
}

#[test]
fn records_come_before_the_close() {
    let signal = Signal::default();
    commit(&signal, 1);
    signal.update(|state| state.closed = true);
    assert_eq!(signal.wait(0, None), WaitOutcome::Ready);
    assert_eq!(signal.wait(1, None), WaitOutcome::Closed);
}

#[test]
fn no_time_at_all_and_more_time_than_there_is() {
    let signal = Signal::default();
    assert_eq!(signal.wait(0, Some(Duration::ZERO)), WaitOutcome::TimedOut);
    commit(&signal, 1);
    assert_eq!(signal.wait(0, Some(Duration::MAX)), WaitOutcome::Ready);
}

#[test]
fn every_waiter_is_woken_by_one_commit() {
    let signal = Signal::default();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| signal.wait(0, None)))
            .collect();
        // Whoever is not asleep yet sees the state, whoever is gets woken: no need to wait for them.
        commit(&signal, 1);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), WaitOutcome::Ready);
        }
    });
}

#[test]
fn observers_are_called_outside_of_the_lock_and_until_they_go() {
    let signal = Arc::new(Signal::default());
    let seen = Arc::new(AtomicU32::new(0));
    let (sender, receiver) = mpsc::channel();
    let subscription = signal.subscribe({
        let (signal, seen) = (Arc::clone(&signal), Arc::clone(&seen));
        Arc::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
            sender.send(signal.state().count).expect("somebody listens");
        })
    });
    commit(&signal, 5);
    signal.notify_observers();
    assert_eq!(receiver.recv(), Ok(5));
    drop(subscription);
    signal.notify_observers();
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}
