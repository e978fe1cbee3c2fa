//! A second open of an append file by a process that has it open already: the second one gets an inode of its own.
//!
//! A close does not tell which descriptors its process has left of the open file. `/proc` tells only on which inodes the
//! process has descriptors (see `opener`). So two opens that share an inode cannot be told from one open and its duplicate,
//! and the close of the first would leave an unfinished line or frame to the close of the second, and report nothing.
//!
//! The kernel looks up the name, and so has the inode, before it says that somebody opens it. So [`SecondOpens::open`]
//! answers `ESTALE`: then the kernel looks the name up once more, for the same thread, and opens what it gets. That lookup
//! gets an inode number of its own. The program sees nothing of it.
//!
//! Other lookups share an inode: locks (`flock(2)`) of an inode hold between all programs that have opened it, `fuser(1)`
//! looks for it, and `/proc/PID/fd` shows an open file as deleted when its name has got another one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::opener::Opener;
use crate::fs::errno::Errno;
use crate::fs::locks::lock;

/// The most threads that were told to look again and have not come back: beyond that, those that have ended are forgotten.
const MOST_TOLD: usize = 1024;

/// Which processes have which append files open, and which threads were told to look a name up again.
#[derive(Debug, Default)]
pub(crate) struct SecondOpens(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The open files, by their inode.
    open: HashMap<u64, Vec<Arc<Opener>>>,
    /// The threads that were told to look again, each with what it was about to open.
    told: HashMap<u32, Arc<Opener>>,
}

impl SecondOpens {
    /// Notes an open file.
    ///
    /// # Errors
    /// `ESTALE`, once for each open, when the same process has opened that inode already: the name is to be looked up
    /// again.
    pub(crate) fn open(&self, opener: &Arc<Opener>) -> Result<(), Errno> {
        let was_told = lock(&self.0).told.remove(&opener.thread()).is_some();
        // A thread that was told comes back with the same inode when it opens a descriptor (`/dev/stdout`), not a name.
        if !was_told && self.has_another(opener) && self.tell(opener) {
            return Err(Errno::ESTALE);
        }
        if was_told {
            opener.resolve();
        }
        let mut state = lock(&self.0);
        let open = state.open.entry(opener.ino()).or_default();
        open.push(Arc::clone(opener));
        Ok(())
    }

    /// The file that this process opened is closed for good.
    pub(crate) fn released(&self, opener: &Arc<Opener>) {
        let mut state = lock(&self.0);
        if let Some(open) = state.open.get_mut(&opener.ino()) {
            open.retain(|other| !Arc::ptr_eq(other, opener));
            if open.is_empty() {
                state.open.remove(&opener.ino());
            }
        }
    }

    /// Whether the process has opened the same inode before. `false` for one that the kernel cannot name.
    fn has_another(&self, opener: &Opener) -> bool {
        let open = lock(&self.0).open.get(&opener.ino()).cloned();
        // Not under the lock: it is looked up in `/proc`.
        let mut others = open.into_iter().flatten();
        opener.thread() != 0 && others.any(|other| other.process() == opener.process())
    }

    /// Notes that a thread is told to look again. Returns whether there is room for that.
    fn tell(&self, opener: &Arc<Opener>) -> bool {
        let told = &mut lock(&self.0).told;
        if told.len() >= MOST_TOLD {
            // A thread that is killed on its way does not come back.
            told.retain(|thread, _| Path::new(&format!("/proc/{thread}")).exists());
        }
        let has_room = told.len() < MOST_TOLD;
        if has_room {
            told.insert(opener.thread(), Arc::clone(opener));
        }
        has_room
    }

    /// Whether a thread that looks up this inode is to get another one. Not when the first open has come to its
    /// end meanwhile.
    pub(crate) fn wants_its_own(&self, thread: u32, ino: u64) -> bool {
        let told = lock(&self.0).told.get(&thread).cloned();
        told.is_some_and(|opener| opener.ino() == ino && self.has_another(&opener))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn opener(thread: u32, ino: u64) -> Arc<Opener> {
        Arc::new(Opener::new(thread, ino))
    }

    fn me() -> u32 {
        nix::unistd::gettid().as_raw() as u32
    }

    #[test]
    fn only_a_second_open_by_the_same_process_is_to_look_again_and_only_once() {
        let opens = SecondOpens::default();
        let first = opener(me(), 7);
        assert_eq!(opens.open(&first), Ok(()));
        assert_eq!(opens.open(&opener(me(), 8)), Ok(()), "another inode");
        assert_eq!(opens.open(&opener(1, 7)), Ok(()), "another process");
        let unknown = [opener(0, 7), opener(0, 7)];
        assert_eq!(
            [opens.open(&unknown[0]), opens.open(&unknown[1])],
            [Ok(()), Ok(())]
        );
        let other_thread = std::thread::spawn(me).join().unwrap();
        assert!(!opens.wants_its_own(me(), 7));
        let second = std::thread::scope(|s| s.spawn(|| opens.open(&opener(me(), 7))).join());
        assert_eq!(second.unwrap(), Err(Errno::ESTALE), "another thread");
        assert_ne!(other_thread, me());

        let second = opener(me(), 7);
        assert_eq!(opens.open(&second), Err(Errno::ESTALE));
        assert!(opens.wants_its_own(me(), 7));
        assert!(!opens.wants_its_own(me(), 8));
        assert!(!opens.wants_its_own(1, 7));
        assert_eq!(opens.open(&second), Ok(()));
        assert!(!opens.wants_its_own(me(), 7));
    }

    #[test]
    fn what_is_closed_is_no_first_open_any_more() {
        let opens = SecondOpens::default();
        let (first, second) = (opener(me(), 7), opener(me(), 7));
        opens.open(&first).unwrap();
        assert_eq!(opens.open(&second), Err(Errno::ESTALE));
        opens.released(&first);
        assert!(!opens.wants_its_own(me(), 7));
        assert_eq!(opens.open(&second), Ok(()));
        opens.released(&second);
        assert!(lock(&opens.0).open.is_empty());
        assert!(lock(&opens.0).told.is_empty());
    }

    #[test]
    fn threads_that_do_not_come_back_are_forgotten() {
        let opens = SecondOpens::default();
        opens.open(&opener(me(), 7)).unwrap();
        // No thread has such a number.
        for thread in 0..MOST_TOLD as u32 {
            assert!(opens.tell(&opener(u32::MAX - thread, 7)));
        }
        assert_eq!(opens.open(&opener(me(), 7)), Err(Errno::ESTALE));
        assert_eq!(lock(&opens.0).told.len(), 1);
    }
}
