//! Readers that are parked at the end of a log, and pollers: what they wait for, and how they are answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::{BUFFERS, Found, Handle, OpenView, Output};
use crate::fs::locks::{lock, read};
use crate::fs::namespace::MountedLog;
use crate::fs::namespace::{Need, Reached};
use crate::fs::transport::{PollWaker, ReadRequest, Reply, Transport};
use crate::fs::wait::{Parking, Poller, Ready, Waiter};

/// Whether a file can be read or written without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollState {
    /// A read would not wait.
    pub readable: bool,
    /// A write would not wait.
    pub writable: bool,
}

impl<T: Transport> Fs<T> {
    /// Whether the crowd of its namespace is shown less than there is, and a read at `offset` has to wait with it.
    pub(super) fn is_held_back(&self, handle: &Handle, offset: u64) -> bool {
        match handle.need(offset) {
            Need::News => false,
            need => self.waiting.parked.holds_back(handle.namespace.id(), need),
        }
    }

    /// Has a read wait. `seen`: how far the log had come when there was nothing for it.
    pub(super) fn park(&self, mut waiter: Waiter<T>, mut seen: Option<Reached>) {
        // Of one that is parked again, that of the first time.
        waiter.deadline = waiter.deadline.or(self.deadline());
        loop {
            let (handle, request) = (waiter.handle.clone(), waiter.request);
            let need = match (handle.need(request.offset), seen) {
                // It seemed to be there, and was not: the next record may bring it.
                (need, Some(seen)) if !seen.closed && seen.meets(need) => {
                    Need::Records(seen.records + 1)
                }
                (need, _) => need,
            };
            let namespace = handle.namespace.id();
            match (self.waiting.parked)
                .park(namespace, request.unique, need, waiter, || handle.reached())
            {
                Parking::Parked => return self.has_parked(),
                Parking::Interrupted(w) => return w.reply.answer(Err(Errno::EINTR)),
                Parking::Closed(w) => return w.reply.answer(Ok(&[])),
                Parking::Ready(w) => {
                    seen = Some(handle.reached());
                    match self.answer(w) {
                        None => return,
                        Some((w, Found::Far)) => return self.wait_until_measured(w),
                        Some((w, _)) => waiter = w,
                    }
                }
            }
        }
    }

    /// Has a read wait until it is known where it reads.
    pub(super) fn wait_until_measured(&self, mut waiter: Waiter<T>) {
        waiter.deadline = waiter.deadline.or(self.deadline());
        match self.waiting.far_reads.park(waiter) {
            Parking::Parked => self.has_parked(),
            Parking::Ready(waiter) => self.answer_or_wait(waiter),
            Parking::Interrupted(waiter) => waiter.reply.answer(Err(Errno::EINTR)),
            Parking::Closed(waiter) => waiter.reply.answer(Err(Errno::EIO)),
        }
    }

