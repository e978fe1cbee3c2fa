//! Tells inotify watchers that a file has grown.
//!
//! inotify reports what goes through the mount to the same inode, and nothing goes through `log` or `follow` when
//! somebody writes to `append`. None of the notifications that a file system can send raises an event for that. But a change
//! of times does, by path, on our own mount (see [`super::nudge_process`]): IN_MODIFY. That call is a request that this
//! program has to answer. So it is another process that makes it: it may wait for a lock that a writer
//! holds, and when this program is killed the kernel can end the mount, and with it the wait. A thread of this
//! program would keep `/dev/fuse` open until its own call is answered, which then nobody does.
//!
//! One event stands for all records that came before it. A file is told of at once, and then every [`PAUSE`] at most;
//! where there may be a watcher of the directory only, [`DIRECTORY_PAUSE`] later.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fs::{Grown, Nudge};

use super::nudge_process;
use super::point::MountPoint;

/// A round tells of as many files as [`nudge_process::THREADS`], and the next one begins this much later. So a busy file is told
/// of 25 times a second, which no writer notices; 100 times cost one that appends without a pause 6 to 9 %.
const PAUSE: Duration = Duration::from_millis(40);
/// So much later than the first record a watcher of a directory is told: one call a second costs nothing.
const DIRECTORY_PAUSE: Duration = Duration::from_secs(1);
/// When the process has ended, or none could be started, the next one is started so much later.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// So long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The thread that has events raised, and the process that does it. Both end when this is dropped.
pub struct Nudger {
    pending: Arc<Pending>,
    thread: Option<JoinHandle<()>>,
}

/// The files that are to be told of.
#[derive(Default)]
pub struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    soon: VecDeque<Grown>,
    /// When it is their turn, and who they are.
    later: Option<(Instant, Vec<Grown>)>,
    /// The paths of those that are in line.
    paths: BTreeSet<String>,
    /// What the process has been told and not answered, by number.
    told: HashMap<u64, Grown>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    orders: UnixStream,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let due = state.later.as_ref().map(|(due, _)| *due);
        let Some(due) = due else {
            let waited = self.changed.wait(state);
            return waited.unwrap_or_else(PoisonError::into_inner);
        };
        let left = due.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits so long, or until the end.
    fn pause<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self
            .changed
            .wait_timeout_while(state, time, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Nudge for Pending {
    fn grew(&self, file: Grown) {
        let mut state = self.lock();
        if file.is_for_directory {
            let due = Instant::now() + DIRECTORY_PAUSE;
            let (_, later) = state.later.get_or_insert_with(|| (due, Vec::new()));
            later.push(file);
            if later.len() > 1 {
                return; // The thread knows when.
            }
        } else {
            state.push(file);
        }
        self.changed.notify_one();
    }
}

impl State {
    /// Puts a file in line, once.
    fn push(&mut self, file: Grown) {
        if self.paths.insert(file.path.clone()) {
            self.soon.push_back(file);
        } else {
            // The event that is to come stands for this, too.
            file.begin();
        }
    }

    /// Takes out the files whose turn it is.
    fn round(&mut self) -> Vec<Grown> {
        if let Some((due, _)) = self.later
            && due <= Instant::now()
            && let Some((_, files)) = self.later.take()
        {
            files.into_iter().for_each(|file| self.push(file));
        }
        let mut round = Vec::new();
        for _ in 0..self.soon.len() {
            if round.len() + self.told.len() == nudge_process::THREADS {
                break;
            }
            let Some(file) = self.soon.pop_front() else {
                break;
            };
            // The event before waits for a writer who has the file: it may come too early for this one.
            match self.told.values().any(|told| told.path == file.path) {
                true => self.soon.push_back(file),
                false => {
                    self.paths.remove(&file.path);
                    round.push(file);
                }
            }
        }
        round
    }

    /// Its descriptors are closed. What it was told and has not done is for the next one.
    fn process_has_ended(&mut self) {
        let told = std::mem::take(&mut self.told);
        told.into_values().for_each(|file| self.push(file));
        if let Some(mut process) = self.process.take() {
            log::warn!(
                "the process that tells inotify watchers of appends has ended: another one is started when it is needed"
            );
            // So this does not take long, and there is nothing to do about an error.
            let _ = process.child.wait();
        }
    }

    /// Has the process end, whatever it waits for.
    fn end_process(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It has ended by itself, or it gets the signal: either way there is nothing to do about an error.
            let _ = process.child.kill();
        }
        self.told.clear();
    }
}

