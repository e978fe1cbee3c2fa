//! What mount-scripts/install.sh installs, and the packages of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::machine::{Who, run};
use support::outcome;

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
    let output = script("install.sh").arg(destination.path()).output();
    assert!(output.unwrap().status.success());
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
fn what_was_installed_can_be_removed_and_nothing_else_is() {
    let destination = tempfile::tempdir().unwrap();
    let uninstall = || {
        let mut script = script("install.sh");
        script.arg("--uninstall").arg(destination.path());
        outcome(script.output().unwrap())
    };
    let usr = destination.path().join("usr");
    let nothing = format!(
        "install.sh: cannot uninstall: install.sh has installed nothing below '{}' (a Debian package: apt remove immuta-fs)\n",
        usr.display()
    );
    assert_eq!(uninstall(), (1, String::new(), nothing.clone()));
    let output = script("install.sh").arg(destination.path()).output();
    assert!(output.unwrap().status.success());
    let foreign = "share/doc/immuta-fs/notes";
    fs::write(usr.join(foreign), "of somebody else").unwrap();
    let (status, said, errors) = uninstall();
    assert_eq!((status, errors.as_str()), (0, ""));
    for file in INSTALLED {
        let line = format!("{}/{file}", usr.display());
        assert!(said.lines().any(|l| l == line), "{file}: {said}");
    }
    let mut left = BTreeSet::new();
    files(&usr, &usr, &mut left);
    assert_eq!(left, BTreeSet::from([foreign.to_owned()]));
    assert_eq!(uninstall(), (1, String::new(), nothing));
}

/// What ends with the programs, and what does not: `INSTALL` and `REMOVE` are commands.
const REMOVED: &str = r#"
    export IMMUTA_PROGRAMS=target/release
    mkdir /mnt/log /mnt/other
    INSTALL
    /usr/bin/immuta-fs --daemon /var/lib/immuta /mnt/log
    echo kept >> /mnt/log/default/log
    cat /mnt/log/default/follow > /tmp/followed &
    until [ "$(cat /tmp/followed)" = kept ]; do :; done
    # Another program of that name goes on.
    target/release/immuta-fs --daemon /tmp/other-logs /mnt/other
    # So does the daemon when the programs are replaced.
    INSTALL
    echo kept, too >> /mnt/log/default/log
    REMOVE
    wait
    if mountpoint -q /mnt/log || [ -e /usr/bin/immuta-fs ]; then exit 1; fi
    printf 'kept\nkept, too\n' | cmp - /tmp/followed
    target/release/immuta cat /var/lib/immuta default | cmp - /tmp/followed
    echo here >> /mnt/other/default/log
    cat /mnt/other/default/log
"#;

#[track_caller]
fn daemons_end_with_the_programs(install: &str, remove: &str) {
    let script = REMOVED
        .replace("INSTALL", install)
        .replace("REMOVE", remove);
    let outcome = run(Who::Root, "", &script);
    assert!(outcome.success, "{outcome:#?}");
    assert!(outcome.stdout.ends_with("\nhere\n"), "{outcome:#?}");
}

#[test]
fn uninstalling_ends_the_daemon() {
    daemons_end_with_the_programs(
        "mount-scripts/install.sh > /dev/null",
        "mount-scripts/install.sh --uninstall",
    );
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn regression_removing_the_debian_package_ends_the_daemon() {
    if !has("dpkg-deb") {
        return; // There are no Debian packages here.
    }
    daemons_end_with_the_programs(
        "[ -e /tmp/package ] || mount-scripts/package.sh /tmp/package; dpkg -i --force-depends /tmp/package/*.deb",
        "dpkg -r immuta-fs",
    );
}

#[test]
fn regression_the_debian_package_is_without_errors() {
    if !has("dpkg-deb") || !has("apt-get") {
        return; // There are no Debian packages here.
    }
    assert!(has("lintian"), "mount-scripts/test.sh installs lintian");
    let directory = tempfile::tempdir().unwrap();
    let output = script("package.sh").arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let package = output.lines().find(|line| line.ends_with(".deb")).unwrap();
    let lintian = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning", package])
        .output()
        .unwrap();
    let said = outcome(lintian);
    assert_eq!(said, (0, String::new(), String::new()));
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
    assert_eq!(packages, 1 + i32::from(has("dpkg-deb")));
}
