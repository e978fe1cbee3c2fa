//! Reads of `log.jsonl` far behind what is known of its lines.

use std::sync::Arc;

use crate::fs::errno::Errno;
use crate::fs::forms::{Need, Reached, json_lines};
use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::{Reply, Transport};
use crate::fs::wait::{Parking, Waiter};

/// How many bytes of lines are measured before the next namespace has its turn.
const TURN_BYTES: u64 = 16 << 20;

/// What a far read needs, as [`parked`](super::parked) counts: not records, but that it is far no more.
const FAR: Need = Need::Records(1);

/// It is far no more.
const MEASURED: Reached = Reached {
    records: 1,
    ..Reached::NOTHING
};

impl<T: Transport> Fs<T> {
    /// Has a read wait until it is known where it reads.
    pub(super) fn wait_until_measured(&self, mut waiter: Waiter<T>) {
        let overdue = self.overdue.get();
        waiter.deadline = waiter.deadline.or(overdue.map(|o| o.deadline()));
        let (handle, request) = (waiter.handle.clone(), waiter.request);
        let namespace = &handle.namespace;
        let look = || {
            if handle.is_far(request.offset) {
                Reached::NOTHING
            } else {
                MEASURED
            }
        };
        match (self.far_reads).park(namespace.id(), request.unique, FAR, waiter, look) {
            Parking::Parked => {
                self.measure(namespace);
                if let Some(overdue) = overdue {
                    overdue.came();
                }
            }
            Parking::Ready(waiter) => self.answer_or_wait(waiter),
            Parking::Interrupted(waiter) => waiter.reply.answer(Err(Errno::EINTR)),
            Parking::Closed(waiter) => waiter.reply.answer(Err(Errno::EIO)),
        }
    }

    /// Has a namespace measured as long as somebody waits for that, who is parked already.
    fn measure(&self, namespace: &Arc<MountedLog>) {
        let is_new = lock(&self.measuring.namespaces).insert(namespace.id());
        if is_new {
            self.measure_next(namespace);
        }
    }

    fn measure_next(&self, namespace: &Arc<MountedLog>) {
        let (fs, namespace) = (self.myself.clone(), Arc::clone(namespace));
        let about = Some(namespace.id());
        let turn = Box::new(move || {
            let Some(fs) = fs.upgrade() else { return };
            fs.measure_piece(&namespace);
            let mut namespaces = lock(&fs.measuring.namespaces);
            // Under the lock: who is parked after this look has it measured anew.
            if fs.far_reads.waiting_for(namespace.id()) == 0 {
                namespaces.remove(&namespace.id());
                return;
            }
            drop(namespaces);
            fs.measure_next(&namespace);
        });
        self.measuring.threads.run(about, turn);
    }

    fn measure_piece(&self, namespace: &MountedLog) {
        let mut buffers = json_lines::Buffers::default();
        let measured = (namespace.json_index)
            .measure(&namespace.log, TURN_BYTES, &mut buffers)
            .map_err(Errno::from);
        let ready = self.far_reads.take_if(namespace.id(), |read| {
            measured.is_err() || !read.handle.is_far(read.request.offset)
        });
        for waiter in ready {
            match measured {
                Ok(()) => self.answer_or_wait(waiter),
                Err(errno) => waiter.reply.answer(Err(errno)),
            }
        }
    }

    /// Ends a read that waits until more is known, with `EINTR`.
    pub(crate) fn interrupt_far_read(&self, unique: u64) {
        if let Some(read) = self.far_reads.interrupt(unique) {
            read.reply.answer(Err(Errno::EINTR));
        }
    }

    /// Refuses each read that waits until more is known: where it reads is not the end of the file.
    pub(crate) fn close_far_reads(&self) {
        for read in self.far_reads.close().readers {
            read.reply.answer(Err(Errno::EIO));
        }
    }
}
