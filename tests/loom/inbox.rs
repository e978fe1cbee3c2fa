//! The inbox and the pool, explored in every order in which their threads can run. loom finds a thread that waits for ever,
//! so each model that ends shows that no thread is left.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::explored::inbox::Inbox;
use crate::explored::pool::{Job, Pool};

/// What was served, and whether the thread that serves has ended.
#[derive(Default)]
struct Served {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    messages: Vec<u32>,
    ended: bool,
}

impl Served {
    fn serve(&self, message: u32) {
        self.state.lock().unwrap().messages.push(message);
    }

    fn after_the_end(&self) -> Vec<u32> {
        let mut state = self.state.lock().unwrap();
        while !state.ended {
            state = self.ended.wait(state).unwrap();
        }
        state.messages.clone()
    }
}

/// Dropped with what serves: when its thread ends.
struct Ends(Arc<Served>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().ended = true;
        self.0.ended.notify_one();
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut bounds = loom::model::Builder::new();
    bounds.preemption_bound = Some(3);
    bounds.check(model);
}

fn serve(inbox: &Arc<Inbox<u32>>) -> Arc<Served> {
    let served = Arc::new(Served::default());
    let ends = Ends(Arc::clone(&served));
    inbox.serve("inbox", move |m| ends.0.serve(m)).unwrap();
    served
}

#[test]
fn what_an_inbox_takes_in_is_served_once_and_nothing_after_the_end() {
    explore(|| {
        let inbox = Arc::new(Inbox::default());
        let served = serve(&inbox);
        let pushing = Arc::clone(&inbox);
        let pusher = thread::spawn(move || [1, 2].map(|message| pushing.push(message)));
        inbox.close();
        let pushed = pusher.join().unwrap();
        let taken_in: Vec<u32> = (1..)
            .zip(pushed)
            .filter_map(|(m, p)| p.ok().map(|()| m))
            .collect();
        assert_eq!(served.after_the_end(), taken_in);
        assert_eq!(inbox.push(3), Err(3));
    });
}

#[test]
fn an_inbox_serves_what_several_threads_push() {
    explore(|| {
        let inbox = Arc::new(Inbox::default());
        let served = serve(&inbox);
        let pushing = Arc::clone(&inbox);
        let pusher = thread::spawn(move || pushing.push(1).unwrap());
        inbox.push(2).unwrap();
        pusher.join().unwrap();
        inbox.close();
        let mut messages = served.after_the_end();
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
    });
}

/// A message that is served may bring the next one, as a round of a crowd does.
#[test]
fn what_serves_may_push_and_gets_it_back_after_the_end() {
    explore(|| {
        let inbox = Arc::new(Inbox::default());
        let served = Arc::new(Served::default());
        let (ends, again) = (Ends(Arc::clone(&served)), Arc::clone(&inbox));
        let serve = move |message| {
            ends.0.serve(message);
            if message < 3 && again.push(message + 1).is_err() {
                ends.0.serve(100);
            }
        };
        inbox.serve("inbox", serve).unwrap();
        inbox.push(1).unwrap();
        inbox.close();
        let messages = served.after_the_end();
        assert!(
            matches!(messages[..], [1, 2, 3] | [1, 2, 100] | [1, 100]),
            "{messages:?}"
        );
    });
}

#[test]
fn a_pool_does_each_job_once_and_its_threads_end() {
    explore(|| {
        let pool = Pool::new("pool", 1);
        let done = Arc::new(Mutex::new(Vec::new()));
        let job = |number: u32| -> Job {
            let done = Arc::clone(&done);
            Box::new(move || done.lock().unwrap().push(number))
        };
        pool.run(Some(1), job(1));
        let (running, second) = (Arc::clone(&pool), job(2));
        let runner = thread::spawn(move || running.run(Some(2), second));
        pool.close();
        runner.join().unwrap();
        pool.run(Some(3), job(3));
        // Each thread of the pool holds it until it ends.
        while Arc::strong_count(&pool) > 1 {
            thread::yield_now();
        }
        let mut done = done.lock().unwrap().clone();
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3]);
    });
}
