//! `immuta` without a directory: the one that immuta-fs takes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use immuta::{Options, Storage};
use nix::unistd::geteuid;
use support::outcome;
use support::users::{NOBODY, command_of_user};

#[test]
fn the_directory_of_immuta_fs_is_taken_where_none_is_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    fs::create_dir_all(home.join("immuta")).expect("made");
    let logs = home.join("immuta");
    let shown = logs.display();
    let storage = Storage::open(Options::new(&logs).namespaces(["orders"])).expect("opened");
    storage.append_batch("orders", &["one"]).expect("appended");
    storage.close().expect("closed");
    let of_user = command_of_user(env!("CARGO_BIN_EXE_immuta"), dir.path());
    let copy = |arguments: &[&str]| {
        let mut command = Command::new(of_user.get_program());
        command
            .args(arguments)
            .env("XDG_DATA_HOME", &home)
            .env_remove("RUST_LOG")
            .current_dir(dir.path())
            .stdin(Stdio::null());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        outcome(command.output().expect("it runs"))
    };
    for command in ["cat", "tail", "export"] {
        assert_eq!(
            copy(&[command, "orders"]),
            (0, "one\n".into(), String::new())
        );
    }
    for command in ["stat", "verify"] {
        for arguments in [&[command][..], &[command, "orders"]] {
            let (status, out, err) = copy(arguments);
            assert_eq!((status, &*err), (0, ""));
            assert!(
                out.starts_with("orders: 1 records, 3 bytes of payload, 19 on disk, "),
                "{out}"
            );
        }
    }
    assert_eq!(
        copy(&["repair", "orders"]).1,
        "orders: 1 records, 19 bytes on disk, in order: nothing to repair\n"
    );
    assert_eq!(
        copy(&["tail", "nope"]).2,
        format!("immuta: no namespace 'nope' in '{shown}' (there are: orders)\n")
    );
    // A word that is a directory, here or elsewhere, is no name of a log.
    assert_eq!(
        copy(&["tail", "home/immuta"]),
        (
            2,
            String::new(),
            "immuta: name the log in 'home/immuta' (there are: orders)\n".into()
        )
    );
    assert_eq!(copy(&["tail", "home"]).0, 2);
    assert_eq!(
        copy(&["tail"]),
        (
            2,
            String::new(),
            "immuta: no log is named (give NAMESPACE, or DIR NAMESPACE)\n".into()
        )
    );
}