impl Nudger {
    /// Starts its threads for a mount. `on_threads` is told which threads raise the events, before they do.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        mountpoint: &MountPoint,
        on_threads: impl Fn(Vec<u32>) + Send + 'static,
    ) -> io::Result<Nudger> {
        let pending = Arc::new(Pending::default());
        let (started, processes) = mpsc::channel();
        let theirs = pending.clone();
        thread::Builder::new()
            .name("nudged".into())
            .spawn(move || listen(&theirs, &processes))?;
        let (theirs, mountpoint) = (pending.clone(), mountpoint.clone());
        let thread = thread::Builder::new().name("nudge".into()).spawn(move || {
            run(&theirs, || {
                let (process, answers) = start_process(&mountpoint, &on_threads)?;
                // It listens as long as this thread lives.
                let _ = started.send(answers);
                Ok(process)
            });
        })?;
        Ok(Nudger {
            pending,
            thread: Some(thread),
        })
    }

    /// Where files that have grown are put in line.
    pub fn pending(&self) -> Arc<Pending> {
        self.pending.clone()
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        let mut state = self.pending.lock();
        state.closed = true;
        state.end_process();
        drop(state);
        self.pending.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked with anything worth more than the message that it has printed.
            let _ = thread.join();
        }
    }
}

fn run(pending: &Pending, start: impl Fn() -> io::Result<Process>) {
    let (mut number, mut last_start) = (0, None::<Instant>);
    let mut state = pending.lock();
    while !state.closed {
        let round = state.round();
        if round.is_empty() {
            state = pending.wait(state);
            continue;
        }
        if state.process.is_none() {
            // The last one may have ended because of what it was told.
            if let Some(last) = last_start {
                state = pending.pause(state, RESTART_PAUSE.saturating_sub(last.elapsed()));
            }
            drop(state);
            let started = start();
            last_start = Some(Instant::now());
            state = pending.lock();
            let Ok(process) = started.inspect_err(|e| {
                log::warn!("inotify watchers are not told of appends: {e}");
            }) else {
                round.into_iter().for_each(|file| state.push(file));
                continue;
            };
            state.process = Some(process);
            if state.closed {
                return state.end_process();
            }
        }
        for file in round {
            number += 1;
            file.begin();
            let order = nudge_process::order(number, &file.path);
            state.told.insert(number, file);
            // It is small, and few are on their way: this never waits.
            let process = state.process.as_mut();
            if process.is_none_or(|process| process.orders.write_all(&order).is_err()) {
                state.process_has_ended();
            }
        }
        state = pending.pause(state, PAUSE);
    }
}

/// Starts the process. Returns it, and where its answers come.
fn start_process(
    mountpoint: &MountPoint,
    on_threads: &dyn Fn(Vec<u32>),
) -> io::Result<(Process, UnixStream)> {
    let (mut orders, theirs) = UnixStream::pair()?;
    let answers = orders.try_clone()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("immuta-fs")
        .arg(nudge_process::ARGUMENT)
        .arg(mountpoint.path())
        .arg(mountpoint.device())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    // With it goes this process's end of what the other one holds.
    drop(command);
    match hear_threads(&mut orders) {
        Ok(threads) => {
            on_threads(threads);
            Ok((Process { child, orders }, answers))
        }
        Err(e) => {
            // It waits for nothing yet, and so ends at once.
            child.kill()?;
            child.wait()?;
            Err(e)
        }
    }
}

fn hear_threads(orders: &mut UnixStream) -> io::Result<Vec<u32>> {
    let mut threads = [0; 4 * nudge_process::THREADS];
    orders.set_read_timeout(Some(START_LIMIT))?;
    orders.read_exact(&mut threads)?;
    orders.set_read_timeout(None)?;
    Ok(nudge_process::threads(&threads))
}

/// Notes what each process has done, until it ends.
fn listen(pending: &Pending, processes: &Receiver<UnixStream>) {
    for mut answers in processes {
        let mut number = [0; 8];
        while answers.read_exact(&mut number).is_ok() {
            pending.lock().told.remove(&u64::from_le_bytes(number));
            pending.changed.notify_one();
        }
        pending.lock().process_has_ended();
        pending.changed.notify_one();
    }
}
