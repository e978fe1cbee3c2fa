//! The documents list the files of a namespace as the table in the code has them: each file once, nothing else, and with
//! the same directions.

use std::collections::BTreeMap;

use immuta_fs::fs::tree::{ABOUT, ABOUT_FILES, Direction, FILES, File, Shows, Takes};

const README: &str = include_str!("../../README.md");
const SEMANTICS: &str = include_str!("../../docs/semantics.md");

/// What the documents call a namespace.
const NAMESPACE: &str = "orders";

/// What a document says of each file, by its directory and its name.
type Listed<T> = BTreeMap<(String, String), T>;

/// What the code says of each file, where `fixed` does of a file of a namespace, and `about` of those that tell of the mount.
fn expected<T: Clone>(fixed: impl Fn(&File) -> T, about: &T) -> Listed<T> {
    let of_namespace = FILES
        .iter()
        .map(|file| ((NAMESPACE.into(), file.name.into()), fixed(file)));
    let of_mount = ABOUT_FILES
        .iter()
        .map(|(name, _)| ((ABOUT.into(), (*name).into()), about.clone()));
    of_namespace.chain(of_mount).collect()
}

fn arrow(file: &File) -> String {
    match file.direction() {
        Direction::In => "w".into(),
        Direction::Out => "r".into(),
        Direction::Both => "rw".into(),
    }
}

/// The part of a document between two lines.
#[track_caller]
fn section<'a>(document: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = document.split_once(from).expect(from);
    rest.split_once(to).expect(to).0
}

/// The rows of a table, each as its cells, without the heading.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = lines.map(|line| line.trim_end_matches(" |").split(" | ").map(str::trim));
    cells.map(Iterator::collect).skip(2).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The directory and the name of a file; `None` for a record, and for what is a directory alone.
fn place(directory: &mut String, path: &str) -> Option<(String, String)> {
    let mut rest = path;
    if let Some((first, behind)) = path.split_once('/')
        && [NAMESPACE, ABOUT].contains(&first)
    {
        *directory = first.to_owned();
        rest = behind;
    }
    // `from/N` and `since/TIME` are files of the directories `from` and `since`.
    let name = rest.split('/').next().unwrap_or_default();
    let is_record = name.bytes().all(|b| b.is_ascii_digit());
    (!is_record).then(|| (directory.clone(), name.to_owned()))
}

#[track_caller]
fn insert<T: std::fmt::Debug>(listed: &mut Listed<T>, place: (String, String), says: T) {
    let before = listed.insert(place.clone(), says);
    assert!(before.is_none(), "{place:?} is listed twice: {before:?}");
}

#[test]
fn the_readme_lists_each_file_with_its_direction() {
    let mut listed = Listed::new();
    for row in rows(section(README, "## The tree\n", "\n## ")) {
        let mut directory = NAMESPACE.to_owned();
        for path in quoted(row[0]) {
            if let Some(place) = place(&mut directory, path) {
                insert(&mut listed, place, row[1].to_owned());
            }
        }
    }
    assert_eq!(listed, expected(arrow, &"r".into()));
}

#[test]
fn the_tree_in_the_semantics_lists_each_file_with_its_direction() {
    let tree = section(SEMANTICS, "## The tree\n\n```\n/mnt/log/\n", "```");
    let mut listed = Listed::new();
    let mut directory = String::new();
    for line in tree.lines() {
        let Some(file) = line.strip_prefix("    ") else {
            place(&mut directory, line.split_whitespace().next().unwrap());
            continue;
        };
        // The records: `0 1 2 ...`.
        let (name, says) = file.split_once("  ").unwrap();
        if let Some(place) = place(&mut directory, name.split(' ').next().unwrap()) {
            let arrow = says.split_whitespace().next().unwrap();
            insert(&mut listed, place, arrow.to_owned());
        }
    }
    assert_eq!(listed, expected(arrow, &"r".into()));
}

/// How a file can be opened for reading, writing and both, whether a read at the end waits, and whether a write is taken.
type Ways = ([String; 3], bool, bool);

fn ways(file: &File) -> Ways {
    let opened = match file.direction() {
        Direction::In => ["-", "yes", "yes"],
        Direction::Out => ["yes", "-", "-"],
        Direction::Both => {
            assert_eq!(file.takes, Takes::AppendedLines);
            let appended = "with O_APPEND; else EPERM";
            ["yes", appended, appended]
        }
    };
    let in_it_waits = matches!(file.shows, Shows::FromRecord | Shows::SinceTime);
    let waits = file.shows.waits() || in_it_waits;
    (
        opened.map(str::to_owned),
        waits,
        file.takes != Takes::Nothing,
    )
}

#[test]
fn the_table_in_the_semantics_says_of_each_file_how_it_is_opened_read_and_written() {
    let table = section(SEMANTICS, "## Every file, in one table\n", "\n## ");
    let about = (["yes", "-", "-"].map(str::to_owned), false, false);
    let mut listed = Listed::new();
    for row in rows(table) {
        let opened = [1, 2, 3].map(|column| row[column].to_owned());
        let says = (opened, row[4].starts_with("waits"), row[6] != "-");
        let (cell, _) = row[0].split_once(';').unwrap_or((row[0], ""));
        let mut directory = NAMESPACE.to_owned();
        for path in quoted(cell) {
            match place(&mut directory, path) {
                Some((directory, name)) if name == "*" => {
                    for (name, _) in ABOUT_FILES {
                        insert(
                            &mut listed,
                            (directory.clone(), (*name).into()),
                            says.clone(),
                        );
                    }
                }
                Some(place) => insert(&mut listed, place, says.clone()),
                None => {}
            }
        }
    }
    assert_eq!(listed, expected(ways, &about));
}
