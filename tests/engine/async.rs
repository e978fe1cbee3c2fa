//! Streams in async code, with no runtime at all.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::bench::Bench;
use immuta::Error;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest runtime that there is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_async_reader_gets_every_record_and_then_the_close() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut stream = storage.stream("a", 0).expect("a stream");
    let reader = thread::spawn(move || {
        block_on(async {
            let mut seen = Vec::new();
            loop {
                match stream.next_async().await {
                    Ok(record) => seen.push(record.payload.to_vec()),
                    Err(Error::Closed) => return seen,
                    Err(e) => panic!("{e}"),
                }
            }
        })
    });
    let large = vec![b'x'; (1 << 20) + 1];
    let mut expected: Vec<Vec<u8>> = (0..500u32).map(|n| n.to_le_bytes().to_vec()).collect();
    expected.insert(250, large);
    for payload in &expected {
        storage.append("a", &payload[..]).expect("appended");
    }
    storage.close().expect("closed");
    assert!(reader.join().expect("no panic") == expected);
}

#[test]
fn a_waker_is_woken_once_by_the_append_and_not_after_its_stream_is_gone() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut stream = storage.stream("a", 0).expect("a stream");
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let woken = || count.0.load(Ordering::Relaxed);
    // However often it looks, it waits once; and a future that is dropped takes nothing with it.
    assert!(stream.poll_next(&mut cx).is_pending());
    assert!(pin!(stream.next_async()).poll(&mut cx).is_pending());
    assert!(stream.poll_next(&mut cx).is_pending());
    storage.append("a", &b"x"[..]).expect("appended");
    storage.append("a", &b"y"[..]).expect("appended");
    assert_eq!(woken(), 1);
    for expected in [b"x", b"y"] {
        match stream.poll_next(&mut cx) {
            Poll::Ready(Ok(record)) => assert_eq!(record.payload, expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(stream.poll_next(&mut cx).is_pending());
    drop(stream);
    storage.append("a", &b"z"[..]).expect("appended");
    assert_eq!(woken(), 1);
    assert_eq!(Arc::strong_count(&count), 2, "the signal let go of it");
}

#[test]
fn a_thousand_async_readers_wait_on_one_thread() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut streams: Vec<_> = (0..1000)
        .map(|_| storage.stream("a", 0).expect("a stream"))
        .collect();
    let mut cx = Context::from_waker(Waker::noop());
    for stream in &mut streams {
        assert!(stream.poll_next(&mut cx).is_pending());
    }
    storage.append("a", &b"x"[..]).expect("appended");
    for stream in &mut streams {
        assert!(matches!(stream.poll_next(&mut cx), Poll::Ready(Ok(_))));
    }
}
