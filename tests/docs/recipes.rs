//! The recipes of docs/recipes.md, each run alone. tests/docs/documents.rs types them one after another.
//!
//! A section's `sh` blocks are one bash script, on a mount of its own: `/mnt/log` is the mount point,
//! `/var/lib/immuta` the logs directory, the working directory is empty, `immuta` and `immuta-fs` are on the path,
//! and `ssh HOST COMMAND` runs the command here. A `text` block is what the `sh` blocks since the last one print.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use support::{Mount, documents, installed_directory, wait_for};

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The fenced blocks of a section: language, and lines.
fn blocks(heading: &str) -> Vec<(String, String)> {
    let here = documents::blocks(RECIPES).into_iter();
    let blocks: Vec<_> = here
        .filter(|block| block.heading == heading)
        .map(|block| (block.language, block.text))
        .collect();
    assert!(!blocks.is_empty(), "docs/recipes.md has no '## {heading}'");
    blocks
}

/// Printed between what is compared with one `text` block and what with the next.
const MARK: &str = "--- recipe ---";

/// The script of a section, with marks, and what is to be printed before each of them.
fn script(heading: &str) -> (String, Vec<String>) {
    let (mut script, mut expected) = (String::new(), Vec::new());
    for (language, text) in blocks(heading) {
        match language.as_str() {
            "sh" => script.push_str(&text),
            "text" => {
                script.push_str(&format!("echo '{MARK}'\n"));
                expected.push(text);
            }
            _ => {} // A configuration file of another program.
        }
    }
    (script, expected)
}

/// Programs for a recipe: the two of this project, and an `ssh` that goes nowhere.
fn programs(directory: &Path) {
    for program in [
        env!("CARGO_BIN_EXE_immuta"),
        env!("CARGO_BIN_EXE_immuta-fs"),
    ] {
        let name = Path::new(program).file_name().unwrap();
        std::os::unix::fs::symlink(program, directory.join(name)).unwrap();
    }
    let ssh = directory.join("ssh");
    fs::write(&ssh, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&ssh, mode).unwrap();
}

/// Runs a section, and checks the logs that it leaves.
#[track_caller]
fn run(heading: &str) {
    let mut mount = Mount::new();
    let work = tempfile::tempdir().unwrap();
    let bin = tempfile::tempdir().unwrap();
    programs(bin.path());
    let (script, expected) = script(heading);
    let script = script
        .replace("/mnt/log", mount.path().to_str().unwrap())
        .replace("/var/lib/immuta", mount.logs().to_str().unwrap());
    let tools = installed_directory("");
    let path = format!(
        "{}:{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap(),
        tools.join("python/bin").display(),
    );
    let out = work.path().join(".out");
    let mut bash = Command::new("setsid")
        .args(["bash", "-e", "-c", &format!("set -m\n{script}")])
        .current_dir(work.path())
        .env("PATH", path)
        .env("NODE_PATH", tools.join("node/node_modules"))
        .stdout(fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let status = wait_for(&mut bash, support::DEADLINE);
    // What a recipe that failed leaves running is in its session.
    let _ = Command::new("pkill")
        .args(["-s", &bash.id().to_string()])
        .status();
    let printed = fs::read_to_string(&out).unwrap();
    assert!(
        status.is_some_and(|s| s.success()),
        "{heading}: {status:?}\n{script}\nprinted:\n{printed}"
    );
    let mark = format!("{MARK}\n");
    let printed: Vec<&str> = printed.split(&mark).take(expected.len()).collect();
    assert_eq!(printed, expected, "{heading}");
    mount.stop_and_verify();
}

#[test]
fn log_a_service() {
    run("Log a service");
}

#[test]
fn programs_that_rotate_their_log_file() {
    run("Programs that rotate their log file");
}

#[test]
fn follow_from_node_js() {
    run("Follow from Node.js");
}

#[test]
fn look_at_a_log_with_lnav() {
    run("Look at a log with lnav");
}

/// What log4j2's `RandomAccessFile`, its `File` with `append="false"`, `java.util.logging` and `sponge -a` do, in
/// the order of the recipe.
#[test]
fn programs_that_cannot_write_to_log_are_told_so() {
    let mount = Mount::new();
    let open = |options: &mut fs::OpenOptions, name: &str| {
        let opened = options.open(mount.file(name));
        support::refused(opened, Errno::EPERM);
    };
    let mut anywhere = fs::File::options();
    open(anywhere.read(true).write(true).create(true), "log");
    let mut anew = fs::File::options();
    open(anew.write(true).create(true).truncate(true), "log");
    let mut lock = fs::File::options();
    open(lock.write(true).create_new(true), "log.lck");
    let mut replaced = fs::File::options();
    open(replaced.write(true).truncate(true), "log");
}

#[test]
fn collect_from_several_programs() {
    run("Collect from several programs");
}

#[test]
fn a_work_queue() {
    run("A work queue");
}

#[test]
fn replay() {
    run("Replay");
}

#[test]
fn ship_to_another_host() {
    run("Ship to another host");
}

#[test]
fn a_copy_that_was_shipped_has_the_times_of_its_arrival() {
    assert!(RECIPES.contains("The records of this copy have the times of their arrival."));
    let mut mount = Mount::new();
    mount.append("one");
    let copy = mount.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let frames = fs::read(mount.file("frames")).unwrap();
    support::append(&copy.join("append-frames"), frames).unwrap();
    let time = |path| fs::metadata(path).unwrap().modified().unwrap();
    assert!(time(copy.join("0")) > time(mount.file("0")));
    mount.stop_and_verify();
}

#[test]
fn a_go_programs_logs_live() {
    run("A Go program's logs, live");
}

#[test]
fn back_up() {
    run("Back up");
}

/// What Filebeat, Fluent Bit, Vector and Promtail have in common: they know a file by device and inode, read it from
/// an offset that they have written down, and go on there when they or the mount were restarted.
#[test]
fn a_shipper_that_remembers_inode_and_offset_goes_on_where_it_was() {
    for (_, text) in blocks("Filebeat, Fluent Bit, Vector, Promtail") {
        assert!(text.contains("/mnt/log/*/log"), "{text}");
    }
    let mut mount = Mount::new();
    mount.append("one\n");
    let log = mount.file("log");
    let read_from = |offset: u64| {
        let mut file = fs::File::open(&log).unwrap();
        let mut text = String::new();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_to_string(&mut text).unwrap();
        let meta = file.metadata().unwrap();
        (text, meta.ino(), meta.len())
    };
    let (text, inode, offset) = read_from(0);
    assert_eq!(text, "one\n");
    mount.append("two\n");
    mount.restart();
    mount.append("three\n");
    assert_eq!(
        read_from(offset),
        ("two\nthree\n".to_owned(), inode, offset + 10)
    );
    mount.stop_and_verify();
}

/// A recipe without a test is a claim.
#[test]
fn every_recipe_is_run() {
    let tests = include_str!("recipes.rs");
    for heading in RECIPES.lines().filter_map(|line| line.strip_prefix("## ")) {
        let run = [
            format!("run(\"{heading}\")"),
            format!("blocks(\"{heading}\")"),
        ];
        assert!(run.iter().any(|run| tests.contains(run)), "{heading}");
    }
}
