//! Who watches a namespace's files with inotify, which sees what goes through the mount to the same file and nothing
//! else: appends made by another file, the process that tells of them, and the programs that wait to be told.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use support::{DEADLINE, Mount, Reader, append, eventually, has_ended, installed_directory};

/// A watch on one file or directory.
struct Watch(Inotify);

impl Watch {
    fn of(path: &Path) -> Watch {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY).unwrap();
        Watch(inotify)
    }

    /// The name in the directory of the next event; empty where a file is watched.
    #[track_caller]
    fn next(&self, what: &str) -> Vec<String> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        assert_eq!(poll(&mut fds, timeout).unwrap(), 1, "{what}: no event");
        let events = self.0.read_events().unwrap().into_iter();
        events
            .map(|event| {
                assert_eq!(event.mask, AddWatchFlags::IN_MODIFY, "{what}");
                let name = event.name.unwrap_or_default();
                name.into_string().unwrap()
            })
            .collect()
    }
}

fn frame(payload: &str) -> Vec<u8> {
    let size = (payload.len() as u64).to_le_bytes();
    [&size, payload.as_bytes()].concat()
}

// > Each append raises IN_MODIFY for inotify watchers of `log` and of `follow`, a moment later, whichever file
// > the record was written to. One event stands for all records before it.
#[test]
fn a_watcher_of_log_or_follow_is_told_of_each_append_by_another_file() {
    let mount = Mount::new();
    for name in ["log", "follow"] {
        let watch = Watch::of(&mount.file(name));
        let mut size = fs::metadata(mount.file("log")).unwrap().len();
        for round in 0..5 {
            for by in ["append", "append-lines", "append-file", "append-frames"] {
                let what = format!("{name}, {by}, round {round}");
                match by {
                    "append-frames" => append(&mount.file(by), frame("record\n")).unwrap(),
                    _ => append(&mount.file(by), "record\n").unwrap(),
                }
                size += 7;
                watch.next(&what);
                assert_eq!(fs::metadata(mount.file(name)).unwrap().len(), size);
            }
        }
    }
}

// > A watcher of a namespace's directory gets IN_MODIFY of its `log`, about a second after an append.
#[test]
fn a_watcher_of_the_directory_is_told_of_the_log_that_nobody_has_looked_up() {
    let mount = Mount::new();
    let watch = Watch::of(&mount.file(""));
    for round in ["first", "second"] {
        mount.append(round);
        let told = || watch.next(round).iter().any(|name| name == "log");
        eventually("the directory's watcher is told of the log", told);
    }
}

#[test]
fn what_a_reading_mount_sees_of_its_writer_is_told_to_its_watchers() {
    let writer = Mount::new();
    let mut reader = Mount::idle(&["--read-only"]);
    fs::remove_dir_all(reader.logs()).unwrap_or_default();
    std::os::unix::fs::symlink(writer.logs(), reader.logs()).unwrap();
    reader.start();
    let watch = Watch::of(&reader.file("follow"));
    for n in 0..3 {
        writer.append(format!("{n}\n"));
        watch.next("with --read-only");
    }
}

/// The processes of a daemon that tell watchers.
fn tellers(daemon: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok());
    let is_teller = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent.is_some_and(|parent| parent.trim() == daemon.to_string())
            && command.contains("--raise-events")
    };
    pids.map(Pid::from_raw).filter(is_teller).collect()
}

/// Has watchers told, and returns the process that does it.
fn teller(mount: &Mount) -> (Watch, Pid) {
    let watch = Watch::of(&mount.file("log"));
    mount.append("told\n");
    watch.next("the first append");
    let tellers = tellers(mount.pid());
    assert_eq!(tellers.len(), 1, "{tellers:?}");
    (watch, tellers[0])
}

// > A second process of the daemon, `immuta-fs --raise-events`, tells the watchers, and ends with the daemon. If
// > it is killed, another one takes its place.
#[test]
fn another_process_goes_on_when_the_one_that_tells_watchers_is_killed() {
    let mount = Mount::new();
    let (watch, first) = teller(&mount);
    kill(first, Signal::SIGKILL).unwrap();
    eventually("it has ended", || has_ended(first));
    mount.append("after it\n");
    watch.next("the append after it");
    let second = tellers(mount.pid());
    assert!(!second.is_empty() && !second.contains(&first), "{second:?}");
}

/// Appends, with watchers that are told all the time, until the mount ends.
fn append_without_end(mount: &Mount) -> Vec<thread::JoinHandle<()>> {
    let appends = ["append", "append-lines"].map(|name| {
        let file = mount.file(name);
        thread::spawn(move || while append(&file, "record\n").is_ok() {})
    });
    appends.into()
}

#[test]
fn a_daemon_that_is_killed_while_it_tells_watchers_leaves_no_process_and_a_dead_mount() {
    for round in 0..10 {
        let mut mount = Mount::new();
        let (watch, process) = teller(&mount);
        let appends = append_without_end(&mount);
        let so_far = mount.count();
        eventually("there are appends", || mount.count() > so_far + 20 * round);
        watch.next("while it goes on");
        mount.kill();
        assert_eq!(statvfs(&mount.path()), Err(Errno::ENOTCONN));
        eventually("the second process has ended", || has_ended(process));
        for append in appends {
            append.join().unwrap();
        }
    }
}

