//! Reads of `log.jsonl` far behind what is known of its lines, say by a program that goes on where it was
//! before the mount began: what lies between has to be read first, which takes as long as it takes.
//!
//! The threads that serve the mount are not for that. Such a read is parked, without a thread, and a thread of a
//! pool measures, for each namespace in turn, a piece at a time. A signal ends the read as any other that waits.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::parked::{Parked, Parking};
use super::waiter::Waiter;
use crate::fs::errno::Errno;
use crate::fs::forms::json_lines;
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::namespace::{Need, Reached};
use crate::fs::pool::Pool;
use crate::fs::transport::{Reply, Transport};

/// The most namespaces in which something is measured at the same time. More would be no faster; a disk that stands still
/// must leave threads for others.
const MOST_MEASURED: usize = 16;
/// How many bytes of lines are measured before the next namespace has its turn.
const TURN_BYTES: u64 = 16 << 20;

/// A far read waits in [`parked`](super::parked) like a read that waits for record 0: it is woken when its place is
/// measured.
const FAR: Need = Need::Records(1);
/// What wakes a far read: its place is measured.
const MEASURED: Reached = Reached {
    records: 1,
    ..Reached::NOTHING
};

/// The reads that wait until it is known where they read, and the threads that find out.
pub(crate) struct MeasureQueue<T: Transport> {
    parked: Parked<Waiter<T>>,
    /// In which something is measured, or is about to be.
    namespaces: Mutex<HashSet<u32>>,
    threads: Arc<Pool>,
    /// Answers a read that is far no more.
    answer: Box<dyn Fn(Waiter<T>) + Send + Sync>,
}

impl<T: Transport> MeasureQueue<T> {
    pub(crate) fn new(answer: impl Fn(Waiter<T>) + Send + Sync + 'static) -> Arc<MeasureQueue<T>> {
        Arc::new(MeasureQueue {
            parked: Parked::default(),
            namespaces: Mutex::default(),
            threads: Pool::new("measure", MOST_MEASURED),
            answer: Box::new(answer),
        })
    }

    /// Parks a read until it is known where it reads.
    pub(crate) fn park(self: &Arc<Self>, waiter: Waiter<T>) -> Parking<Waiter<T>> {
        let (handle, request) = (waiter.handle.clone(), waiter.request);
        let namespace = &handle.namespace;
        let look = || {
            if handle.is_far(request.offset) {
                Reached::NOTHING
            } else {
                MEASURED
            }
        };
        let parking = (self.parked).park(namespace.id(), request.unique, FAR, waiter, look);
        if matches!(parking, Parking::Parked) && lock(&self.namespaces).insert(namespace.id()) {
            self.measure(namespace);
        }
        parking
    }

    /// Has a thread measure a piece, and then the next one, as long as a read waits for that.
    fn measure(self: &Arc<Self>, namespace: &Arc<MountedLog>) {
        let (queue, namespace) = (Arc::clone(self), Arc::clone(namespace));
        let about = Some(namespace.id());
        let turn = move || {
            queue.measure_piece(&namespace);
            let mut namespaces = lock(&queue.namespaces);
            // Under the lock: a read that is parked after this look has the namespace measured anew.
            if queue.parked.waiting_for(namespace.id()) == 0 {
                namespaces.remove(&namespace.id());
                return;
            }
            drop(namespaces);
            queue.measure(&namespace);
        };
        self.threads.run(about, Box::new(turn));
    }

    fn measure_piece(&self, namespace: &MountedLog) {
        let mut buffers = json_lines::Buffers::default();
        let measured = (namespace.json_index)
            .measure(&namespace.log, TURN_BYTES, &mut buffers)
            .map_err(Errno::from);
        let ready = self.parked.take_if(namespace.id(), |waiter| {
            measured.is_err() || !waiter.handle.is_far(waiter.request.offset)
        });
        for waiter in ready {
            match &measured {
                Ok(()) => (self.answer)(waiter),
                Err(errno) => waiter.reply.answer(Err(errno.clone())),
            }
        }
    }

    /// Takes out the read that was interrupted.
    pub(crate) fn interrupt(&self, unique: u64) -> Option<Waiter<T>> {
        self.parked.interrupt(unique)
    }

    /// Takes out the reads for which `leaves` holds. It is asked under a lock.
    pub(crate) fn take_any(&self, leaves: impl FnMut(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        self.parked.take_any(leaves)
    }

    /// Refuses each read that waits, and that is to wait: where it reads is not the end of the file.
    pub(crate) fn refuse_all(&self) {
        for waiter in self.parked.close().readers {
            waiter.reply.answer(Err(Errno::EIO));
        }
    }

    /// The threads end once nothing is left to be measured.
    pub(crate) fn close(&self) {
        self.threads.close();
    }
}
