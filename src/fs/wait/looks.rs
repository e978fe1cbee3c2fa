//! Looks at the descriptors of a process that closes a file: one at a time for each process, and a few for each user.
//!
//! A look reads a file of `/proc` for each descriptor, so the process decides how long it takes: it may have thousands, and
//! the kernel waits for a lock of an `epoll` instance to show it. A process that closes by many threads, or a user with many
//! processes, is not to have all threads that look: else the closes of all others would wait. Nothing else is done on these
//! threads, so that no look waits for a disk.

use std::sync::Arc;

use super::one_each::OneEach;
use crate::fs::handles::Opener;
use crate::fs::pool::Pool;
use crate::fs::transport::Caller;

/// The most processes that are looked at at the same time; the pool looks at a few for one user.
const MOST_LOOKS: usize = 64;

/// The looks that are under way, and the threads that do them.
pub(crate) struct Looks {
    processes: OneEach<u64, Look>,
    threads: Arc<Pool>,
}

/// A look to be done.
struct Look {
    caller: Caller,
    opener: Arc<Opener>,
    then: Box<dyn FnOnce(Option<bool>) + Send>,
    /// By a thread of the pool.
    apart: bool,
}

/// A process that is looked at. Dropped: the next look at it may begin.
struct UnderWay<'a> {
    looks: &'a Arc<Looks>,
    process: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Self { looks, process } = *self;
        let next = |look: &Look| (look.apart, look.caller.uid);
        if let Some((apart, user)) = looks.processes.done(&process, next) {
            let serving = Arc::clone(looks);
            looks.run(apart, user, move || serving.serve(process));
        }
    }
}

impl Looks {
    pub(crate) fn new() -> Arc<Looks> {
        Arc::new(Looks {
            processes: OneEach::default(),
            threads: Pool::new("look", MOST_LOOKS),
        })
    }

    /// Finds out whether the process that opened a file has another descriptor of it to write to
    /// ([`Opener::holds_another`]), when a thread of the caller's process closes one. A process that
    /// has inherited the file counts as one that has another. `then` gets the answer; it must not wait. `apart`: the
    /// calling thread must not wait, so a thread of the pool looks.
    pub(crate) fn look(
        self: &Arc<Self>,
        apart: bool,
        caller: Caller,
        opener: Arc<Opener>,
        then: impl FnOnce(Option<bool>) + Send + 'static,
    ) {
        let looks = Arc::clone(self);
        self.run(apart, caller.uid, move || {
            if !opener.is(caller.thread) {
                return then(Some(true));
            }
            let process = opener.process();
            let look = Look {
                caller,
                opener,
                then: Box::new(then),
                apart,
            };
            if looks.processes.push(process, look) {
                looks.serve(process);
            }
        });
    }

    /// Does the next look at a process.
    fn serve(self: &Arc<Self>, process: u64) {
        let under_way = UnderWay {
            looks: self,
            process,
        };
        let Some(look) = self.processes.take(&process) else {
            return;
        };
        let found = look.opener.holds_another(look.caller.thread);
        drop(under_way);
        (look.then)(found);
    }

    fn run(&self, apart: bool, user: u32, job: impl FnOnce() + Send + 'static) {
        if apart {
            self.threads.run(Some(user), Box::new(job));
        } else {
            job();
        }
    }

    /// The threads end once nothing is left to be done.
    pub(crate) fn close(&self) {
        self.threads.close();
    }
}