    /// When a read that comes now has waited as long as it may.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.limit.get().map(|limit| limit.deadline())
    }

    /// A read waits, with its deadline.
    pub(super) fn has_parked(&self) {
        if let Some(limit) = self.waiting.limit.get() {
            limit.came();
        }
    }

    /// Ends the wait of the read with this number, with `EINTR`: a signal has come to its caller.
    pub fn interrupt(&self, unique: u64) {
        if self.waiting.later.interrupt(unique) {
            return;
        }
        let interrupted = self.waiting.parked.interrupt(unique);
        let interrupted = interrupted.or_else(|| self.waiting.far_reads.interrupt(unique));
        if let Some(waiter) = interrupted {
            waiter.reply.answer(Err(Errno::EINTR));
        }
    }

    /// Answers the readers and pollers that waited for what a namespace has now: records, or its end. A large crowd is left
    /// to the thread that serves crowds.
    pub(super) fn answer_waiters(&self, namespace: &Arc<MountedLog>) {
        let ready = self
            .waiting
            .parked
            .news(namespace.id(), || namespace.reached());
        let goes_on = ready.goes_on;
        self.answer_all(ready);
        if goes_on {
            self.serve_crowd_at(Instant::now(), namespace.clone());
        }
    }

    /// Has the next slice of a crowd answered at a time.
    fn serve_crowd_at(&self, at: Instant, namespace: Arc<MountedLog>) {
        // At the end, the crowd gets end of file.
        drop(self.waiting.crowds.push_at(at, namespace));
    }

    /// Answers the next slice of a crowd, on the one thread that serves the rounds of all namespaces. While somebody
    /// appends, the namespace rests after each slice as long as the slice took. So the writer, and the programs that were
    /// woken, get the CPU and the kernel's queue in between, and the next round brings many records at once.
    pub(super) fn serve_crowd(&self, namespace: Arc<MountedLog>) {
        let start = Instant::now();
        let ready = (self.waiting.parked).slice(namespace.id(), || namespace.reached());
        let (goes_on, appended) = (ready.goes_on, ready.appended);
        self.answer_all(ready);
        if goes_on {
            let now = Instant::now();
            let rest = if appended {
                now - start
            } else {
                Duration::ZERO
            };
            self.serve_crowd_at(now + rest, namespace);
        }
    }

    /// The calling thread does not wait for a disk: it may be the one that serves crowds.
    fn answer_all(&self, ready: Ready<Waiter<T>, Poller<T>>) {
        self.at_once(|| self.answer_readers(ready.readers));
        for poller in ready.pollers {
            // Any news wakes the crowd's pollers of receipts; not all of them have some.
            if is_readable(&poller.handle) {
                poller.waker.wake();
            } else {
                self.poll_again(poller);
            }
        }
    }

    fn answer_readers(&self, ready: Vec<Waiter<T>>) {
        // Followers at the same place get the same bytes: they are rendered once.
        let mut last: Option<Rendered> = None;
        let mut again = Vec::new();
        BUFFERS.with_borrow_mut(|buffers| {
            for waiter in ready {
                let (request, seen) = (waiter.request, waiter.handle.reached());
                let same = (last.as_ref()).is_some_and(|last| last.shows(&waiter.handle, request));
                let found = if same {
                    Ok(Found::Bytes)
                } else {
                    let size = request.size as usize;
                    waiter.handle.show(request.offset, size, buffers)
                };
                match found {
                    Ok(Found::Bytes) => {
                        let Waiter { handle, reply, .. } = waiter;
                        handle.has_read(request.offset, buffers.out.len());
                        last = Some(Rendered { handle, request });
                        reply.answer(Ok(&buffers.out));
                    }
                    // There are more records, but not yet enough.
                    Ok(nothing) => {
                        last = None;
                        again.push((waiter, nothing, seen));
                    }
                    Err(errno) => {
                        last = None;
                        if errno == Errno::WOULD_WAIT {
                            self.read_later(waiter);
                        } else {
                            waiter.reply.answer(Err(errno));
                        }
                    }
                }
            }
        });
        for (waiter, found, seen) in again {
            match found {
                Found::Far => self.wait_until_measured(waiter),
                _ => self.park(waiter, Some(seen)),
            }
        }
    }

    /// Whether a read or a write would wait; with a `waker`, tells it when a read no longer would.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn poll(&self, fh: u64, waker: Option<T::Poll>) -> Result<PollState, Errno> {
        let handle = match self.handle(fh) {
            Err(_) if self.open.snapshots.get(fh).is_some() => {
                return Ok(PollState {
                    readable: true,
                    writable: false,
                });
            }
            handle => handle?,
        };
        // First the waker, then the look: a commit in between finds the waker.
        if let Some(waker) = waker {
            self.poll_again(Poller {
                fh,
                handle: handle.clone(),
                waker,
            });
        }
        let reads = !matches!(handle.output, Output::Nothing);
        Ok(PollState {
            // Once the mount is on its way out a read gets end of file.
            readable: is_readable(&handle) || (reads && self.closing.load(Ordering::SeqCst)),
            writable: handle.input.is_some(),
        })
    }

    fn poll_again(&self, poller: Poller<T>) {
        let (namespace, fh) = (poller.handle.namespace.id(), poller.fh);
        let need = match &poller.handle.output {
            // The next record of anybody may be its own.
            Output::Receipts(_) => Need::News,
            _ => poller.handle.need(poller.handle.read_end()),
        };
        if let Some(poller) = self.waiting.parked.poll(namespace, fh, need, poller) {
            poller.waker.wake();
        }
    }

    /// Tells readers that wait, pollers and inotify watchers that a namespace has changed.
    pub(super) fn notify_readers(&self, namespace: &Arc<MountedLog>) {
        self.tell(namespace, false);
    }

    /// `by_log`: by a write to `log`.
    pub(super) fn tell(&self, namespace: &Arc<MountedLog>, by_log: bool) {
        self.answer_waiters(namespace);
        namespace.log.notify_observers();
        self.nudge_watchers(namespace, by_log);
    }

    /// Has the inotify watchers of a namespace's files told.
    pub(super) fn nudge_watchers(&self, namespace: &MountedLog, by_log: bool) {
        let grown = namespace.grown(by_log);
        if grown.is_empty() {
            return;
        }
        let nudge = read(&self.nudge.nudge);
        let Some(nudge) = &*nudge else {
            return;
        };
        for file in grown {
            nudge.grew(file);
        }
    }
}

/// The read that the buffer was filled for.
struct Rendered {
    handle: Arc<Handle>,
    request: ReadRequest,
}

impl Rendered {
    /// Whether another read gets the same bytes. If so, its handle is told where to read on, too.
    fn shows(&self, handle: &Handle, request: ReadRequest) -> bool {
        let (our_offset, offset) = (self.request.offset, request.offset);
        if self.request.size != request.size {
            return false;
        }
        match (&self.handle.output, &handle.output) {
            (Output::View(ours), Output::View(theirs)) => {
                let log = &handle.namespace.log;
                let place =
                    |view: &OpenView, offset| Some((view.view, view.base(log).ok()?? + offset));
                let same =
                    place(ours, our_offset).is_some_and(|p| Some(p) == place(theirs, offset));
                if same && !Arc::ptr_eq(&self.handle.namespace, &handle.namespace) {
                    return false;
                }
                if same {
                    let position = *lock(&ours.position);
                    *lock(&theirs.position) = position;
                }
                same
            }
            (Output::Lines(ours), Output::Lines(theirs)) => {
                let same =
                    our_offset == offset && Arc::ptr_eq(&self.handle.namespace, &handle.namespace);
                if same {
                    let position = *lock(&ours.position);
                    *lock(&theirs.position) = position;
                }
                same
            }
            (Output::Record { n, .. }, Output::Record { n: m, .. }) => {
                (n, our_offset) == (m, offset)
            }
            _ => false,
        }
    }
}

/// Whether a program that polls an open file should read it. A read of an append file never waits, and yet there may be
/// nothing to read.
fn is_readable(handle: &Handle) -> bool {
    match &handle.output {
        Output::Nothing => false,
        Output::Receipts(receipts) => {
            let state = handle.namespace.log.state();
            lock(receipts).is_ready(state.count) || state.closed
        }
        _ => handle.is_in_doubt() || handle.reached().meets(handle.need(handle.read_end())),
    }
}
