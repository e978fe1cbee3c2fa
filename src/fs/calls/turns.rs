//! Appends take turns.

use std::sync::Arc;

use crate::fs::fs::Fs;
use crate::fs::locks::lock;
use crate::fs::namespace::{MountedLog, Takes, Waiting};
use crate::fs::transport::Transport;
use crate::fs::wait::Turn;

impl<T: Transport> Fs<T> {
    /// How long the next append to a namespace takes: the first one after opening waits for the disk.
    pub(crate) fn next_append_takes(&self, namespace: &MountedLog) -> Takes {
        match self.places.are_limited() && namespace.log.next_append_syncs() {
            true => Takes::Long,
            false => Takes::Moments,
        }
    }

    /// A turn for something small, on this thread. `None`: it is to be [put behind](Fs::queue_store) others.
    pub(crate) fn turn<'a>(&'a self, namespace: &'a Arc<MountedLog>) -> Option<Turn<'a, T>> {
        if self.next_append_takes(namespace) == Takes::Long {
            return None;
        }
        let mut line = lock(&namespace.turns.0);
        if line.taken {
            return None;
        }
        let place = Some(self.places.take()?);
        line.taken = true;
        drop(line);
        Some(Turn {
            fs: self,
            namespace,
            place,
        })
    }

    /// Does something small, on this thread or behind what is there.
    pub(crate) fn run_or_queue(
        &self,
        namespace: &Arc<MountedLog>,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        match self.turn(namespace) {
            Some(_turn) => job(self),
            None => self.queue_store(namespace, Takes::Moments, job),
        }
    }

    /// Has something done behind what was put there before, by whoever is inside or by a thread of the pool.
    pub(crate) fn queue_store(
        &self,
        namespace: &Arc<MountedLog>,
        takes: Takes,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        let takes = match self.next_append_takes(namespace) {
            Takes::Long => Takes::Long,
            Takes::Moments => takes,
        };
        let counted = self.backlog.add();
        let Some(fs) = self.myself.upgrade() else {
            return job(self); // Nobody else is there any more.
        };
        let job = Box::new(move || {
            let _counted = counted;
            job(&fs);
        });
        let mut line = lock(&namespace.turns.0);
        line.waiting.push_back(Waiting { takes, job });
        line.long += usize::from(takes == Takes::Long);
        let is_idle = !std::mem::replace(&mut line.taken, true);
        drop(line);
        if is_idle {
            self.send_in(namespace);
        }
    }

    /// Has a thread of the pool do what waits. Whoever calls has set [`Line::taken`].
    pub(crate) fn send_in(&self, namespace: &Arc<MountedLog>) {
        let (fs, namespace) = (self.myself.upgrade(), Arc::clone(namespace));
        let Some(fs) = fs else {
            lock(&namespace.turns.0).taken = false;
            return;
        };
        let about = Some(namespace.id());
        let job = Box::new(move || {
            drop(Turn {
                fs: &fs,
                namespace: &namespace,
                place: None,
            });
        });
        self.storers.run(about, job);
    }
}
