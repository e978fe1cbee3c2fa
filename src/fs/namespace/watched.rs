//! Which names of a namespace inotify watchers may watch, and which of them have been told of its growth.
//!
//! A watch pins the inode of its file, so a file that the kernel has forgotten has no watcher. The kernel does not tell
//! whether a file that it knows has a watcher. So `log` and `follow` are nudged when they grow, if a program has looked them
//! up. A watch on the directory of the namespace sees its files, too, and looks none of them up. For such watchers `log` is
//! nudged later, and so seldom that it costs nothing.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex};

use crate::fs::locks::lock;
use crate::fs::tree::Node;
use immuta::Namespace;

/// A name that a watcher can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchedName {
    Directory,
    Log,
    Follow,
}

impl WatchedName {
    pub(crate) fn of(node: Node) -> Option<(u32, WatchedName)> {
        match node {
            Node::Namespace(id) => Some((id, WatchedName::Directory)),
            Node::File(id, file) => WatchedName::of_file(file.name).map(|name| (id, name)),
            _ => None,
        }
    }

    /// The name of a file, if its watchers are told by its name.
    fn of_file(file: &str) -> Option<WatchedName> {
        match file {
            "log" => Some(WatchedName::Log),
            "follow" => Some(WatchedName::Follow),
            _ => None,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What the kernel knows of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    lookups: Mutex<[u64; 3]>,
    /// The names that a program has looked up and the kernel has not forgotten. The lookups of the nudges themselves do not
    /// count.
    by_programs: AtomicU8,
    /// The names whose watchers are about to be told of growth.
    told: AtomicU8,
}

impl Watched {
    pub(crate) fn looked_up(&self, name: WatchedName, by_program: bool) {
        let mut lookups = lock(&self.lookups);
        lookups[name as usize] += 1;
        if by_program {
            self.by_programs.fetch_or(name.bit(), Ordering::SeqCst);
        }
    }

    pub(crate) fn forgot(&self, name: WatchedName, count: u64) {
        let mut lookups = lock(&self.lookups);
        let left = &mut lookups[name as usize];
        *left = left.saturating_sub(count);
        if *left == 0 {
            self.by_programs.fetch_and(!name.bit(), Ordering::SeqCst);
        }
    }

    /// The names whose watchers have to be told of records that have just been committed, without those that are about to be
    /// told anyway. `by_log`: the records came through `log`, whose watchers the kernel tells itself.
    fn news(&self, by_log: bool) -> impl Iterator<Item = WatchedName> {
        // Either this thread sees that a name was looked up, or the program that has looked it up sees the new size.
        fence(Ordering::SeqCst);
        let mut names = self.by_programs.load(Ordering::SeqCst);
        if names & WatchedName::Log.bit() != 0 {
            names &= !WatchedName::Directory.bit();
        }
        if by_log {
            names &= !(WatchedName::Log.bit() | WatchedName::Directory.bit());
        }
        let new = match names {
            0 => 0,
            _ => names & !self.told.fetch_or(names, Ordering::SeqCst),
        };
        [
            WatchedName::Directory,
            WatchedName::Log,
            WatchedName::Follow,
        ]
        .into_iter()
        .filter(move |name| new & name.bit() != 0)
    }
}

/// A file that has grown, whose watchers are to be told.
#[derive(Debug)]
pub struct Grown {
    /// Its path from the mount point on.
    pub path: String,
    /// Only the directory may have a watcher. The nudge can wait, so that it costs nothing.
    pub is_for_directory: bool,
    told: Option<(Arc<Watched>, WatchedName)>,
}

impl Grown {
    /// To be called before the watchers are told: from then on, new growth is told again.
    pub fn begin(&self) {
        if let Some((watched, name)) = &self.told {
            watched.told.fetch_and(!name.bit(), Ordering::SeqCst);
        }
    }
}

impl Watched {
    /// The files of a namespace that have grown with its log and whose watchers have to be told. `end_watchers`: the paths of
    /// the open files that end at end of file. `by_log`: the records came through `log`.
    pub(super) fn grown(
        self: &Arc<Self>,
        namespace: &Namespace,
        end_watchers: &[String],
        by_log: bool,
    ) -> Vec<Grown> {
        let grown = |file: &str, name: Option<WatchedName>| Grown {
            path: format!("{namespace}/{file}"),
            is_for_directory: name == Some(WatchedName::Directory),
            told: name.map(|name| (Arc::clone(self), name)),
        };
        let named = self.news(by_log).map(|name| {
            let file = match name {
                WatchedName::Directory | WatchedName::Log => "log",
                WatchedName::Follow => "follow",
            };
            grown(file, Some(name))
        });
        let others = end_watchers
            .iter()
            .filter(|path| WatchedName::of_file(path).is_none());
        named.chain(others.map(|path| grown(path, None))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::WatchedName::{Directory, Follow, Log};
    use super::*;

    fn news(watched: &Watched) -> Vec<WatchedName> {
        watched.news(false).collect()
    }

    fn told(watched: &Arc<Watched>, name: WatchedName) {
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
