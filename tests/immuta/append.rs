//! `immuta append`: the format of the log that it makes.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use support::eventually;
use support::immuta_cli::{Dir, immuta, misused, prints, said};

#[test]
fn append_creates_in_the_format_it_is_told_and_keeps_the_one_that_is_there() {
    let dir = Dir::new();
    let d = dir.str();
    assert_eq!(prints(&["append", d, "a", "--format", "count16", "x"]), "");
    assert_eq!(prints(&["append", d, "a", "--format", "bare", "y"]), "");
    assert_eq!(prints(&["cat", d, "a"]), "x\ny\n");
    let stat = prints(&["stat", d, "a"]);
    assert!(
        stat.starts_with("a: 2 records, 2 bytes of payload, 34 on disk, format count16, from 20"),
        "{stat}"
    );
    let (status, _, err) = said(&["append", d, "b", "--format", "json", "x"]);
    assert_eq!(status, Some(2));
    assert_eq!(
        err,
        "immuta: invalid value 'json' for '--format <FORMAT>': none of bare, count8, count16 (immuta append --help tells how)\n"
    );
}

#[test]
fn standard_input_is_many_records_when_it_is_said_of_which_form() {
    let dir = Dir::new();
    let d = dir.str();
    let feed = |arguments: &[&str], input: &[u8]| {
        let mut child = immuta(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    feed(&["append", d, "a", "--input", "lines"], b"one\ntwo\n");
    feed(
        &["append", d, "a", "--input", "jsonl"],
        b"{\"text\":\"three\",\"time\":null}\n",
    );
    let frames = [2u64.to_le_bytes().as_slice(), b"4\n", &0u64.to_le_bytes()].concat();
    feed(&["append", d, "a", "--input", "frames"], &frames);
    feed(&["append", d, "a"], b"all\nof\nit\n");
    assert_eq!(
        prints(&["cat", d, "a"]),
        "one\ntwo\nthree\n4\n\nall\nof\nit\n"
    );
    assert_eq!(
        feed(&["import", "-", d, "b", "--input", "frames"], &frames),
        "b: 2 records in count8\n"
    );
    assert_eq!(
        misused(&["import", "-", d, "b"]),
        "immuta: standard input does not tell what it is: say --input frames, jsonl or lines (immuta import --help tells how)\n"
    );
    assert_eq!(
        misused(&["import", "-", d, "--input", "lines"]),
        "immuta: standard input has no name: give NAMESPACE (immuta import --help tells how)\n"
    );
    assert_eq!(
        misused(&["append", d, "a", "text", "--input", "lines"]),
        "immuta: the argument '[TEXT]...' cannot be used with '--input <FORM>' (immuta append --help tells how)\n"
    );
    // What comes through a pipe is there before the pipe is at its end.
    let mut child = immuta(&["append", d, "live", "--input", "lines"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for (line, records) in [("one\ntwo\nthr", 2), ("ee\n", 3)] {
        pipe.write_all(line.as_bytes()).unwrap();
        eventually("it is appended", || {
            let (_, stat, _) = said(&["stat", d, "live"]);
            stat.starts_with(&format!("live: {records} records"))
        });
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());

    // A frame that is cut off in the middle of a pipe: its size tells nothing that is to be believed.
    let mut child = immuta(&["append", d, "a", "--input", "frames"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let torn = [(1u64 << 40).to_le_bytes().as_slice(), b"begins"].concat();
    child.stdin.take().unwrap().write_all(&torn).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "immuta: frame 1 of standard input, at byte 0: it is cut off (those before it are appended)\n"
    );
    assert!(File::open(dir.file("a.log")).is_ok());
    assert_eq!(prints(&["verify", d, "a"]).lines().count(), 1);
}
