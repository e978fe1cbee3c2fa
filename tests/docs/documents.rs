//! README.md and docs/recipes.md, typed from top to bottom in one shell, on a new machine, by root and by a user: nothing
//! fails, nothing hangs, and what is shown is printed.

use support::documents::{Block, blocks, commands, printed};
use support::machine::{Outcome, Who, run};
use support::{Mount, shell_ok};

const README: &str = include_str!("../../README.md");
const RECIPES: &str = include_str!("../../docs/recipes.md");

/// So many blocks at the most are not typed, of both documents.
const FEW: usize = 5;

/// Printed before what a block prints.
fn begins(block: &Block) -> String {
    format!("--- line {} ---\n", block.line)
}

/// Whether a block is typed here by this user.
fn is_typed(block: &Block, who: Who) -> bool {
    match block.mark.as_deref() {
        None => true,
        Some("typed by root") => who == Who::Root,
        Some(mark) => {
            let reason = mark.strip_prefix("not typed: ");
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "{mark:?}");
            false
        }
    }
}

/// The script that a reader of the document types. At the end of each section nothing is left that a `wait` would wait for.
fn script(document: &[Block], who: Who) -> String {
    let mut script = String::from("exec 18>&2\n");
    let mut heading = "";
    for block in document.iter().filter(|block| is_typed(block, who)) {
        let Some(commands) = commands(block) else {
            continue;
        };
        if block.heading != heading {
            script.push_str("wait\n");
            heading = &block.heading;
        }
        // A terminal shows both.
        let errors = match block.language.as_str() {
            "console" => 1,
            _ => 18,
        };
        let begins = begins(block);
        let begins = begins.trim_end();
        script.push_str(&format!("echo '{begins}'\nexec 2>&{errors}\n{commands}"));
    }
    script.push_str("wait\n");
    script
}

/// What a block has printed.
fn said<'a>(outcome: &'a Outcome, block: &Block) -> &'a str {
    let (_, rest) = outcome.stdout.split_once(&begins(block)).unwrap();
    rest.split("--- line ").next().unwrap()
}

/// Types a document.
#[track_caller]
fn typed(document: &str, who: Who, before: &str) {
    let blocks = blocks(document);
    let outcome = run(who, before, &script(&blocks, who));
    assert!(
        outcome.success,
        "{who:?}: the last of these commands has failed, or has not ended:\n{}\nstdout:\n{}\nstderr:\n{}",
        outcome.trace, outcome.stdout, outcome.stderr
    );
    let mut since = String::new();
    for block in blocks.iter().filter(|block| is_typed(block, who)) {
        let line = block.line;
        match block.language.as_str() {
            "sh" => since.push_str(said(&outcome, block)),
            "text" => {
                assert_eq!(since, block.text, "{who:?}, line {line}");
                since.clear();
            }
            "console" => {
                // Without what the shell says of its jobs: `[1]+  Done   cat orders/5`.
                let lines = said(&outcome, block).lines();
                let mut lines: Vec<_> = lines.filter(|line| !line.starts_with('[')).collect();
                lines.sort_unstable();
                assert_eq!(lines, printed(block), "{who:?}, line {line}");
            }
            _ => {} // A file of another program.
        }
        if block.language != "sh" {
            since.clear();
        }
    }
}

/// `mount.sh` takes the program that is there, in place of building one.
const BUILT: &str = "export IMMUTA_FS=/home/reader/.cargo/bin/immuta-fs";

#[test]
fn the_readme_can_be_typed_from_top_to_bottom_by_root() {
    typed(README, Who::Root, BUILT);
}

#[test]
fn the_readme_can_be_typed_from_top_to_bottom_by_a_user() {
    typed(README, Who::User, BUILT);
}

/// A host that is this one: `ssh HOST COMMAND` runs the command here.
const SSH: &str = r#"
printf '#!/bin/sh\nshift\nexec sh -c "$*"\n' > /usr/local/bin/ssh
chmod 755 /usr/local/bin/ssh
"#;

/// What a reader has of the programs that the recipes are about.
const PROGRAMS: &str = "
cp -a /opt/tools/node/node_modules /home/reader/
install -m 755 /opt/tools/python/bin/nats-server /usr/local/bin/
";

#[test]
fn the_recipes_can_be_typed_one_after_another_by_root() {
    typed(RECIPES, Who::Root, &format!("{SSH}{PROGRAMS}"));
}

#[test]
fn the_recipes_can_be_typed_one_after_another_by_a_user() {
    // What a user is told to ask of root.
    let (_, asked) = RECIPES.split_once("`sudo ").unwrap();
    let (asked, _) = asked.split_once('`').unwrap();
    typed(RECIPES, Who::User, &format!("{SSH}{PROGRAMS}{asked}"));
}

#[test]
fn few_blocks_are_not_typed() {
    let left_out: Vec<_> = [README, RECIPES]
        .iter()
        .flat_map(|document| blocks(document))
        .filter(|block| block.mark.is_some() && !is_typed(block, Who::Root))
        .collect();
    assert!(left_out.len() <= FEW, "{left_out:#?}");
}

/// What the README's four lines on which file to write to say.
#[test]
fn each_file_to_write_to_makes_the_records_that_the_readme_tells() {
    let (_, table) = README.split_once("## Which file to write to").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows: Vec<_> = table.lines().filter(|l| l.starts_with("| `")).collect();
    let of = ["log", "append-lines", "append-file", "append"];
    assert_eq!(rows.len(), of.len(), "{table}");
    for (row, file) in rows.iter().zip(of) {
        assert!(row.starts_with(&format!("| `orders/{file}`")), "{row}");
    }
    let mut mount = Mount::new();
    // `seq` writes where its buffer is full, in the middle of a line.
    let records = |command: &str, file: &str| {
        let script = format!(
            "mkdir \"$1/{file}\" && cd \"$1/{file}\" && {command} {file} && cat count && cat 7 && cmp log <(seq 100000)"
        );
        shell_ok(&script, &[&mount.path()])
    };
    assert_eq!(records("seq 100000 >>", "log"), "100000\n8\n");
    assert_eq!(records("seq 100000 >", "append-lines"), "100000\n8\n");
    assert!(rows[3].contains("`seq 100000 > orders/append` cuts lines"));
    let script = r#"
        mkdir "$1/cut" && cd "$1/cut" && seq 100000 > append
        [ "$(cat count)" -lt 100000 ] || exit 1
        cut=0
        for n in $(seq 0 $(($(cat count) - 1))); do
            [ -z "$(tail -c 1 $n)" ] || cut=$((cut + 1))
        done
        [ $cut -gt 0 ] && cmp <(cat $(seq 0 $(($(cat count) - 1)))) <(seq 100000)
        mkdir "$1/whole" && cd "$1/whole" && seq 100000 > append-file
        cat count && cmp 0 <(seq 100000)
    "#;
    assert_eq!(shell_ok(script, &[&mount.path()]), "1\n");
    mount.stop_and_verify();
}
