//! The wings of the house, and the walls between them: a file imports only from wings below its own. What a file imports
//! is read from src, and held against the table here.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use source::Source;

/// A wing or a room of one: the files that begin so, and the wings below that it may not touch either.
struct Room {
    files: &'static [&'static str],
    never: &'static [&'static str],
}

const fn room(files: &'static [&'static str]) -> Room {
    Room { files, never: &[] }
}

/// From the ground up: a room may touch those above it in this list, which are below it in the house.
const HOUSE: &[Room] = &[
    // The engine: first what all of it speaks of.
    room(&[
        "engine/error.rs",
        "engine/format.rs",
        "engine/ids.rs",
        "engine/locks.rs",
        "engine/namespace.rs",
    ]),
    room(&["engine/disk/"]),
    room(&["engine/options.rs", "engine/progress.rs"]),
    room(&["engine/segment/"]),
    room(&["engine/recovery/"]),
    room(&["engine/log/"]),
    room(&["engine/storage/"]),
    // The system, and nothing of ours.
    Room {
        files: &["host/"],
        never: &["engine/"],
    },
    // The file system: first what all of it speaks of.
    room(&[
        "fs/budget.rs",
        "fs/errno.rs",
        "fs/inbox.rs",
        "fs/locks.rs",
        "fs/pool.rs",
        "fs/settings.rs",
    ]),
    room(&["fs/tree/"]),
    room(&["fs/forms/"]),
    room(&["fs/rights/"]),
    room(&["fs/namespace/"]),
    room(&["fs/transport.rs"]),
    room(&["fs/handles/"]),
    room(&["fs/wait/"]),
    room(&["fs/about/"]),
    room(&["fs/fs.rs"]),
    room(&["fs/calls/"]),
    // The kernel.
    room(&["fuse/mount/"]),
    room(&["fuse/fuser/"]),
    room(&["cli/"]),
    // The programs.
    Room {
        files: &["bin/immuta/"],
        never: &["fuse/", "bin/immuta-fs/"],
    },
    Room {
        files: &["bin/immuta-fs/"],
        never: &["bin/immuta/"],
    },
];

/// What is not ours and has its place: the files that may name it.
const PLACES: &[(&str, &str, &[&str])] = &[
    ("", "fuser", &["fuse/fuser/"]),
    ("", "clap", &["cli/", "bin/immuta/"]),
    ("", "nix::mount", &["fuse/mount/"]),
    (
        "engine/",
        "std::fs",
        &["engine/disk/", "engine/storage/directory_lock.rs"],
    ),
    (
        "engine/",
        "libc",
        &["engine/disk/", "engine/storage/directory_lock.rs"],
    ),
];

/// Doors that are there for a reason, which is their third word: a file, and what it imports. At most three.
const DOORS: &[(&str, &str, &str)] = &[];

const MOST_LINES: usize = 450;
const MOST_FUNCTION_LINES: usize = 80;
/// How the doc of a longer function begins the sentence that says why.
const REASON: &str = "Long because";

/// All files of src, and of a planted one.
#[derive(Clone)]
struct House(BTreeMap<String, Arc<Source>>);

static AS_IT_IS: LazyLock<House> = LazyLock::new(House::read);
static FAULTS: LazyLock<Vec<String>> = LazyLock::new(|| AS_IT_IS.faults());

impl House {
    fn read() -> House {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        read_directory(&root, &root, &mut files);
        House(files)
    }

    fn with(mut self, path: &str, text: &str) -> House {
        let planted = Arc::new(Source::read(path, text));
        self.0.insert(path.to_owned(), planted);
        self
    }

    /// The file of a module.
    fn file(&self, module: &[String]) -> Option<&Source> {
        let module = module.join("/");
        ["/mod.rs", "/lib.rs", "/main.rs", ".rs"]
            .iter()
            .find_map(|end| self.0.get(format!("{module}{end}").trim_start_matches('/')))
            .map(Arc::as_ref)
    }

