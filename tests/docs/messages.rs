//! What a caller can do to the log of the program, and to what it says at its end.

#[path = "../../src/bin/immuta-fs/messages.rs"]
mod bounded;

use std::cell::Cell;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bounded::Bounded;
use immuta_fs::cli::one_line;
use log::{Level, Log, Metadata, Record};
use support::Mount;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Log for &Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn now() -> Instant {
    NOW.get().unwrap()
}

fn later(by: Duration) {
    NOW.set(Some(now() + by));
}

fn said(log: &dyn Log, level: Level, line: u32, text: &str) {
    log.log(
        &Record::builder()
            .level(level)
            .file(Some("here.rs"))
            .line(Some(line))
            .args(format_args!("{text}"))
            .build(),
    );
}

/// > In ten seconds the daemon writes at most ten warnings and errors of one kind about one namespace, and then
/// > how many more there were.
#[test]
fn messages_of_one_kind_about_one_namespace_are_written_ten_times_in_ten_seconds() {
    NOW.set(Some(Instant::now()));
    let lines = Lines::default();
    let log = Bounded::new(&lines, now);
    for n in 0..1000 {
        said(
            &log,
            Level::Error,
            1,
            &format!("record {n} of 'a' is damaged"),
        );
    }
    let written = lines.take();
    assert_eq!(written.len(), 10);
    assert_eq!(
        written[9],
        "record 9 of 'a' is damaged [more messages like this one are left out for up to 10s]"
    );
    // Another namespace, another kind, and what is no warning, are not affected.
    said(&log, Level::Error, 1, "record 0 of 'b' is damaged");
    said(&log, Level::Warn, 2, "namespace 'a' is odd");
    for _ in 0..20 {
        said(&log, Level::Info, 1, "namespace 'a' is open");
        said(&log, Level::Debug, 1, "nobody hears of 'a'");
    }
    assert_eq!(lines.take().len(), 22);
    later(Duration::from_millis(9_999));
    said(&log, Level::Error, 1, "record 0 of 'a' is damaged");
    assert!(lines.take().is_empty());
    later(Duration::from_millis(1));
    said(&log, Level::Info, 3, "anything");
    assert_eq!(
        lines.take(),
        [
            "991 more messages of one kind about 'a' were left out",
            "anything"
        ]
    );
    said(&log, Level::Error, 1, "record 0 of 'a' is damaged");
    assert_eq!(lines.take().len(), 1);
    for _ in 0..20 {
        said(&log, Level::Error, 1, "record 0 of 'a' is damaged");
    }
    lines.take();
    log.flush();
    assert_eq!(
        lines.take(),
        ["11 more messages of one kind about 'a' were left out"]
    );
}

/// > Control characters are escaped in every message: a name cannot forge a line of the log, or write to the terminal.
#[test]
fn control_characters_are_escaped_in_every_message() {
    NOW.set(Some(Instant::now()));
    let lines = Lines::default();
    let log = Bounded::new(&lines, now);
    said(&log, Level::Warn, 1, "a\nb\u{1b}[2Jc\u{202e}d\u{9b}é");
    let expected = r"a\nb\u{1b}[2Jc\u{202e}d\u{9b}é";
    assert_eq!(lines.take(), [expected]);
    assert_eq!(one_line("tab\t, plain 'é'"), r"tab\t, plain 'é'");

    // In the daemon's log, and in the last words of both programs.
    let name = "odd\n[2026] ERROR forged\u{1b}[2J";
    let mount = Mount::idle(&[]);
    let directory = mount.path().with_file_name(name);
    let missing = directory.join("missing");
    fs::create_dir(&directory).unwrap();
    fs::create_dir(directory.join("not empty")).unwrap();
    let immuta_fs = env!("CARGO_BIN_EXE_immuta-fs");
    let immuta = env!("CARGO_BIN_EXE_immuta");
    let commands: [(&str, Vec<&std::ffi::OsStr>); 2] = [
        (
            immuta_fs,
            vec![mount.logs().leak().as_os_str(), directory.as_os_str()],
        ),
        (
            immuta,
            vec!["cat".as_ref(), missing.as_os_str(), "nothing".as_ref()],
        ),
    ];
    for (program, arguments) in commands {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(r"odd\n[2026] ERROR forged\u{1b}[2J"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_reader_of_a_damaged_record_does_not_fill_the_disk_with_messages() {
    let mut mount = Mount::with(&[]);
    mount.append("good");
    mount.append("bad");
    assert!(mount.stop().success());
    let path = mount.logs().join("default.log");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    mount.start();
    for _ in 0..200 {
        fs::read(mount.file("1")).unwrap_err();
    }
    assert!(mount.stop().success());
    let said = mount.messages();
    let messages = said.lines().filter(|l| l.contains("is damaged at")).count();
    // More than ten only if this took more than ten seconds.
    assert!((1..100).contains(&messages), "{messages}: {said}");
    // The message says what was asked for, too, and how it was answered.
    assert!(said.contains("(read of 'default/1': EIO)"), "{said}");
    assert!(
        said.contains("more messages of one kind about 'default' were left out"),
        "{said}"
    );
}
