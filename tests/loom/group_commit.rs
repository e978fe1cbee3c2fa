//! Writers that share syncs, explored in every order in which their threads can run.

use std::sync::PoisonError;

use loom::sync::Mutex;

use crate::explore;
use crate::explored::group::Group;

/// A log as `Log::append` and `Log::close` see it: what is written, what is on the disk, what readers
/// see.
#[derive(Default)]
struct Model {
    group: Group,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    written: u64,
    durable: u64,
    committed: u64,
    syncs: u64,
    failing_sync: Option<u64>,
    failed: bool,
    closed: bool,
}

impl Model {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check(&self) -> Result<(), ()> {
        self.with(|s| if s.failed { Err(()) } else { Ok(()) })
    }

    fn sync(&self) -> Result<u64, ()> {
        let written = self.with(|s| s.written);
        // Others write here.
        self.with(|s| {
            let number = s.syncs;
            s.syncs += 1;
            if s.failing_sync == Some(number) {
                s.failed = true;
                return Err(());
            }
            s.durable = s.durable.max(written);
            Ok(())
        })?;
        self.with(|s| {
            assert!(written >= s.committed, "a commit out of order");
            assert!(written <= s.durable, "readers see what is not on the disk");
            s.committed = written;
        });
        Ok(written)
    }

    fn append(&self) {
        let target = self.with(|s| {
            if s.closed || s.failed {
                return None;
            }
            s.written += 1;
            Some(s.written)
        });
        let Some(target) = target else {
            return;
        };
        match self
            .group
            .wait_synced(target, || self.check(), || self.sync())
        {
            Ok(()) => self.with(|s| {
                assert!(s.durable >= target, "acknowledged and not on the disk");
                assert!(s.committed >= target, "acknowledged and not to be seen");
            }),
            Err(()) => self.with(|s| assert!(s.failed)),
        }
    }

    fn close(&self) {
        self.group.while_idle(|synced| {
            let written = self.with(|s| {
                s.closed = true;
                s.written
            });
            if self.check().is_ok() && self.sync().is_ok() {
                *synced = written;
            }
        });
    }
}

fn explore(failing_sync: Option<u64>, threads: &'static [fn(&Model)]) {
    let new = move || {
        let model = Model::default();
        model.with(|s| s.failing_sync = failing_sync);
        model
    };
    explore::explore(2, new, threads, |model| {
        model.with(|s| {
            assert!(s.failed || s.durable == s.written);
            assert!(s.committed <= s.durable);
        });
    });
}

/// "Write returns after the disk has it; concurrent writers share syncs; readers see only durable
/// records."
#[test]
fn every_writer_is_served_and_commits_are_in_order() {
    explore(None, &[Model::append, Model::append, Model::append]);
}

#[test]
fn a_writer_that_comes_twice_is_served_twice() {
    explore(
        None,
        &[
            |m| {
                m.append();
                m.append();
            },
            Model::append,
        ],
    );
}

/// "After a failed fsync the log refuses appends": nobody waits for ever, and nobody is told that the
/// disk has it.
#[test]
fn a_sync_that_fails_leaves_no_writer_behind() {
    explore(Some(0), &[Model::append, Model::append, Model::append]);
    explore(Some(1), &[Model::append, Model::append, Model::append]);
}

#[test]
fn a_close_beside_writers_serves_them_all() {
    explore(None, &[Model::append, Model::append, Model::close]);
    explore(Some(0), &[Model::append, Model::append, Model::close]);
}