    /// Where a path that a file names leads to, if that is a file of ours.
    fn target<'a>(&'a self, from: &Source, path: &[String]) -> Option<&'a Source> {
        let here = module_of(&from.path);
        let is_child = self.file(&[&here[..], &path[..1]].concat()).is_some();
        let absolute = match path[0].as_str() {
            _ if is_child => [&here, path].concat(),
            "crate" => [root_of(&from.path).as_slice(), &path[1..]].concat(),
            "immuta" => [&["engine".to_owned()][..], &path[1..]].concat(),
            "immuta_fs" => path[1..].to_vec(),
            "self" => [&here, &path[1..]].concat(),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                [&here[..here.len().checked_sub(up)?], &path[up..]].concat()
            }
            _ => return None,
        };
        let longest = (0..=absolute.len()).rev();
        let mut modules = longest.filter_map(|n| Some((n, self.file(&absolute[..n])?)));
        let (length, file) = modules.next()?;
        // A name that a `mod.rs` shows is where it shows it from.
        let shown = absolute.get(length).and_then(|name| {
            let mut shown = file.shown.iter();
            shown.find(|(shown, _)| shown == name)
        });
        match shown {
            Some((_, path)) => self.target(file, path).or(Some(file)),
            None => Some(file),
        }
    }

    /// Each file, and a file of another room that it imports, with the place where it does.
    fn imports(&self) -> impl Iterator<Item = (&Source, &Source, usize)> {
        self.0.values().map(Arc::as_ref).flat_map(move |from| {
            from.imports.iter().filter_map(move |import| {
                let to = self.target(from, &import.path)?;
                let is_its_own = is_front(&from.path) && to.path.starts_with(directory(&from.path));
                (to.path != from.path && !is_its_own).then_some((from, to, import.line))
            })
        })
    }

    /// All that is wrong.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.climbs();
        faults.extend(self.circles());
        faults.extend(self.strangers());
        faults.extend(self.lengths());
        faults.sort();
        faults.dedup();
        faults
    }

    fn climbs(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for path in self.0.keys().filter(|path| !is_front(path)) {
            if level(path).is_none() {
                faults.push(format!("{path} is in no room of the table"));
            }
        }
        for (from, to, line) in self.imports() {
            let Some(here) = level(&from.path) else {
                continue;
            };
            let never = HOUSE[here].never.iter();
            let is_never = never.clone().any(|room| to.path.starts_with(room));
            let is_below = match level(&to.path) {
                Some(there) => there <= here,
                // The front of a wing stands for all of it.
                None => !from.path.starts_with(directory(&to.path)),
            };
            let door = DOORS
                .iter()
                .any(|(f, t, _)| *f == from.path && *t == to.path);
            if (is_never || !is_below) && !door {
                faults.push(format!("{}:{line} climbs to {}", from.path, to.path));
            }
        }
        faults
    }

    /// Files of several rooms that reach each other.
    fn circles(&self) -> Vec<String> {
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to, _) in self.imports() {
            if !is_front(&from.path) && !is_front(&to.path) {
                next.entry(&from.path).or_default().insert(&to.path);
            }
        }
        let reach = |from| {
            let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
            while let Some(file) = left.pop() {
                for &to in next.get(file).into_iter().flatten() {
                    if reached.insert(to) {
                        left.push(to);
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            next.keys().map(|&from| (from, reach(from))).collect();
        let mut faults = Vec::new();
        for (from, to) in &next {
            for to in to.iter().filter(|to| level(to) != level(from)) {
                if reached.get(to).is_some_and(|back| back.contains(from)) {
                    faults.push(format!("{from} and {to} are in a circle"));
                }
            }
        }
        faults
    }

    /// What is not ours, away from its place; and calls on the file system, away from theirs.
    fn strangers(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for file in self.0.values() {
            for import in &file.imports {
                let named = format!("{}::", import.path.join("::"));
                for (wing, stranger, places) in PLACES {
                    let is_it = named.starts_with(&format!("{stranger}::"));
                    let is_ours = || self.target(file, &import.path).is_some();
                    let is_in_place = || places.iter().any(|place| file.path.starts_with(place));
                    if file.path.starts_with(wing) && is_it && !is_in_place() && !is_ours() {
                        let line = import.line;
                        faults.push(format!("{}:{line} names {stranger}", file.path));
                    }
                }
            }
            for (_, line) in file.implements.iter().filter(|(name, _)| name == "Fs") {
                if !file.path.starts_with("fs/calls/") {
                    faults.push(format!("{}:{line} has calls on `Fs`", file.path));
                }
            }
        }
        faults
    }

    fn lengths(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for file in self.0.values() {
            let path = &file.path;
            if file.lines > MOST_LINES {
                faults.push(format!("{path} has {} lines", file.lines));
            }
            for function in &file.functions {
                let is_long = function.lines > MOST_FUNCTION_LINES;
                if is_long && !function.doc.contains(REASON) {
                    let mut fault = String::new();
                    let (line, name, lines) = (function.line, &function.name, function.lines);
                    write!(
                        fault,
                        "{path}:{line} {name} has {lines} lines, and its doc no '{REASON}'"
                    )
                    .unwrap();
                    faults.push(fault);
                }
            }
        }
        faults
    }
}

fn read_directory(root: &Path, directory: &Path, files: &mut BTreeMap<String, Arc<Source>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_directory(root, &path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && !is_of_tests(&path) {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let source = Source::read(&name, &fs::read_to_string(&path).unwrap());
            files.insert(name, Arc::new(source));
        }
    }
}

/// Unit tests that are a file of their own may use whatever they like.
fn is_of_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default();
    name.to_str().is_some_and(|name| name.ends_with("tests"))
}

/// The number of a file's room in the table.
fn level(path: &str) -> Option<usize> {
    let is_in = |room: &Room| room.files.iter().any(|files| path.starts_with(files));
    HOUSE.iter().position(is_in)
}

/// Whether a file is the front of what is in its directory, with `mod` and `pub use` lines alone.
fn is_front(path: &str) -> bool {
    path.ends_with("mod.rs") || path.ends_with("lib.rs")
}

fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

/// The module that a file is, from src on.
fn module_of(path: &str) -> Vec<String> {
    let mut names: Vec<String> = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(
        names.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        names.pop();
    }
    names
}

/// What `crate` is in a file, from src on.
fn root_of(path: &str) -> Vec<String> {
    let names: Vec<&str> = path.split('/').collect();
    let root = match names[..] {
        ["engine", ..] => &names[..1],
        ["bin", _, ..] => &names[..2],
        _ => &[],
    };
    root.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_file_imports_from_wings_below_its_own() {
    let faults = &*FAULTS;
    assert!(
        faults.is_empty(),
        "{} faults\n{}\n",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn doors_are_few_and_used() {
    assert!(DOORS.len() <= 3, "{DOORS:?}");
    let house = &*AS_IT_IS;
    let used: BTreeSet<_> = house
        .imports()
        .map(|(from, to, _)| (&*from.path, &*to.path))
        .collect();
    for (from, to, reason) in DOORS {
        assert!(
            used.contains(&(from, to)) && !reason.is_empty(),
            "{from} does not import {to}"
        );
    }
}

/// What is wrong with one file more.
fn planted(path: &str, text: &str) -> Vec<String> {
    let after = AS_IT_IS.clone().with(path, text).faults();
    after
        .into_iter()
        .filter(|fault| !FAULTS.contains(fault))
        .collect()
}

#[test]
fn an_import_that_climbs_is_found_however_it_is_written() {
    for text in [
        "use crate::log::Log;",
        "use crate::{ids, log::Log};",
        "use super::super::log::Log as L;",
        "fn f() { crate::log::Log::default(); }",
        "fn f(log: &crate::log::Log) {}",
        "fn f() { println!(\"{}\", crate::log::MAX_LISTED_DAMAGES); }",
    ] {
        let faults = planted("engine/segment/planted.rs", text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(
            faults[0].contains("planted.rs:1 climbs to engine/log/"),
            "{faults:?}"
        );
    }
    for (path, text) in [
        ("fs/forms/planted.rs", "use crate::fs::Fs;"),
        ("fs/tree/planted.rs", "use crate::fuse::Kernel;"),
        ("host/planted.rs", "use immuta::Log;"),
        ("bin/immuta/planted.rs", "use immuta_fs::fuse::prepare;"),
    ] {
        let faults = planted(path, text);
        assert!(
            matches!(&faults[..], [one] if one.contains(" climbs to ")),
            "{text}: {faults:?}"
        );
    }
}

#[test]
fn what_tests_and_comments_say_is_no_import_and_neither_is_what_is_below() {
    for text in [
        "#[cfg(test)]\nmod tests { use crate::log::Log; }",
        "// use crate::log::Log;\n/// [`crate::log::Log`]\nfn f() { let _ = \"crate::log::Log\"; }",
        "use crate::ids::RecordNo;\nuse crate::disk::Disk;\nuse super::state::State;",
    ] {
        assert_eq!(
            planted("engine/segment/planted.rs", text),
            [""; 0],
            "{text}"
        );
    }
}

#[test]
fn a_circle_of_two_rooms_is_found() {
    let house = House(BTreeMap::new())
        .with("engine/log/a.rs", "use crate::storage::b::B;")
        .with("engine/storage/b.rs", "use crate::log::a::A;");
    assert_eq!(house.circles().len(), 2, "{:?}", house.circles());
    let house = House(BTreeMap::new())
        .with("engine/log/a.rs", "use super::b::B;")
        .with("engine/log/b.rs", "use super::a::A;");
    assert_eq!(house.faults(), [""; 0]);
}

#[test]
fn what_is_not_ours_and_calls_on_the_file_system_have_their_place() {
    for (path, text, fault) in [
        ("fs/calls/planted.rs", "use fuser::Request;", "names fuser"),
        ("host/planted.rs", "use clap::Parser;", "names clap"),
        (
            "host/planted.rs",
            "fn f() { nix::mount::umount(\"x\"); }",
            "names nix::mount",
        ),
        (
            "engine/log/planted.rs",
            "use std::{fs, io};",
            "names std::fs",
        ),
        (
            "engine/log/planted.rs",
            "use std::fs::File;",
            "names std::fs",
        ),
        (
            "engine/log/planted.rs",
            "const E: i32 = libc::EIO;",
            "names libc",
        ),
        (
            "fs/wait/planted.rs",
            "impl<T> Fs<T> {}",
            "has calls on `Fs`",
        ),
        ("planted/planted.rs", "", "is in no room of the table"),
    ] {
        let faults = planted(path, text);
        assert!(
            matches!(&faults[..], [one] if one.ends_with(fault)),
            "{text}: {faults:?}"
        );
    }
}

#[test]
fn what_is_too_long_is_found() {
    let file = "\n".repeat(MOST_LINES + 1);
    assert_eq!(
        planted("host/planted.rs", &file),
        ["host/planted.rs has 451 lines"]
    );
    let function = format!("fn f() {{{}}}", "\n".repeat(MOST_FUNCTION_LINES));
    let faults = planted("host/planted.rs", &function);
    assert_eq!(
        faults,
        ["host/planted.rs:1 f has 81 lines, and its doc no 'Long because'"]
    );
    let reasoned = format!("/// Long because it has a reason.\n{function}");
    assert_eq!(planted("host/planted.rs", &reasoned), [""; 0]);
}
