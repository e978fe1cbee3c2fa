//! Close: of a descriptor, and of an open file for good.

use std::sync::{Arc, Mutex};

use crate::fs::errno::Errno;
use crate::fs::forms::{Frames, Lines};
use crate::fs::fs::Fs;
use crate::fs::handles::{Handle, Input, Opener, Output};
use crate::fs::locks::lock;
use crate::fs::transport::{Caller, Reply, Transport};
use crate::fs::wait::{Look, Pending, UnderWay};

impl<T: Transport> Fs<T> {
    /// A `close(2)` of one descriptor of the file, by a process that may have inherited it. When the one that
    /// opened it closes its last one, a line that waits for its newline becomes a record, and so does what was
    /// written to an `append-file`: a large one while the answer waits.
    ///
    /// Errors are those of the append, and `EINVAL` for a frame whose end has not come: `close` reports them.
    pub fn flush(&self, caller: Caller, fh: u64, reply: T::Done) {
        let handle = match self.handle(fh) {
            Ok(handle) => handle,
            Err(_) if self.snapshots.get(fh).is_some() => return reply.answer(Ok(())),
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
        self.look_at_descriptors(caller, Arc::clone(opener), move |fs, goes_on| {
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
                self.run_or_queue(&handle.namespace, move |fs| match fs.finish(&finished) {
                    Ok(true) if fs.settings.sync_always => {
                        let pending = Pending::Done(reply);
                        fs.durable.push(fs, &finished.namespace, pending);
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

    /// Makes a record of a line that still waits for its newline. Returns whether there was one; with `--sync always`
    /// it is then to be synced. A frame that waits for its end is none: that is said in the log of the program.
    pub(crate) fn finish(&self, handle: &Handle) -> Result<bool, Errno> {
        let log = &handle.namespace.log;
        match &handle.input {
            Some(Input::Lines { lines, .. }) => {
                let mut lines = lock(lines);
                if !lines.has_partial() {
                    return Ok(false);
                }
                lines
                    .finish(|batch| {
                        let appended = log.append_batch_unsynced(batch)?;
                        handle.appended(appended.record, batch.len());
                        Ok(())
                    })
                    .inspect_err(|_| handle.namespace.refuse_write())?;
                return Ok(true);
            }
            Some(Input::Frames { frames, .. }) => {
                if let Some(unfinished) = lock(frames).unfinished() {
                    log::warn!(
                        "namespace '{}': what was written to 'append-frames' ends in the middle of a frame: \
                         {unfinished}, and nothing of it is stored",
                        log.namespace()
                    );
                }
            }
            // What is not closed is no record: see `spool`.
            Some(Input::Writes { .. } | Input::File(_)) | None => {}
        }
        Ok(false)
    }

    /// Closes a file for good. A line that still waits becomes a record, and so does what was written to an
    /// `append-file` and not stored before.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.handles.remove(fh) else {
            return self.snapshots.remove(fh);
        };
        self.parked.stop_polling(handle.namespace.id(), fh);
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
            match fs.finish(&handle) {
                Ok(true) if fs.settings.sync_always => {
                    fs.durable.push(fs, namespace, Pending::Nobody);
                }
                Ok(true) => fs.notify_readers(namespace),
                Ok(false) => {}
                Err(errno) => {
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
    pub(crate) fn forget_open(&self, input: &Input) {
        if let Input::Lines { opener, .. } | Input::Frames { opener, .. } = input {
            self.second_opens.released(opener);
        }
    }

    /// Finds out whether the process that opened a file has another descriptor of it, when one of its threads closes one;
    /// of another process, which has inherited it: that it goes on. `then` is not to wait.
    pub(crate) fn look_at_descriptors(
        &self,
        caller: Caller,
        opener: Arc<Opener>,
        then: impl FnOnce(&Fs<T>, Option<bool>) + Send + 'static,
    ) {
        self.on_a_looking_thread(caller, move |fs| {
            if !opener.is(caller.thread) {
                return then(fs, Some(true));
            }
            let process = opener.process();
            let then = Box::new(then);
            let look = Look {
                caller,
                opener,
                then,
            };
            if let Some(look) = fs.looks.processes.begin(process, look) {
                fs.look_now(process, look);
            }
        });
    }

    pub(crate) fn look_now(&self, process: u64, look: Look<T>) {
        let under_way = UnderWay { fs: self, process };
        let found = look.opener.holds_another(look.caller.thread);
        drop(under_way);
        (look.then)(self, found);
    }

    /// If whoever calls may wait, it is done at once.
    pub(crate) fn on_a_looking_thread(
        &self,
        caller: Caller,
        job: impl FnOnce(&Fs<T>) + Send + 'static,
    ) {
        match self.may_not_wait() {
            Some(fs) => {
                let whose = Some(caller.uid);
                self.looks.threads.run(whose, Box::new(move || job(&fs)));
            }
            None => job(self),
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
