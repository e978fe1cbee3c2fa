//! Every promise of docs/semantics.md is quoted above the test that proves it, and no test quotes one that is
//! not there.
//!
//! A promise is a line that begins with `- `, with the indented lines that follow it. A quotation is a run of
//! comment lines `// > ` (or `/// > `), and may hold several promises, one after the other. White space is
//! folded.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn promises(document: &str) -> BTreeSet<String> {
    let mut promises = Vec::new();
    let mut open = false;
    for line in document.lines() {
        if let Some(first) = line.strip_prefix("- ") {
            promises.push(first.to_owned());
            open = true;
        } else if open && line.starts_with("  ") {
            let promise: &mut String = promises.last_mut().unwrap();
            promise.push_str(line);
        } else {
            open = false;
        }
    }
    promises.iter().map(|p| folded(p)).collect()
}

/// Runs of quoting comment lines, folded.
fn quotations(source: &str) -> Vec<String> {
    let mut runs = vec![String::new()];
    for line in source.lines() {
        let comment = line.trim_start().trim_start_matches('/');
        match comment.strip_prefix(" > ") {
            Some(quoted) => {
                let run = runs.last_mut().unwrap();
                run.push(' ');
                run.push_str(quoted);
            }
            None => runs.push(String::new()),
        }
    }
    let runs = runs.iter().map(|r| folded(r));
    runs.filter(|r| !r.is_empty()).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Takes the promises that a quotation is made of. What is left begins with something that is no promise.
fn take_promises<'a>(promises: &'a BTreeSet<String>, quotation: &str) -> (Vec<&'a str>, String) {
    let mut rest = quotation;
    let mut quoted = Vec::new();
    while let Some(promise) = promises
        .iter()
        .filter(|p| rest.starts_with(p.as_str()))
        .max_by_key(|p| p.len())
    {
        quoted.push(promise.as_str());
        rest = rest[promise.len()..].trim_start();
    }
    (quoted, rest.to_owned())
}

#[test]
fn each_promise_is_quoted_by_a_test_and_each_quotation_is_a_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let promises = promises(&fs::read_to_string(root.join("docs/semantics.md")).unwrap());
    assert!(promises.len() > 20, "the document is not understood");
    let mut missing: BTreeSet<&str> = promises.iter().map(String::as_str).collect();
    let mut problems = Vec::new();
    let files = [root.join("tests"), root.join("src")];
    for path in files.iter().flat_map(|d| sources(d)) {
        for quotation in quotations(&fs::read_to_string(&path).unwrap()) {
            let (quoted, rest) = take_promises(&promises, &quotation);
            for promise in quoted {
                missing.remove(promise);
            }
            if !rest.is_empty() {
                problems.push(format!(
                    "{}: docs/semantics.md has no promise: {rest}",
                    path.display()
                ));
            }
        }
    }
    problems.extend(missing.iter().map(|p| format!("quoted above no test: {p}")));
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn quotations_are_understood() {
    let document = "# Title\n- One\n  goes on.\n\n- Two.\n- One\n";
    let promises = promises(document);
    assert_eq!(
        promises.iter().map(String::as_str).collect::<Vec<_>>(),
        ["One", "One goes on.", "Two."]
    );
    let source = [
        "// > One goes\n",
        "    // >   on.\n",
        "// > Two.\ncode\n",
        "// > Three\n",
    ]
    .concat();
    let found = quotations(&source);
    assert_eq!(found, ["One goes on. Two.", "Three"]);
    assert_eq!(
        take_promises(&promises, &found[0]),
        (vec!["One goes on.", "Two."], String::new())
    );
    assert_eq!(
        take_promises(&promises, &found[1]),
        (vec![], "Three".to_owned())
    );
}
