//! What readers wait on, explored in every order in which their threads can run.

use std::sync::atomic::{AtomicU64, Ordering};

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::explore;
use crate::explored::signal::{Signal, WaitOutcome};

fn explore(threads: &'static [fn(&Signal)]) {
    // One more for four threads takes minutes.
    let forced_switches = if threads.len() > 3 { 2 } else { 3 };
    explore::explore(forced_switches, Signal::default, threads, |_| {});
}

fn commit(signal: &Signal) {
    signal.update(|state| state.count += 1);
    signal.notify_observers();
}

fn close(signal: &Signal) {
    signal.update(|state| state.closed = true);
    signal.notify_observers();
}

/// "Readers wait on state, not events; a commit between look and wait is not lost."
#[test]
fn no_commit_is_lost_by_a_waiter() {
    explore(&[|s| assert_eq!(s.wait(0, None), WaitOutcome::Ready), commit]);
}

#[test]
fn no_waiter_is_left_behind_by_two_commits() {
    explore(&[
        |s| assert_eq!(s.wait(0, None), WaitOutcome::Ready),
        |s| assert_eq!(s.wait(1, None), WaitOutcome::Ready),
        |s| {
            commit(s);
            commit(s);
        },
    ]);
}

/// "Closing gives readers what was committed, then `Closed`."
#[test]
fn a_reader_has_every_record_and_then_the_close() {
    explore(&[
        |s| {
            assert_eq!(s.wait(0, None), WaitOutcome::Ready);
            assert_eq!(s.wait(1, None), WaitOutcome::Closed);
        },
        |s| assert_eq!(s.wait(1, None), WaitOutcome::Closed),
        |s| {
            commit(s);
            close(s);
        },
    ]);
}

#[test]
fn the_close_wakes_everybody_that_a_commit_by_another_thread_does_not() {
    explore(&[
        |s| assert_ne!(s.wait(0, None), WaitOutcome::TimedOut),
        |s| assert_eq!(s.wait(1, None), WaitOutcome::Closed),
        commit,
        close,
    ]);
}

/// An observer that looks once after subscribing, and then whenever it is called, has seen the last state
/// when all is over; and what it has seen never goes back.
#[test]
fn an_observer_that_looks_after_subscribing_misses_nothing() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let signal = Arc::new(Signal::default());
        let seen = Arc::new(Mutex::new(0));
        let writer = {
            let signal = Arc::clone(&signal);
            thread::spawn(move || {
                commit(&signal);
                commit(&signal);
            })
        };
        let look = {
            let (signal, seen) = (Arc::clone(&signal), Arc::clone(&seen));
            move || {
                let mut seen = seen.lock().expect("not poisoned");
                let count = signal.state().count;
                assert!(count >= *seen);
                *seen = count;
            }
        };
        let subscription = signal.subscribe(std::sync::Arc::new(look.clone()));
        look();
        writer.join().expect("no panic");
        assert_eq!(*seen.lock().expect("not poisoned"), 2);
        drop(subscription);
    });
}

#[test]
fn a_subscription_that_ends_beside_a_commit_ends_for_good() {
    loom::model(|| {
        let signal = Arc::new(Signal::default());
        let calls = std::sync::Arc::new(AtomicU64::new(0));
        let observer = {
            let calls = std::sync::Arc::clone(&calls);
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        let subscription = signal.subscribe(std::sync::Arc::new(observer));
        let writer = {
            let signal = Arc::clone(&signal);
            thread::spawn(move || commit(&signal))
        };
        drop(subscription);
        writer.join().expect("no panic");
        let before = calls.load(Ordering::Relaxed);
        commit(&signal);
        assert_eq!(calls.load(Ordering::Relaxed), before);
    });
}
