//! `immuta top`: its table, and its screen in a terminal of its own.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use support::immuta_cli::{Dir, immuta, prints, refuses};
use support::{Mount, Reader, append};

/// A place that says of itself what a mount does.
struct Place(Dir);

impl Place {
    fn new() -> Place {
        let place = Place(Dir::new());
        fs::create_dir(place.0.file(".immuta")).unwrap();
        place
    }

    /// What it says: name, records, readers that wait, and why it has failed.
    fn json(namespaces: &[(&str, u64, u64, Option<&str>)], unopened: &str) -> String {
        let namespaces: Vec<String> = namespaces
            .iter()
            .map(|(name, records, waiting, failed)| {
                let failed = failed.map_or("null".to_owned(), |why| format!("\"{why}\""));
                format!(
                    r#"{{"name":"{name}","records":{records},"bytes":{},"last_time":"2020-01-01T00:00:00Z",
                       "blocked_readers":{waiting},"sync_lag_seconds":0.25,"failed":{failed},"to_come":1}}"#,
                    records * 1000
                )
            })
            .collect();
        format!(
            r#"{{"version":"0.1.0","pid":7,"logs_dir":"/logs","options":{{"sync":"1s","read_only":false}},
               "uptime_seconds":61.5,"namespaces":[{}],"unopened":[{unopened}]}}"#,
            namespaces.join(",")
        )
    }

    /// Says it.
    fn says(&self, namespaces: &[(&str, u64, u64, Option<&str>)], unopened: &str) {
        let new = self.0.file(".immuta/new");
        fs::write(&new, Place::json(namespaces, unopened)).unwrap();
        fs::rename(new, self.0.file(".immuta/status")).unwrap();
    }

    fn path(&self) -> &str {
        self.0.str()
    }
}

#[test]
fn once_is_a_plain_table_and_so_it_is_in_a_pipe() {
    let place = Place::new();
    place.says(
        &[
            ("orders", 12, 3, None),
            ("audit", 123_456_789, 0, Some("cannot sync\\n: disk")),
        ],
        r#"{"name":"broken","why":"its header is not right"}"#,
    );
    let days = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400 - 18_262;
    let days = format!("{days}d");
    let expected = [
        "NAME    RECORDS  REC/S  BYTES/S  WAITING    LAG   LAST".to_owned(),
        format!("audit      123M      0      0 B        0  250ms  {days:>5}"),
        format!("orders       12      0      0 B        3  250ms  {days:>5}"),
        "! broken cannot be opened: its header is not right".to_owned(),
        "! audit takes no more records: cannot sync : disk".to_owned(),
    ];
    for options in [&["--once"][..], &[]] {
        let arguments = [&["top", place.path(), "--interval", "100ms"], options].concat();
        let table = prints(&arguments);
        assert_eq!(table.lines().collect::<Vec<_>>(), expected, "{table}");
    }
}

