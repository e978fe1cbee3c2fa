//! Programs that end, on a mount: what they do with `log`, with a record, and with the beginning of `follow`.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use support::{Mount, Reader, wait};

/// Records of the log that the programs are tried on.
const MANY: usize = 10_000;

fn record(n: usize) -> String {
    format!("record {n}")
}

#[test]
fn head_of_follow_ends_by_itself_once_it_has_its_lines() {
    let mount = Mount::new();
    let mut head = Reader::start("head", &[&"-n", &"5", &mount.file("follow")]);
    (0..5).for_each(|n| mount.append(record(n)));
    (0..5).for_each(|n| head.expect("head", &record(n)));
    assert!(head.end("head").success());
}

/// Programs on `log`, which ends, and on a record: what each is to print, given the log's bytes.
type Expected = fn(&str) -> String;
const PROGRAMS_ON_LOG: &[(&str, Expected)] = &[
    ("cat log", str::to_owned),
    ("busybox cat log", str::to_owned),
    ("lnav -n log", str::to_owned),
    ("wc -c < log", |log| format!("{}\n", log.len())),
    ("wc -l < log", |_| format!("{MANY}\n")),
    ("grep -c record log", |_| format!("{MANY}\n")),
    ("head -n 1 log", |_| record(0) + "\n"),
    ("tail -n 1 log", |_| record(MANY - 1) + "\n"),
    ("tail -c 5 log", |log| log[log.len() - 5..].to_owned()),
    (
        "dd if=log bs=1000 skip=1 count=1 iflag=fullblock status=none",
        |log| log[1000..2000].to_owned(),
    ),
    ("tac log | tac", str::to_owned),
    ("sort -k 2n log", str::to_owned),
    ("sort -r log | wc -c", |log| format!("{}\n", log.len())),
    (
        "cp log \"$1/copy\" && cmp log \"$1/copy\" && stat -c %s \"$1/copy\"",
        |log| format!("{}\n", log.len()),
    ),
    (
        "python3 -c 'print(open(\"log\").read(), end=\"\")'",
        str::to_owned,
    ),
    (
        "python3 -c 'import shutil, sys; shutil.copyfile(\"log\", sys.argv[1] + \"/copy\")' \"$1\" && cat \"$1/copy\"",
        str::to_owned,
    ),
    ("python3 -c 'print(len(open(\"log\").readlines()))'", |_| {
        format!("{MANY}\n")
    }),
    ("python3 -c 'print(open(\"4711\", \"rb\").read())'", |_| {
        format!("b'{}\\n'\n", record(4711))
    }),
    ("cat 0 9999", |_| record(0) + "\n" + &record(MANY - 1)),
    ("cp 17 \"$1/copy\" && cat \"$1/copy\"", |_| {
        record(17) + "\n"
    }),
];

// > `log` of lines written with `append-lines` is byte for byte what was written; a last line without a newline is shown with one.
// > A numbered file holds exactly the bytes of its record.
#[test]
fn programs_on_log_and_on_records_see_what_an_ordinary_file_would_show() {
    let mount = Mount::new();
    let log: String = (0..MANY).map(|n| record(n) + "\n").collect();
    let mut append_lines = File::create(mount.file("append-lines")).unwrap();
    append_lines.write_all(log.trim_end().as_bytes()).unwrap();
    drop(append_lines);
    let scratch = tempfile::tempdir().unwrap();
    for (script, expected) in PROGRAMS_ON_LOG {
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {script}"), "bash"])
            .arg(scratch.path())
            .current_dir(mount.path().join("default"))
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success() && err.is_empty(), "{script}: {err}");
        assert!(
            *out == expected(&log),
            "{script} printed {} bytes",
            out.len()
        );
    }
}

/// What a pager does: it asks for the end, goes back from there, and at the end asks again.
#[test]
fn a_pager_that_seeks_from_the_end_sees_the_log_grow() {
    let mount = Mount::new();
    mount.append("first\n");
    for file in ["follow", "log"] {
        let mut pager = Reader::python(
            r#"
import os, sys
log = os.open(sys.argv[1], os.O_RDONLY)
size = os.lseek(log, 0, os.SEEK_END)
os.lseek(log, max(0, size - 65536), os.SEEK_SET)
os.write(1, os.read(log, 65536))
assert os.read(log, 65536) == b""
os.write(1, b"at the end\n")
while not (data := os.read(log, 65536)):
    assert os.lseek(log, 0, os.SEEK_CUR) == size
os.write(1, data)
"#,
            &[&mount.file(file)],
        );
        let log = fs::read_to_string(mount.file("log")).unwrap();
        log.lines().for_each(|line| pager.expect(file, line));
        pager.expect(file, "at the end");
        mount.append(format!("for the pager on {file}\n"));
        pager.expect(file, &format!("for the pager on {file}"));
        assert!(wait(&mut pager.child).success());
    }
}