#[test]
fn no_process_is_left_by_a_daemon_that_ends_in_order() {
    let mut mount = Mount::new();
    let (_watch, process) = teller(&mount);
    let appends = append_without_end(&mount);
    assert!(mount.stop().success(), "{}", mount.messages());
    eventually("the second process has ended", || has_ended(process));
    for append in appends {
        append.join().unwrap();
    }
    mount.start();
    let (watch, process) = teller(&mount);
    drop(watch);
    // It may be about to tell somebody, which is a use of the mount.
    eventually("it can be unmounted", || {
        let unmounted = Command::new("umount").arg(mount.path()).output().unwrap();
        unmounted.status.success()
    });
    mount.wait();
    eventually("the second process has ended", || has_ended(process));
}

fn node(script: &str, argument: impl AsRef<OsStr>) -> Reader {
    let mut command = Command::new("node");
    command
        .env(
            "NODE_PATH",
            installed_directory("node").join("node_modules"),
        )
        .args(["-e", script, "--"])
        .arg(argument);
    Reader::from(command)
}

/// Many programs wait until a file has come to rest. It makes no test pass.
const BETWEEN: Duration = Duration::from_millis(300);

/// Appends until a program prints its next line: it says nothing of when it has begun to watch.
#[track_caller]
fn wakes(mount: &Mount, who: &str, mut program: Reader, expected: impl Fn(&str) -> bool) {
    let (begun, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                mount.append("for the watcher\n");
            }
        });
        let line = program.line();
        drop(begun);
        assert!(
            line.as_deref().is_some_and(expected),
            "{who} printed {line:?}"
        );
    });
}

#[test]
fn fs_watch_of_node_js_wakes() {
    let mount = Mount::new();
    let script =
        "require('fs').watch(process.argv[1], what => { console.log(what); process.exit() })";
    for name in ["log", "follow", ""] {
        let watcher = node(script, mount.file(name));
        wakes(&mount, name, watcher, |what| what == "change");
    }
}

#[test]
fn chokidar_wakes() {
    let mount = Mount::new();
    let script = "require('chokidar').watch(process.argv[1]).on('change', path => { console.log(path); process.exit() })";
    let log = mount.file("log");
    let watcher = node(script, &log);
    wakes(&mount, "chokidar", watcher, |path| Path::new(path) == log);
}

#[test]
fn the_tail_of_npm_wakes() {
    let mount = Mount::new();
    let script = "new (require('tail').Tail)(process.argv[1]).on('line', line => { console.log(line); process.exit() })";
    let watcher = node(script, mount.file("log"));
    wakes(&mount, "tail", watcher, |line| line == "for the watcher");
}

#[test]
fn watchdog_of_python_wakes() {
    let mount = Mount::new();
    let script = r#"
import sys, threading
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
changed = threading.Event()
class Handler(FileSystemEventHandler):
    def on_modified(self, event):
        if event.src_path.endswith("/log"):
            changed.set()
observer = Observer()
observer.schedule(Handler(), sys.argv[1])
observer.start()
changed.wait()
print("changed")
observer.stop()
"#;
    for name in ["log", ""] {
        let mut command = Command::new("python3");
        command
            .env("PYTHONPATH", installed_directory("python"))
            .args(["-u", "-c", script])
            .arg(mount.file(name));
        let watcher = Reader::from(command);
        wakes(&mount, "watchdog", watcher, |line| line == "changed");
    }
}

/// By itself it waits until somebody who wrote to the file itself closes it.
#[test]
fn entr_wakes_when_it_is_told_to_heed_changes() {
    let mount = Mount::new();
    let script = r#"exec env ENTR_INOTIFY_WORKAROUND=1 entr -npz echo changed <<< "$1""#;
    let watcher = Reader::shell(script, &[&mount.file("log")]);
    wakes(&mount, "entr", watcher, |line| line == "changed");
}

#[test]
fn rsyslog_reads_each_line_that_another_file_appends() {
    let mount = Mount::new();
    let scratch = tempfile::tempdir().unwrap();
    let [configuration, output, pid] =
        ["conf", "output", "pid"].map(|name| scratch.path().join(name));
    let text = format!(
        r#"global(workDirectory="{0}")
module(load="imfile" mode="inotify")
template(name="line" type="string" string="%msg%\n")
input(type="imfile" File="{1}" Tag="immuta:" Ruleset="copy")
ruleset(name="copy") {{ action(type="omfile" file="{2}" template="line") }}
"#,
        scratch.path().display(),
        mount.file("log").display(),
        output.display()
    );
    fs::write(&configuration, text).unwrap();
    mount.append("before it\n");
    let rsyslog = Reader::start("rsyslogd", &[&"-n", &"-f", &configuration, &"-i", &pid]);
    let has = |line: &str| {
        let output = fs::read_to_string(&output).unwrap_or_default();
        output.lines().any(|l| l.trim_start() == line)
    };
    eventually("rsyslog has read what was there", || has("before it"));
    for n in 0..5 {
        let line = format!("line {n}");
        mount.append(format!("{line}\n"));
        eventually("rsyslog has read the next line", || has(&line));
    }
    drop(rsyslog);
}
