//! What mount-scripts/install.sh installs, and the packages of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every file below `usr`, by its path there.
const INSTALLED: &[&str] = &[
    "bin/immuta",
    "bin/immuta-fs",
    "lib/systemd/system/immuta-fs.service",
    "lib/systemd/system/immuta-fs@.service",
    "lib/systemd/user/immuta-fs.service",
    "sbin/mount.fuse.immuta-fs",
    "share/bash-completion/completions/immuta",
    "share/bash-completion/completions/immuta-fs",
    "share/doc/immuta-fs/CHANGELOG.md",
    "share/doc/immuta-fs/README.md",
    "share/doc/immuta-fs/immuta-fs.default",
    "share/fish/vendor_completions.d/immuta-fs.fish",
    "share/man/man1/immuta-fs.1",
    "share/man/man1/immuta-tail.1",
    "share/man/man1/immuta.1",
    "share/zsh/site-functions/_immuta-fs",
];

/// A script beside this project's others, with the programs that the tests have.
fn script(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = Path::new(env!("CARGO_BIN_EXE_immuta-fs")).parent().unwrap();
    let mut script = Command::new(root.join("mount-scripts").join(name));
    script.env("IMMUTA_PROGRAMS", programs);
    script
}

fn files(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            files(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned());
        }
    }
}

#[test]
fn what_is_installed_is_whole_and_the_mount_helper_is_the_daemon() {
    let destination = tempfile::tempdir().unwrap();
    let status = script("install.sh").arg(destination.path()).status();
    assert!(status.unwrap().success());
    let usr = destination.path().join("usr");
    let mut found = BTreeSet::new();
    files(&usr, &usr, &mut found);
    for file in INSTALLED {
        assert!(found.contains(*file), "{file} is not in {found:?}");
        assert!(fs::metadata(usr.join(file)).unwrap().len() > 0, "{file}");
    }
    // Called by the helper's name without arguments it complains as a helper of mount(8) does.
    let helper = Command::new(usr.join("sbin/mount.fuse.immuta-fs"))
        .output()
        .unwrap();
    assert_eq!(helper.status.code(), Some(1), "{helper:?}");
}

#[test]
fn a_package_holds_what_is_installed() {
    let directory = tempfile::tempdir().unwrap();
    let output = script("package.sh").arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut packages = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let list = match path.extension().and_then(|e| e.to_str()) {
            Some("deb") => Command::new("dpkg-deb").arg("-c").arg(&path).output(),
            _ => Command::new("tar").arg("-tf").arg(&path).output(),
        };
        let list = String::from_utf8(list.unwrap().stdout).unwrap();
        for file in INSTALLED {
            assert!(list.contains(&format!("usr/{file}")), "{file}: {list}");
        }
        packages += 1;
    }
    let has_dpkg = Command::new("dpkg-deb").arg("--version").output().is_ok();
    assert_eq!(packages, 1 + i32::from(has_dpkg));
}
