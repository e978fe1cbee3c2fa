//! docs/architecture.md is a map of the source. Each path that a document names exists, and the map's lists of threads and of
//! unsafe code leave out no file.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

/// What starts a thread, or a pool of them.
const STARTS_THREADS: &[&str] = &[
    "thread::Builder",
    "thread::{Builder",
    "thread::spawn",
    "thread::scope",
    "Pool::new(",
];
/// What begins unsafe code.
const UNSAFE: &[&str] = &["unsafe {", "unsafe extern \"C\" {"];

/// The documents, each with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let all = docs.chain([Path::new(ROOT).join("README.md")]);
    all.map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The paths below src and tests that a text names.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    text.split(move |c| !is_of_path(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with("src/") || word.starts_with("tests/"))
}

/// The source files, by their path in the repository, without their unit tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![Path::new(ROOT).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap();
            if path.is_dir() {
                directories.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                found.push((name.to_owned(), code.to_owned()));
            }
        }
    }
    found
}

/// A section of the map.
fn section(heading: &str) -> &'static str {
    let (_, section) = ARCHITECTURE
        .split_once(&format!("\n## {heading}\n"))
        .expect(heading);
    section.split("\n## ").next().unwrap()
}

fn count(code: &str, what: &[&str]) -> usize {
    what.iter().map(|what| code.matches(what).count()).sum()
}

#[test]
fn each_path_that_a_document_names_is_there() {
    assert!(paths(ARCHITECTURE).count() > 50, "it is not understood");
    for (document, text) in documents() {
        for path in paths(&text) {
            assert!(
                Path::new(ROOT).join(path).exists(),
                "{}: there is no {path}",
                document.display()
            );
        }
    }
}

#[test]
fn each_file_that_starts_threads_is_in_the_table_of_threads() {
    let threads = section("Threads");
    for (path, code) in sources() {
        let is_listed = paths(threads).any(|p| p == path);
        assert!(
            is_listed || count(&code, STARTS_THREADS) == 0,
            "the section on threads leaves out {path}"
        );
    }
}

#[test]
fn each_unsafe_block_has_its_row() {
    let rows = section("Unsafe code").lines();
    for (path, code) in sources() {
        let listed = rows.clone().filter(|row| paths(row).any(|p| p == path));
        assert_eq!(listed.count(), count(&code, UNSAFE), "{path}");
    }
}
