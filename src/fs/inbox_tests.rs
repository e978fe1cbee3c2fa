//! The times of an inbox. `tests/loom` has its threads, but knows no time.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::inbox::Inbox;

const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(3600);

fn served<M: Send + 'static>(inbox: &Arc<Inbox<M>>) -> Receiver<M> {
    let (serve, served) = channel();
    inbox
        .serve("inbox", move |m| serve.send(m).unwrap())
        .unwrap();
    served
}

#[test]
fn messages_are_served_in_order_and_those_with_a_time_when_it_has_come() {
    let inbox = Arc::new(Inbox::default());
    let begun = Instant::now();
    inbox.push_at(begun + 2 * SOON, "later").unwrap();
    inbox.push_at(begun + SOON, "soon").unwrap();
    inbox.push("first").unwrap();
    inbox.push("second").unwrap();
    let served = served(&inbox);
    let messages: Vec<_> = served.iter().take(4).collect();
    assert_eq!(messages, ["first", "second", "soon", "later"]);
    assert!(begun.elapsed() >= 2 * SOON);
}

#[test]
fn at_the_end_nobody_waits_for_a_time_and_what_comes_later_is_given_back() {
    let inbox = Arc::new(Inbox::default());
    inbox.push_at(Instant::now() + NEVER, "timed").unwrap();
    let served = served(&inbox);
    inbox.close();
    assert_eq!(inbox.push("late"), Err("late"));
    assert_eq!(inbox.push_at(Instant::now(), "late"), Err("late"));
    // The thread drops the sender when it ends.
    assert_eq!(served.iter().collect::<Vec<_>>(), ["timed"]);
}
