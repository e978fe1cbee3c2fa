//! Programs that walk a whole mount.

use std::process::{Command, Stdio};

use support::{Mount, wait_for};

/// Runs a program over the mount (`$1`), with a directory of its own to write to; `None` when it does not end.
fn walk(mount: &Mount, command: &str) -> Option<i32> {
    let out = tempfile::tempdir().unwrap();
    let mut program = Command::new("bash")
        .args(["-c", &format!("exec {command}"), "bash"])
        .arg(mount.path())
        .current_dir(out.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = wait_for(&mut program, support::DEADLINE);
    if status.is_none() {
        program.kill().unwrap();
        program.wait().unwrap();
    }
    status?.code()
}

// > `find`, `ls -R`, `du -a`, `grep -r`, `tar` and `rsync -a` of a mount end: they look at names and sizes, read as far as the size goes, or do not block.
#[test]
fn programs_that_walk_the_whole_tree_end() {
    let mount = Mount::new();
    std::fs::create_dir(mount.path().join("empty")).unwrap();
    for n in 0..200 {
        mount.append(format!("record {n}\n"));
    }
    for command in [
        r#"find "$1" -newermt 2020-01-01 -size +0"#,
        r#"ls -lR "$1""#,
        r#"du -a "$1""#,
        r#"grep -r 'record 77' "$1""#,
        r#"tar -cf all.tar -C "$1" ."#,
        r#"rsync -a "$1/" ."#,
    ] {
        assert!(walk(&mount, command).is_some(), "{command} has not ended");
    }
    assert_eq!(
        walk(&mount, r#"grep 'record 77' "$1/default/log""#),
        Some(0)
    );
}
