//! Has inotify watchers told that a file has grown.
//!
//! The kernel raises inotify events for calls on an inode. A write to `append` is no call on `log` or `follow`, so their
//! watchers learn nothing, and no notification that a file system can send to the kernel raises an event. But a change of
//! a file's times does: IN_MODIFY. Changing times is a call on our own mount, which this program has to answer. So another
//! process makes that call (see [`super::nudge_process`]): it may wait for a lock that a writer holds, and when this
//! program is killed, the kernel can end the mount, and the wait with it. A thread of this program would keep `/dev/fuse`
//! open until its own call is answered, which then never happens.
//!
//! One event stands for all records that came before it. The first event for a file is raised at once, the next ones at
//! most every [`PAUSE`]. Where only the directory may be watched, the event comes [`DIRECTORY_PAUSE`] later.

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

/// Events are raised in rounds, for up to [`nudge_process::THREADS`] files each; this long after a round the next one begins.
/// So a busy file has 25 events a second, which no writer notices. 100 a second cost a writer that appends without a
/// pause 6 to 9 %.
const PAUSE: Duration = Duration::from_millis(40);
/// How long after the first record the watcher of a directory is told: one call a second costs nothing.
const DIRECTORY_PAUSE: Duration = Duration::from_secs(1);
/// The least time from one start of the process to the next.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long the process may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The thread that sends orders to the process, and the process. Both end when this is dropped.
pub struct Nudger {
    queue: Arc<NudgeQueue>,
    thread: Option<JoinHandle<()>>,
}

/// The files that have grown and whose event is still to be raised.
#[derive(Default)]
pub struct NudgeQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    soon: VecDeque<Grown>,
    /// Files with a watcher of their directory only, and when their turn comes.
    later: Option<(Instant, Vec<Grown>)>,
    /// The paths of the files in `soon`.
    paths: BTreeSet<String>,
    /// Orders that the process has not answered, by number.
    told: HashMap<u64, Grown>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    orders: UnixStream,
}

impl NudgeQueue {
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

    /// Waits for `time`, or until the end.
    fn pause<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self
            .changed
            .wait_timeout_while(state, time, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Nudge for NudgeQueue {
    fn grew(&self, file: Grown) {
        let mut state = self.lock();
        if file.is_for_directory {
            let due = Instant::now() + DIRECTORY_PAUSE;
            let (_, later) = state.later.get_or_insert_with(|| (due, Vec::new()));
            later.push(file);
            if later.len() > 1 {
                return; // The thread already waits until they are due.
            }
        } else {
            state.push(file);
        }
        self.changed.notify_one();
    }
}

impl State {
    /// Puts a file into the queue, once.
    fn push(&mut self, file: Grown) {
        if self.paths.insert(file.path.clone()) {
            self.soon.push_back(file);
        } else {
            // The event that is still to come stands for this growth, too.
            file.begin();
        }
    }

    /// Takes the files of the next round out of the queue.
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
            // The last order for this file is not done: its event may come too early for this growth.
            if self.told.values().any(|told| told.path == file.path) {
                self.soon.push_back(file);
            } else {
                self.paths.remove(&file.path);
                round.push(file);
            }
        }
        round
    }

    /// The process has closed its descriptors. Orders that it has not done are for the next process.
    fn process_has_ended(&mut self) {
        let told = std::mem::take(&mut self.told);
        told.into_values().for_each(|file| self.push(file));
        if let Some(mut process) = self.process.take() {
            log::warn!(
                "the process that tells inotify watchers of appends has ended: another one is started when it is needed"
            );
            // It ends by itself, so this does not take long. Nothing can be done about an error.
            let _ = process.child.wait();
        }
    }

    /// Ends the process, whatever it waits for.
    fn end_process(&mut self) {
        if let Some(mut process) = self.process.take() {
            // An error means that it has ended by itself.
            let _ = process.child.kill();
        }
        self.told.clear();
    }
}

impl Nudger {
    /// Starts the threads for a mount. `on_threads` is called with the ids of the threads that will raise events, before
    /// they do.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        mountpoint: &MountPoint,
        on_threads: impl Fn(Vec<u32>) + Send + 'static,
    ) -> io::Result<Nudger> {
        let queue = Arc::new(NudgeQueue::default());
        let (started, processes) = mpsc::channel();
        let theirs = queue.clone();
        thread::Builder::new()
            .name("nudged".into())
            .spawn(move || listen(&theirs, &processes))?;
        let (theirs, mountpoint) = (queue.clone(), mountpoint.clone());
        let thread = thread::Builder::new().name("nudge".into()).spawn(move || {
            run(&theirs, || {
                let (process, answers) = start_process(&mountpoint, &on_threads)?;
                // The receiver lives as long as this thread.
                let _ = started.send(answers);
                Ok(process)
            });
        })?;
        Ok(Nudger {
            queue,
            thread: Some(thread),
        })
    }

    /// The queue for files that have grown.
    pub fn queue(&self) -> Arc<NudgeQueue> {
        self.queue.clone()
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.end_process();
        drop(state);
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the message has been printed already.
            let _ = thread.join();
        }
    }
}

fn run(queue: &NudgeQueue, start: impl Fn() -> io::Result<Process>) {
    let (mut number, mut last_start) = (0, None::<Instant>);
    let mut state = queue.lock();
    while !state.closed {
        let round = state.round();
        if round.is_empty() {
            state = queue.wait(state);
            continue;
        }
        if state.process.is_none() {
            // The last process may have ended because of an order: it is not started again at once.
            if let Some(last) = last_start {
                state = queue.pause(state, RESTART_PAUSE.saturating_sub(last.elapsed()));
            }
            drop(state);
            let started = start();
            last_start = Some(Instant::now());
            state = queue.lock();
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
            // Orders are small and few, so that the socket has room: this never waits.
            let process = state.process.as_mut();
            if process.is_none_or(|process| process.orders.write_all(&order).is_err()) {
                state.process_has_ended();
            }
        }
        state = queue.pause(state, PAUSE);
    }
}

/// Starts the process. Returns it, and the socket that its answers come from.
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
    // This closes this process's copy of the other end: the socket then ends with the process.
    drop(command);
    match hear_threads(&mut orders) {
        Ok(threads) => {
            on_threads(threads);
            Ok((Process { child, orders }, answers))
        }
        Err(e) => {
            // It waits for no file yet, and so ends at once.
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

/// Takes the answers of each process, until it ends.
fn listen(queue: &NudgeQueue, processes: &Receiver<UnixStream>) {
    for mut answers in processes {
        let mut number = [0; 8];
        while answers.read_exact(&mut number).is_ok() {
            queue.lock().told.remove(&u64::from_le_bytes(number));
            queue.changed.notify_one();
        }
        queue.lock().process_has_ended();
        queue.changed.notify_one();
    }
}
