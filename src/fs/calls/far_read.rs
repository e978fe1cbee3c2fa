//! Reads of `log.jsonl` far behind what is known of its lines.

use std::sync::Arc;

use crate::fs::errno::Errno;
use crate::fs::forms::{Need, Reached, json_lines};
use crate::fs::fs::Fs;
use crate::fs::handles::{Handle, Output};
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::ReadReply;
use crate::fs::transport::{ReadMode, Transport};
use crate::fs::wait::{FarRead, Parking};

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
    /// Reads at once, or as soon as it is known where that is.
    pub(crate) fn read_when_near(
        &self,
        handle: Arc<Handle>,
        unique: u64,
        offset: u64,
        size: u32,
        mode: ReadMode,
        reply: T::Read,
    ) {
        if !is_far(&handle, offset) {
            return self.read_at(handle, unique, offset, size, mode, reply);
        }
        let namespace = handle.namespace.clone();
        let overdue = self.overdue.get();
        let read = FarRead {
            handle,
            unique,
            offset,
            size,
            mode,
            deadline: overdue.map(|overdue| overdue.deadline()),
            reply,
        };
        let measured = read.handle.clone();
        let look = || {
            if is_far(&measured, offset) {
                Reached::NOTHING
            } else {
                MEASURED
            }
        };
        let parking = self.far_reads.park(namespace.id(), unique, FAR, read, look);
        match parking {
            Parking::Parked => {
                self.measure(&namespace);
                if let Some(overdue) = overdue {
                    overdue.came();
                }
            }
            Parking::Ready(r) => self.read_at(r.handle, unique, offset, size, mode, r.reply),
            Parking::Interrupted(read) => read.reply.error(Errno::EINTR),
            Parking::Closed(read) => read.reply.error(Errno::EIO),
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
            measured.is_err() || !is_far(&read.handle, read.offset)
        });
        for FarRead {
            handle,
            unique,
            offset,
            size,
            mode,
            reply,
            ..
        } in ready
        {
            match measured {
                Ok(()) => self.read_at(handle, unique, offset, size, mode, reply),
                Err(errno) => reply.error(errno),
            }
        }
    }

    /// Ends a read that waits until more is known, with `EINTR`.
    pub(crate) fn interrupt_far_read(&self, unique: u64) {
        if let Some(read) = self.far_reads.interrupt(unique) {
            read.reply.error(Errno::EINTR);
        }
    }

    /// Refuses each read that waits until more is known: where it reads is not the end of the file.
    pub(crate) fn close_far_reads(&self) {
        for read in self.far_reads.close().readers {
            read.reply.error(Errno::EIO);
        }
    }
}

/// Whether a read has to wait until more is known of where the lines are.
fn is_far(handle: &Handle, offset: u64) -> bool {
    let Output::Lines(lines) = &handle.output else {
        return false;
    };
    let (namespace, position) = (&handle.namespace, *lock(&lines.position));
    namespace
        .json_index
        .is_far(&namespace.log, &position, offset)
}