#[test]
fn a_rate_is_what_came_in_the_time_between_two_looks() {
    let place = Place::new();
    let status = place.0.file(".immuta/status");
    mkfifo(&status, Mode::S_IRWXU).unwrap();
    let began = Instant::now();
    let child = immuta(&["top", place.path(), "--once", "--interval", "200ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Each look opens a pipe of its own, and reads it to its end.
    let second = place.0.file(".immuta/second");
    mkfifo(&second, Mode::S_IRWXU).unwrap();
    let mut first = fs::File::options().write(true).open(&status).unwrap();
    fs::rename(second, &status).unwrap();
    let json = |records| Place::json(&[("a", records, 0, None)], "");
    first.write_all(json(0).as_bytes()).unwrap();
    drop(first);
    fs::write(&status, json(30_000)).unwrap();
    let output = child.wait_with_output().unwrap();
    let longest = began.elapsed().as_secs_f64();
    let table = String::from_utf8(output.stdout).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let [name, records, rate, bytes, unit, ..] = row[..] else {
        panic!("{table}");
    };
    assert_eq!((name, records), ("a", "30000"));
    let number = |text: &str| text.trim_end_matches('k').parse::<f64>().unwrap();
    let rate = number(rate) * if rate.ends_with('k') { 1e3 } else { 1.0 };
    assert!(
        (30_000.0 / longest * 0.99..=150_000.0).contains(&rate),
        "{table}"
    );
    let unit = match unit {
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => 1.0,
    };
    let bytes = number(bytes) * unit;
    assert!((bytes / 1000.0 / rate - 1.0).abs() < 0.02, "{table}");
}

#[test]
fn where_no_mount_is_it_says_so() {
    let dir = Dir::new();
    assert_eq!(
        refuses(&["top", dir.str()]),
        format!(
            "immuta: cannot read '{}/.immuta/status': No such file or directory (give the mount point of an \
             immuta-fs that runs)\n",
            dir.str()
        )
    );
}

/// Runs `immuta top` in a terminal of this size, and does what the script says: each step is what has to be on the
/// screen first, as a regular expression, and what is typed then, or a name of what is done. Prints, at the
/// end, whether the terminal is as it was before, how the program ended, what it wrote, and the last screen
/// of each step.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, re, select, signal, struct, subprocess, sys, termios, time
program, mountpoint, columns, rows, script = sys.argv[1:6]
columns, rows = int(columns), int(rows)
terminal, inside = pty.openpty()
def size():
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
size()
before = termios.tcgetattr(inside)
def own():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = subprocess.Popen([program, 'top', mountpoint, '--interval', '100ms'], stdin=inside, stdout=inside, stderr=inside, preexec_fn=own)
written = b''
deadline = time.monotonic() + 60
def more(seconds):
    global written
    if not select.select([terminal], [], [], seconds)[0]:
        return False
    written += os.read(terminal, 65536)
    return True
def screen():
    lines, x, y = {}, 0, 0
    for move, clear, other, text in re.findall('\x1b\\[(\\d+;\\d+)H|\x1b\\[(\\d*J)|(\x1b\\[[?0-9;]*[a-zA-Z])|([^\x1b])', written.decode('utf-8', 'ignore')):
        if move:
            y, x = (int(n) - 1 for n in move.split(';'))
        elif clear:
            lines = {}
        elif text:
            lines[y, x] = text
            x += 1
    return '\n'.join(''.join(lines.get((y, x), ' ') for x in range(300)).rstrip() for y in range(100)).rstrip()
screens = []
for pattern, action in json.loads(script):
    while not re.search(pattern, screen()):
        assert time.monotonic() < deadline and child.poll() is None, pattern + ' is not in\n' + screen()
        more(1)
    screens.append(screen())
    if action == 'TERMINATE':
        child.send_signal(signal.SIGTERM)
    elif action == 'SHRINK':
        columns, rows = 40, 10
        size()
    elif action == 'END':
        os.remove(mountpoint + '/.immuta/status')
    else:
        os.write(terminal, action.encode())
while child.poll() is None:
    assert time.monotonic() < deadline, screen()
    more(0.01)
while more(0):
    pass
as_before = termios.tcgetattr(inside) == before
left = written.rfind(b'\x1b[?1049l') > written.rfind(b'\x1b[?1049h')
cursor = written.rfind(b'\x1b[?25h') > written.rfind(b'\x1b[?25l')
last = written.endswith(b'\x1b[?25h')
print(json.dumps([as_before and left and cursor and last, child.returncode, written.decode('utf-8', 'replace'), screens]))
"#;

/// How it went in a terminal.
struct Ended {
    /// The terminal was left as it was.
    as_before: bool,
    /// The exit status, or the signal, negative.
    status: i32,
    written: String,
    /// What was seen at each step.
    screens: Vec<String>,
}

#[track_caller]
fn in_terminal(
    place: &Place,
    (columns, rows): (u16, u16),
    environment: &[(&str, &str)],
    script: &[(&str, &str)],
) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("python3")
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_immuta"), place.path()])
        .args([columns.to_string(), rows.to_string()])
        .arg(serde_json::to_string(script).unwrap())
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let (as_before, status, written, screens) = serde_json::from_slice(&stdout).unwrap();
    Ended {
        as_before,
        status,
        written,
        screens,
    }
}

#[test]
fn the_terminal_is_as_before_however_it_ends() {
    let place = Place::new();
    place.says(&[("orders", 12, 3, None)], "");
    for (end, status) in [("q", 0), ("\u{3}", 0), ("\u{1b}", 0), ("TERMINATE", -15)] {
        let ended = in_terminal(&place, (80, 24), &[], &[("orders", end)]);
        let written = &ended.written;
        assert_eq!(
            (ended.as_before, ended.status),
            (true, status),
            "{end:?}: {written:?}"
        );
    }
}

#[test]
fn it_sorts_scrolls_follows_the_size_of_the_terminal_and_waits_for_a_daemon_that_ended() {
    let place = Place::new();
    let names: Vec<String> = (0..200).map(|n| format!("ns-{n:03}")).collect();
    let namespaces: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), n as u64, 0, None))
        .collect();
    place.says(&namespaces, "");
    // Twenty rows are seen: the title, the sums, the header and the keys take four.
    let script = [
        ("ns-000.*\n(.*\n){18}ns-019 .*\n1-20 of 200", "G"),
        ("ns-180 .*\n(.*\n){18}ns-199 .*\n181-200 of 200", "g"),
        ("ns-000 .*\n(.*\n)*1-20 of 200", "c"),
        ("ns-199 .*\n(.*\n){18}ns-180 ", "i"),
        ("ns-000 .*\n(.*\n){18}ns-019 ", " "),
        ("ns-020 .*\n(.*\n){18}ns-039 .*\n21-40 of 200", "SHRINK"),
        ("ns-020 .*\n(.*\n){4}ns-025 .*\n21-26 of 200", "END"),
        ("not mounted any more", "q"),
    ];
    let ended = in_terminal(&place, (80, 24), &[], &script);
    assert_eq!((ended.as_before, ended.status), (true, 0));
    let narrow = &ended.screens[6];
    let widths = narrow.lines().map(|line| line.chars().count());
    assert!(widths.max().unwrap() <= 40, "{narrow}");
    assert!(
        narrow.contains("NAME") && narrow.contains("RECORDS"),
        "{narrow}"
    );
}

