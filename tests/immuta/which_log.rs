//! Which log a command is about, and what is said where there is none, or none that can be written.

use std::fs;

use immuta::{Format, Options, Storage};
use support::immuta_cli::{Dir, prints, refuses, said};

#[test]
fn a_log_whose_format_cannot_be_told_names_the_option_that_decides() {
    let dir = Dir::new();
    let d = dir.str();
    let both = [1u64, 16, 8, 0].map(u64::to_le_bytes).concat();
    fs::write(dir.file("both.log"), &both).expect("written");
    let why = "immuta: cannot tell the format of 'both': it could be count8 with 1 record or count16 with 1 record, and \
               its bytes do not tell which (no byte was changed; 'immuta cat LOGS_DIR both --assume-format count8' shows it as count8; \
               name the right format with --assume-format)\n";
    for command in ["stat", "cat", "verify", "append", "repair"] {
        let (status, _, err) = said(&[command, d, "both"]);
        assert_eq!((status, &*err), (Some(1), why), "{command}");
    }
    // The way out that the message names.
    assert_eq!(
        prints(&["cat", d, "both", "--assume-format", "count8"]),
        "\u{8}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n"
    );
    assert_eq!(
        prints(&["stat", d, "both", "--assume-format", "count16"]),
        "both: 1 records, 8 bytes of payload, 32 on disk, format count16, 1 indexed later\n"
    );
    assert!(!dir.file("both.idx").exists());
}

#[test]
fn regression_a_directory_without_logs_is_said_to_be_one() {
    let dir = Dir::new();
    let d = dir.str();
    let none = format!("immuta: no logs in '{d}' (give the directory that holds them)\n");
    for command in ["stat", "verify"] {
        assert_eq!(refuses(&[command, d]), none);
    }
    for command in ["stat", "verify", "cat", "tail", "export", "repair"] {
        assert_eq!(
            refuses(&[command, d, "orders"]),
            format!(
                "immuta: no namespace 'orders' in '{d}' (it holds no logs: give the directory that does)\n"
            )
        );
        assert_eq!(
            refuses(&[command, "/no/such", "orders"]),
            "immuta: no directory '/no/such' (give the directory that holds the logs)\n"
        );
        assert_eq!(
            refuses(&[command, "/proc/self/status", "orders"]),
            "immuta: '/proc/self/status' is not a directory (give the one that holds the logs)\n"
        );
    }
    assert_eq!(
        fs::read_dir(dir.path()).expect("listed").count(),
        0,
        "something was made"
    );
    // A directory of logs that has none yet is in order.
    Storage::open(Options::new(dir.path()))
        .and_then(|storage| storage.close())
        .expect("closed");
    let (status, out, err) = said(&["verify", d]);
    assert_eq!((status, &*out), (Some(0), ""));
    assert_eq!(err, format!("immuta: no logs in '{d}'\n"));
}

#[test]
fn a_log_that_is_not_there_is_answered_with_those_that_are() {
    let dir = Dir::new();
    let d = dir.str();
    for name in ["orders", "other"] {
        dir.log(name, Format::Count8, &["one"]);
    }
    let why = format!("immuta: no namespace 'nope' in '{d}' (there are: orders, other)\n");
    for command in ["stat", "verify", "cat", "tail", "export", "repair"] {
        assert_eq!(refuses(&[command, d, "nope"]), why, "{command}");
    }
    assert_eq!(
        refuses(&["import", d, d, "nope", "--assume-format", "bare"])
            .lines()
            .count(),
        1
    );
    let elsewhere = dir.file("elsewhere");
    assert_eq!(
        refuses(&["import", d, elsewhere.to_str().expect("text"), "nope"]),
        why
    );
    for n in 0..12 {
        fs::copy(dir.file("other.log"), dir.file(&format!("z{n:02}.log"))).expect("copied");
    }
    assert_eq!(
        refuses(&["cat", d, "nope"]),
        format!(
            "immuta: no namespace 'nope' in '{d}' (there are: orders, other, z00, z01, z02, z03, z04, z05, z06, z07, and 4 more)\n"
        )
    );
    assert_eq!(
        refuses(&["cat", d, "a/b"]),
        "immuta: namespace 'a/b' is not a name: use 1 to 200 of A-Z a-z 0-9 . _ -, not starting with a dot\n"
    );
}

#[test]
fn what_cannot_be_written_to_is_said_with_the_way_out() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one"]);
    let log = dir.file("orders.log");
    let log = log.to_str().expect("text");
    for (arguments, why) in [
        (&["append", log, "orders", "x"][..], format!("'{log}' is not a directory (give one for the logs)")),
        (&["append", "/proc/no", "orders", "x"], "cannot create the directory '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["import", log, "/proc/no"], "cannot create the directory '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["import", "/no/such.log", d], "cannot import '/no/such.log': it is not there (name a file, or a directory of logs)".into()),
        (&["import", "/no/such", d, "--input", "lines"], "cannot read '/no/such': No such file or directory (name a file that you may read, or - for standard input)".into()),
        (&["import", d, "/tmp/x"], format!("'{d}' is a directory (name the log in it behind DIR)")),
        (&["man", "/proc/no"], "cannot write to '/proc/no': No such file or directory (give a directory that you may write to)".into()),
        (&["cat", d, "orders", "--from", "2"], "'orders' has no record 2: it has 1, and the first one is 0".into()),
        (&["export", d, "orders", "--from", "1"], "'orders' has no record 1: it has 1, and the first one is 0".into()),
    ] {
        assert_eq!(refuses(arguments), format!("immuta: {why}\n"), "{arguments:?}");
    }
    assert_eq!(prints(&["cat", d, "orders", "--from", "1"]), "");
    let held = Storage::open(Options::new(dir.path())).expect("opened");
    let why = refuses(&["append", d, "orders", "x"]);
    assert!(
        why.starts_with(&format!("immuta: '{d}' is in use by pid "))
            && why.ends_with(": a directory has one writer (end that program, and try again)\n"),
        "{why}"
    );
    drop(held);
}
