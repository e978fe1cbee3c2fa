//! Close: of a descriptor, and of an open file for good.

use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::forms::{Frames, Lines};
use crate::fs::fs::Fs;
use crate::fs::handles::{Handle, Input, Output};
use crate::fs::locks::lock;
use crate::fs::transport::{Caller, Reply, Transport};

impl<T: Transport> Fs<T> {
    /// A `close(2)` of one descriptor of the file, by a process that may have inherited it. When the one that
    /// opened it closes its last one, a line that waits for its newline becomes a record, and so does what was
    /// written to an `append-file`: a large one while the answer waits.
    ///
    /// Errors are those of the append, and `EINVAL` for a frame whose end has not come: `close` reports them.
    pub fn flush(&self, caller: Caller, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.open.snapshots.get(fh).is_some() => return reply.answer(Ok(())),
            Err(errno) => return reply.answer(Err(errno)),
        };
        let opener = match &handle.input {
            // Somebody else's write may hold it, and wait for the disk.
            Some(Input::Lines { lines, .. }) if has_no_partial(lines) => {
                return reply.answer(Ok(()));
            }
            Some(Input::Frames { frames, .. }) if has_no_unfinished(frames) => {
                return reply.answer(Ok(()));
            }
            Some(Input::Lines { opener, .. } | Input::Frames { opener, .. }) => opener,
            Some(Input::File(spool)) => spool.opener(),
            Some(Input::Writes { .. }) | None => return reply.answer(Ok(())),
        };
        let apart = self.may_not_wait();
        let Some(fs) = self.myself.upgrade() else {
            return reply.answer(Err(Errno::EIO));
        };
        let (opener, looks) = (Arc::clone(opener), &self.waiting.looks);
        looks.look(apart, caller, opener, move |goes_on| {
            // Another thread: this one is not to wait for the disk.
            fs.apart(Some(handle.namespace.id()), move |fs| {
                fs.flush_knowing(caller, goes_on, &handle, reply);
            });
        });
    }

    /// Ends what has been written, unless it goes on: the process that opened the file has another descriptor of it, or has
    /// not closed one. `None`: nobody can tell. May wait for the disk.
    fn flush_knowing(
        &self,
        caller: Caller,
        goes_on: Option<bool>,
        handle: &Arc<Handle>,
        reply: T::Done,
    ) {
        match &handle.input {
            Some(Input::Lines { lines, .. })
                if goes_on != Some(true) && lock(lines).has_partial() =>
            {
                let finished = handle.clone();
                self.run_or_queue(&handle.namespace, move |fs| match finished.finish() {
                    Ok(true) if fs.settings.sync_always => {
                        let answer = move |synced| reply.answer(synced);
                        fs.waiting.disk.push(&finished.namespace, answer);
                    }
                    Ok(grew) => {
                        reply.answer(Ok(()));
                        if grew {
                            fs.notify_readers(&finished.namespace);
                        }
                    }
                    Err(errno) => reply.answer(Err(errno)),
                });
            }
            // It waits on: a process that inherited the file may have its end.
            Some(Input::Frames { frames, .. })
                if goes_on != Some(true) && lock(frames).unfinished().is_some() =>
            {
                reply.answer(Err(Errno::EINVAL));
            }
            Some(Input::File(_)) => self.close_spool(caller, goes_on, handle, reply),
            _ => reply.answer(Ok(())),
        }
    }

    /// Closes a file for good. A line that still waits becomes a record, and so does what was written to an
    /// `append-file` and not stored before.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.open.handles.remove(fh) else {
            return self.open.snapshots.remove(fh);
        };
        self.waiting.parked.stop_polling(handle.namespace.id(), fh);
        if let Some(input) = &handle.input {
            self.forget_open(input);
        }
        if let Output::Lines(_) = handle.output {
            handle.namespace.json_index.closed();
        }
        if handle.ends_at_eof()
            && let Some(path) = handle.nudge_path()
        {
            handle.namespace.end_watchers.remove(path);
        }
        if let Some(Input::File(spool)) = &handle.input {
            return self.release_spool(&handle, spool);
        }
        let namespace = handle.namespace.clone();
        let has_open_line = handle.has_open_line();
        let finish = move |fs: &Fs<T>| {
            let namespace = &handle.namespace;
            match handle.finish() {
                Ok(true) if fs.settings.sync_always => {
                    let refused = handle.namespace.clone();
                    fs.waiting.disk.push(namespace, move |synced| {
                        if let Err(errno) = synced {
                            errno.report_unanswered();
                            refused.refuse_write();
                        }
                    });
                }
                Ok(true) => fs.notify_readers(namespace),
                Ok(false) => {}
                Err(errno) => {
                    errno.report_unanswered();
                    let namespace = namespace.log.namespace();
                    log::error!(
                        "namespace '{namespace}': the last line of a closed file is lost: {errno}"
                    );
                }
            }
        };
        if has_open_line {
            self.run_or_queue(&namespace, finish);
        } else {
            finish(self);
        }
    }

    /// An open file is closed for good.
    pub(super) fn forget_open(&self, input: &Input) {
        if let Input::Lines { opener, .. } | Input::Frames { opener, .. } = input {
            self.open.second.released(opener);
        }
    }
}

/// Whether it is sure that no line waits for its newline.
fn has_no_partial(lines: &Mutex<Lines>) -> bool {
    lines.try_lock().is_ok_and(|lines| !lines.has_partial())
}

/// Whether it is sure that no frame waits for its end.
fn has_no_unfinished(frames: &Mutex<Frames>) -> bool {
    frames
        .try_lock()
        .is_ok_and(|frames| frames.unfinished().is_none())
}