#[test]
fn columns_stand_under_each_other_and_long_names_are_cut_where_there_is_no_room() {
    let place = Place::new();
    let long = "a-name-that-is-longer-than-there-is-room-for-in-a-narrow-terminal";
    let namespaces = [
        (long, 123_456_789_012, 1, None),
        ("b", 7, 12_345, None),
        ("worn", 1, 0, Some("no disk")),
    ];
    place.says(&namespaces, r#"{"name":"broken","why":"torn"}"#);
    for (columns, rows) in [(40, 10), (80, 24), (120, 40), (200, 50)] {
        let script = [("\nworn ", "q")];
        let seen = in_terminal(&place, (columns, rows), &[], &script)
            .screens
            .remove(0);
        let lines: Vec<Vec<char>> = seen.lines().map(|line| line.chars().collect()).collect();
        assert!(lines.len() == usize::from(rows), "{seen}");
        assert!(
            lines.iter().all(|line| line.len() <= usize::from(columns)),
            "{seen}"
        );
        let text = |line: &[char]| line.iter().collect::<String>();
        let header = lines
            .iter()
            .position(|line| text(line).starts_with("NAME "))
            .unwrap();
        let ends = text(&lines[header]).find("RECORDS").unwrap() + "RECORDS".len();
        for (row, records) in [(1, "123G"), (2, "7"), (3, "1")] {
            let row = &lines[header + row];
            assert!(text(&row[..ends]).ends_with(records), "{seen}");
            assert_eq!(row.get(ends).copied().unwrap_or(' '), ' ', "{seen}");
        }
        let name = text(&lines[header + 1]);
        match columns {
            200 => assert!(name.starts_with(&format!("{long} ")), "{seen}"),
            _ => assert!(
                name.starts_with("a-name-that") && name.contains("~ "),
                "{seen}"
            ),
        }
        assert!(
            seen.contains("! broken cannot be opened: torn") || rows < 24,
            "{seen}"
        );
        assert!(
            seen.contains("! worn takes no more records: no disk") || rows < 24,
            "{seen}"
        );
    }
}

#[test]
fn colours_are_for_terminals_that_have_them_and_users_who_want_them() {
    const RED: &str = "38;5;1";
    const CYAN: &str = "38;5;6";
    let place = Place::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut records = 0;
            while !stop.load(Ordering::Relaxed) {
                records += 1;
                place.says(
                    &[("a", records, 0, None), ("worn", 1, 0, Some("no disk"))],
                    "",
                );
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        let run = |environment: &[(&str, &str)], bar| {
            in_terminal(&place, (80, 24), environment, &[(bar, "q")]).written
        };
        let results = thread::scope(|runs| {
            let blocks = "\u{2588}";
            let colourful = runs.spawn(|| run(&[], blocks));
            let refused = runs.spawn(|| run(&[("NO_COLOR", "1")], blocks));
            let none = runs.spawn(|| run(&[("TERM", "vt100")], blocks));
            let ascii = runs.spawn(|| run(&[("LC_ALL", "C")], "#"));
            [colourful, refused, none, ascii].map(thread::ScopedJoinHandle::join)
        });
        stop.store(true, Ordering::Relaxed);
        let [colourful, refused, none, ascii] = results.map(|result| result.unwrap());
        assert!(colourful.contains(RED) && colourful.contains(CYAN));
        assert!(!refused.contains("38;5;") && !none.contains("38;5;"));
        assert!(ascii.is_ascii() && ascii.contains(CYAN));
    });
}

#[test]
fn it_reads_what_a_mount_says_of_itself() {
    let mut mount = Mount::new();
    fs::create_dir(mount.path().join("orders")).unwrap();
    for n in 0..3 {
        append(&mount.path().join("orders/append"), format!("{n}\n")).unwrap();
    }
    let waiting = Reader::start("cat", &[&mount.path().join("orders/3")]);
    waiting.wait_until_blocked();
    let path = mount.path();
    let top = [
        "top",
        path.to_str().unwrap(),
        "--once",
        "--interval",
        "100ms",
    ];
    let table = prints(&top);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(
        rows[1][..6],
        ["default", "0", "0", "0", "B", "0"],
        "{table}"
    );
    assert_eq!(rows[2][..6], ["orders", "3", "0", "0", "B", "1"], "{table}");
    assert_eq!(rows[1].last(), Some(&"-"), "{table}");
    assert_ne!(rows[2].last(), Some(&"-"), "{table}");
    mount.kill();
    let why = refuses(&top);
    assert!(
        why.contains("Transport endpoint is not connected ("),
        "{why}"
    );
}
