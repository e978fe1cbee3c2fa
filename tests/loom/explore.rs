//! Runs threads in every order.

use loom::sync::Arc;
use loom::thread;

/// Makes a model, lets the threads run on it, and looks at it when all of them have ended; again for every order in which
/// that can happen, with as many forced switches of threads as said. A thread that is never woken is a deadlock, which
/// loom reports.
pub(crate) fn explore<M: Send + Sync + 'static>(
    forced_switches: usize,
    new: impl Fn() -> M + Send + Sync + 'static,
    threads: &'static [fn(&M)],
    at_the_end: impl Fn(&M) + Send + Sync + 'static,
) {
    let mut bounds = loom::model::Builder::new();
    bounds.preemption_bound = Some(forced_switches);
    bounds.check(move || {
        let model = Arc::new(new());
        let running: Vec<_> = threads
            .iter()
            .map(|&act| {
                let model = Arc::clone(&model);
                thread::spawn(move || act(&model))
            })
            .collect();
        for thread in running {
            thread.join().expect("no panic");
        }
        at_the_end(&model);
    });
}
