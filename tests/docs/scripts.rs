//! What the scripts in mount-scripts say when they cannot do what they are asked to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use immuta_fs::host::{IS_CLOSED, IS_MISSING};
use support::{Mount, outcome};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Sources what the scripts share, as one of them does, and runs a script of `sh`. Rust is of this version.
fn with_rust(version: &str, script: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    for program in ["rustc", "cargo"] {
        let path = directory.path().join(program);
        let text = format!("#!/bin/sh\necho '{program} {version} (4b91a6ea7 2022-08-08)'\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut sh = Command::new("sh");
    sh.args(["-euc", &format!(". mount-scripts/lib.sh\n{script}")])
        .arg(format!("{REPOSITORY}/mount-scripts/mount.sh"))
        .current_dir(REPOSITORY)
        .env("PATH", path)
        .env_remove("RUSTC");
    let (status, stdout, stderr) = outcome(sh.output().unwrap());
    let here = directory.path().to_str().unwrap();
    (status, stdout, stderr.replace(here, "/usr/bin"))
}

#[test]
fn regression_a_rust_that_is_too_old_is_told_with_the_way_out() {
    for version in ["1.63.0", "1.90.0", "0.12.0"] {
        let (status, stdout, stderr) = with_rust(version, "build_daemon");
        let expected = format!(
            "mount.sh: cannot build: Rust 1.91 or newer is needed, this is {version}, '/usr/bin/rustc' (install one beside it: \
             https://rustup.rs, then run this in a new shell)\n"
        );
        assert_eq!((status, stdout, stderr), (1, String::new(), expected));
    }
    let (_, _, stderr) = with_rust("1.63.0", "rustup() { :; }; find_cargo");
    assert_eq!(
        stderr,
        "mount.sh: cannot build: Rust 1.91 or newer is needed, this is 1.63.0 (rustup update stable && rustup default \
         stable)\n"
    );
    for version in ["1.91.0", "1.91.0-nightly", "1.100.2", "2.0.0"] {
        let expected = (0, String::new(), String::new());
        assert_eq!(with_rust(version, "find_cargo"), expected, "{version}");
    }
}

#[test]
fn the_version_of_rust_is_told_before_anything_is_typed() {
    let needs = concat!("(", env!("CARGO_PKG_RUST_VERSION"), " or newer)");
    for text in [
        include_str!("../../README.md"),
        include_str!("../../mount-scripts/mount.sh"),
    ] {
        assert!(text.contains(needs), "{needs}");
    }
}

/// `mount.sh` on a mount that is there.
fn mount_again(mount: &Mount, options: &[&str]) -> (i32, String, String) {
    let mut script = Command::new(Path::new(REPOSITORY).join("mount-scripts/mount.sh"));
    script.arg(mount.path()).arg("--").args(options);
    script.env("IMMUTA_FS", env!("CARGO_BIN_EXE_immuta-fs"));
    outcome(script.output().unwrap())
}

#[test]
fn regression_options_that_a_live_mount_does_not_have_are_told() {
    let mount = Mount::with(&["--sync", "always", "--max-record", "1MiB"]);
    let path = mount.path();
    let path = path.display();
    let there = format!(
        "immuta-fs: already mounted on '{path}' by process {}\n",
        mount.pid()
    );
    for options in [&[][..], &["--sync", "always"], &["--max-record", "1MiB"]] {
        let (status, stdout, stderr) = mount_again(&mount, options);
        assert!(stdout.starts_with(&there), "{stdout}");
        assert_eq!((status, stderr), (0, String::new()));
    }
    for options in [
        &["--sync", "1s"][..],
        &["--allow-other"],
        &["always", "--sync"],
    ] {
        let expected = format!(
            "mount.sh: the options '{}' would be dropped: '{path}' is mounted already, and its daemon was not started with \
             them (unmount it first: {REPOSITORY}/mount-scripts/unmount.sh {path})\n",
            options.join(" ")
        );
        let said = mount_again(&mount, options);
        assert_eq!(said, (1, String::new(), expected));
    }
}

#[test]
fn all_programs_have_one_advice_for_who_cannot_open_the_device() {
    let script = include_str!("../../mount-scripts/mount.sh");
    for advice in [IS_MISSING, IS_CLOSED] {
        assert!(script.contains(&format!("({advice})")), "{advice}");
    }
}
