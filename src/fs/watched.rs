//! By which names inotify watchers may know a namespace, and what they have been told of its growth.
//!
//! A watch pins the inode of its file, so a file that the kernel has forgotten has no watcher. Whether one that it knows
//! has a watcher, nobody tells: so each of `log` and `follow` that a program has looked up is nudged when it grows. A
//! watch on the namespace's directory sees its files, too, and looks none of them up: for those, `log` is nudged later,
//! and so seldom that it costs nothing.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex};

use super::attr::Attr;
use super::handle::lock;
use super::tree::{Kind, Node};
use super::{Caller, Duration, Fs, Namespace, PoisonError, Transport};

/// A name that a watcher can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Directory,
    Log,
    Follow,
}

impl Name {
    fn of(node: Node) -> Option<(u32, Name)> {
        match node {
            Node::Namespace(id) => Some((id, Name::Directory)),
            Node::File(id, file) if file.kind == Kind::Log => Some((id, Name::Log)),
            Node::File(id, file) if file.kind == Kind::Follow => Some((id, Name::Follow)),
            _ => None,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Whether the watchers of a file are told by its name.
fn has_name(file: &str) -> bool {
    matches!(file, "log" | "follow")
}

/// What the kernel knows of a namespace.
#[derive(Debug, Default)]
pub(super) struct Watched {
    lookups: Mutex<[u64; 3]>,
    /// The names that a program has looked up, and the kernel has not forgotten: what a nudge itself looks up
    /// does not count.
    by_programs: AtomicU8,
    /// The names whose watchers are about to be told.
    told: AtomicU8,
}

impl Watched {
    fn looked_up(&self, name: Name, by_program: bool) {
        let mut lookups = lock(&self.lookups);
        lookups[name as usize] += 1;
        if by_program {
            self.by_programs.fetch_or(name.bit(), Ordering::SeqCst);
        }
    }

    fn forgot(&self, name: Name, count: u64) {
        let mut lookups = lock(&self.lookups);
        let left = &mut lookups[name as usize];
        *left = left.saturating_sub(count);
        if *left == 0 {
            self.by_programs.fetch_and(!name.bit(), Ordering::SeqCst);
        }
    }

    /// The names whose watchers have to be told of growth that has just been committed, and are not about to be.
    /// `by_log`: it came through `log`, whose watchers the kernel tells itself.
    fn news(&self, by_log: bool) -> impl Iterator<Item = Name> {
        // Either this sees that a name was looked up, or who has looked it up sees the new size.
        fence(Ordering::SeqCst);
        let mut names = self.by_programs.load(Ordering::SeqCst);
        if names & Name::Log.bit() != 0 {
            names &= !Name::Directory.bit();
        }
        if by_log {
            names &= !(Name::Log.bit() | Name::Directory.bit());
        }
        let new = match names {
            0 => 0,
            _ => names & !self.told.fetch_or(names, Ordering::SeqCst),
        };
        [Name::Directory, Name::Log, Name::Follow]
            .into_iter()
            .filter(move |name| new & name.bit() != 0)
    }
}

/// A file that has grown, whose watchers are to be told.
#[derive(Debug)]
pub struct Grown {
    /// Its path from the mount point on.
    pub path: String,
    /// There may be a watcher of the directory only: this can wait, so that it costs nothing.
    pub is_for_directory: bool,
    told: Option<(Arc<Watched>, Name)>,
}

impl Grown {
    fn new(namespace: &Namespace, file: &str, name: Option<Name>) -> Grown {
        Grown {
            path: format!("{}/{file}", namespace.log.namespace()),
            is_for_directory: name == Some(Name::Directory),
            told: name.map(|name| (namespace.watched.clone(), name)),
        }
    }

    /// To be called before the watchers are told: of what grows from here on they are to be told again.
    pub fn begin(&self) {
        if let Some((watched, name)) = &self.told {
            watched.told.fetch_and(!name.bit(), Ordering::SeqCst);
        }
    }
}

impl<T: Transport> Fs<T> {
    /// Whether a call is made by a thread that tells inotify watchers of growth.
    pub(super) fn is_nudge(&self, caller: Caller) -> bool {
        let threads = self.nudging_threads.read();
        let threads = threads.unwrap_or_else(PoisonError::into_inner);
        threads.contains(&caller.thread)
    }

    /// Notes that the kernel knows a name from now on. Returns what it is to be told of it.
    pub(super) fn note_lookup(&self, caller: Caller, found: Attr) -> Attr {
        let Some((id, name)) = Node::from_ino(found.ino).ok().and_then(Name::of) else {
            return found;
        };
        let is_nudge = self.is_nudge(caller);
        if let Ok(namespace) = self.namespace(id) {
            namespace.watched.looked_up(name, !is_nudge);
        }
        Attr {
            // The next lookup is to be seen: it may be a program's.
            entry_ttl: if is_nudge {
                Duration::ZERO
            } else {
                found.entry_ttl
            },
            ..found
        }
    }

    /// Notes that the kernel has forgotten so many lookups of a node.
    pub(super) fn note_forget(&self, node: Node, lookups: u64) {
        if let Some((id, name)) = Name::of(node)
            && let Ok(namespace) = self.namespace(id)
        {
            namespace.watched.forgot(name, lookups);
        }
    }

    /// Has those told who watch the files of a namespace.
    pub(super) fn nudge_watchers(&self, namespace: &Namespace, by_log: bool) {
        let mut news = namespace.watched.news(by_log).peekable();
        let asked_end = namespace.end_askers.paths();
        if news.peek().is_none() && asked_end.is_empty() {
            return;
        }
        let nudge = self.nudge.read().unwrap_or_else(PoisonError::into_inner);
        let Some(nudge) = &*nudge else {
            return;
        };
        for name in news {
            let file = match name {
                Name::Directory | Name::Log => "log",
                Name::Follow => "follow",
            };
            nudge.grew(Grown::new(namespace, file, Some(name)));
        }
        for path in asked_end.iter().filter(|path| !has_name(path)) {
            nudge.grew(Grown::new(namespace, path, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Name::{Directory, Follow, Log};
    use super::*;

    fn news(watched: &Watched) -> Vec<Name> {
        watched.news(false).collect()
    }

    fn told(watched: &Arc<Watched>, name: Name) {
        let grown = Grown {
            path: String::new(),
            is_for_directory: false,
            told: Some((watched.clone(), name)),
        };
        grown.begin();
    }

    #[test]
    fn only_names_that_a_program_has_looked_up_are_told_and_once_until_it_begins() {
        let watched = Arc::new(Watched::default());
        assert_eq!(news(&watched), []);
        watched.looked_up(Follow, true);
        watched.looked_up(Log, false);
        assert_eq!(news(&watched), [Follow]);
        assert_eq!(news(&watched), []);
        told(&watched, Follow);
        assert_eq!(news(&watched), [Follow]);
    }

    #[test]
    fn a_name_that_the_kernel_has_forgotten_is_not_told() {
        let watched = Watched::default();
        watched.looked_up(Follow, true);
        watched.looked_up(Follow, false);
        watched.forgot(Follow, 1);
        assert_eq!(news(&watched), [Follow]);
        watched.forgot(Follow, 1);
        let watched = Watched {
            told: AtomicU8::new(0),
            ..watched
        };
        assert_eq!(news(&watched), []);
    }

    #[test]
    fn who_watches_the_directory_is_told_by_the_log_that_is_known_and_both_by_a_write_to_it() {
        let watched = Arc::new(Watched::default());
        watched.looked_up(Directory, true);
        assert_eq!(news(&watched), [Directory]);
        told(&watched, Directory);
        watched.looked_up(Log, true);
        assert_eq!(news(&watched), [Log]);
        told(&watched, Log);
        watched.looked_up(Follow, true);
        assert_eq!(watched.news(true).collect::<Vec<_>>(), [Follow]);
        assert_eq!(news(&watched), [Log]);
    }
}
