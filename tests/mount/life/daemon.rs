//! `--daemon`: what its caller is told, and what becomes of the daemon.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, mkfifo};
use support::users::own_namespace;
use support::{Mount, Reader, eventually, has_ended, outcome, read, shell_ok, umount, wait};

fn start(mount: &Mount) -> Output {
    mount.start_in_background(|command| {
        command.arg("--log-file").arg(mount.log_file());
    })
}

fn announcement(mount: &Mount) -> String {
    let unmount = if geteuid().is_root() {
        "umount"
    } else {
        "fusermount3 -u"
    };
    let path = mount.path();
    let (path, logs) = (path.display(), mount.logs());
    format!(
        "immuta-fs: mounted '{path}', logs in '{}' (stop with: {unmount} '{path}')\n",
        logs.display()
    )
}

/// Fields of `/proc/PID/stat` behind the name: state, parent, group, session, terminal.
fn stat(pid: Pid) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').map(str::to_owned).collect()
}

/// What a process has open, by number.
fn open_files(pid: Pid) -> Vec<(u32, PathBuf)> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect()
}

// > `--daemon` returns, with status 0, when the mount answers. When the mount cannot begin, it returns with the
// > message and the status that it has in the foreground.
// > A daemon belongs to no terminal, its working directory is `/`, and it has nothing open that its caller had
// > open. Its messages go to `--log-file`, or else to syslog.
#[test]
fn a_daemon_answers_when_its_start_returns_and_has_nothing_of_its_callers() {
    let mount = Mount::idle(&[]);
    let held = mount.path().with_file_name("held");
    // The shell has a file open that it means for nobody, and the caller of all reads its output to the end.
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            r#"exec 9>"$1"; shift; "$@"; echo "status $?""#,
            "bash",
        ])
        .arg(&held)
        .arg(mount.command().get_program())
        .args(mount.command().get_args())
        .args(["--daemon", "--log-file"])
        .arg(mount.log_file());
    let output = outcome(command.stdin(Stdio::null()).output().unwrap());
    mount.append("first");
    assert_eq!(mount.count(), 1);
    assert_eq!(
        output,
        (0, announcement(&mount) + "status 0\n", String::new())
    );

    let daemon = mount.holder();
    let [session, terminal] = [3, 4].map(|field| stat(daemon)[field].clone());
    assert_eq!(
        (session.as_str(), terminal.as_str()),
        (daemon.to_string().as_str(), "0")
    );
    assert_eq!(
        fs::read_link(format!("/proc/{daemon}/cwd")).unwrap(),
        Path::new("/")
    );
    let files = open_files(daemon);
    for (number, file) in &files {
        assert!(*number > 2 || file == Path::new("/dev/null"), "{files:?}");
        assert_ne!(*file, held);
    }

    kill(daemon, Signal::SIGTERM).unwrap();
    eventually("the daemon has ended", || has_ended(daemon));
    assert!(!mount.is_mounted());
    let said = fs::read_to_string(mount.log_file()).unwrap();
    for message in ["mounted '", "SIGTERM: ending", "unmounted '"] {
        assert!(said.contains(message), "{said}");
    }
}

/// A terminal of its own, whose Ctrl-C comes to everything that was started there.
const IN_A_TERMINAL: &str = r#"
import os, pty, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Whatever runs the tests may ignore it.
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "-c", '"$@"; echo "status $?"; read -r', "bash"] + sys.argv[1:])
seen = b""
while b"status 0" not in seen:
    seen += os.read(terminal, 1000)
os.write(terminal, b"\x03")
_, status = os.waitpid(pid, 0)
print("the shell was ended by signal", os.WTERMSIG(status))
"#;

#[test]
fn ctrl_c_and_the_end_of_the_terminal_leave_the_daemon_alone() {
    let mount = Mount::idle(&[]);
    let command = mount.command();
    let mut terminal = Command::new("python3");
    terminal
        .args(["-c", IN_A_TERMINAL])
        .arg(command.get_program())
        .args(command.get_args())
        .args(["--daemon", "--log-file"])
        .arg(mount.log_file());
    let mut terminal = Reader::from(terminal);
    terminal.expect("the terminal", "the shell was ended by signal 2");
    assert!(terminal.end("the terminal").success());
    mount.append("first");
    // Nor does a hang-up end it, which is how daemons are told to read their settings again.
    kill(mount.holder(), Signal::SIGHUP).unwrap();
    eventually("the daemon has said so", || {
        fs::read_to_string(mount.log_file())
            .unwrap()
            .contains("SIGHUP: there is nothing to read again")
    });
    assert_eq!(read(&mount.file("0")), b"first");
    mount.unmount();
}

#[test]
fn what_keeps_a_daemon_from_beginning_is_said_as_in_the_foreground() {
    let mut mount = Mount::idle(&[]);
    let foreground =
        |mount: &Mount| outcome(mount.command().stdin(Stdio::null()).output().unwrap());
    let same = |mount: &Mount, status: i32, what: &str| {
        let (code, stdout, stderr) = foreground(mount);
        assert_eq!((code, stdout.as_str()), (status, ""));
        assert!(
            stderr.contains(what) && stderr.lines().count() == 1,
            "{stderr}"
        );
        let in_background = outcome(mount.start_in_background(|_| ()));
        assert_eq!(in_background, (code, stdout, stderr));
    };
    mount.options(&["--frobnicate"]);
    same(&mount, 2, "unexpected argument '--frobnicate'");
    mount.options(&["-o", "frobnicate", "--foreground"]);
    let (code, _, stderr) = foreground(&mount);
    assert_eq!(code, 2, "{stderr}");
    mount.options(&["--log-file", "/proc/no/such/file"]);
    same(
        &mount,
        1,
        "cannot write messages to '/proc/no/such/file': No such file or directory (give --log-file",
    );
    mount.options(&[]);
    fs::write(mount.path().join("file"), "").unwrap();
    same(&mount, 1, "not empty (give an empty directory)");
    fs::remove_file(mount.path().join("file")).unwrap();
    fs::write(mount.logs(), "").unwrap();
    same(&mount, 1, "not a directory (give a directory)");
    fs::remove_file(mount.logs()).unwrap();
    fs::remove_dir(mount.path()).unwrap();
    same(&mount, 1, "it does not exist (mkdir -p");
    fs::create_dir(mount.path()).unwrap();

    // The message is in the log, too, where somebody looks who has not seen the start.
    fs::write(mount.logs(), "").unwrap();
    assert_eq!(start(&mount).status.code(), Some(1));
    let said = fs::read_to_string(mount.log_file()).unwrap();
    assert!(
        said.contains("ERROR") && said.contains("not a directory"),
        "{said}"
    );
    fs::remove_file(mount.logs()).unwrap();

    assert!(start(&mount).status.success());
    same(&mount, 1, "logs are mounted there already");
    mount.unmount();
}

#[test]
fn relative_paths_begin_where_the_daemon_was_started() {
    let mount = Mount::idle(&[]);
    let directory = mount.path().parent().unwrap().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_immuta-fs"))
        .args(["--daemon", "--log-file", "messages", "logs", "mount"])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::create_dir(mount.path().join("made-later")).unwrap();
    assert!(mount.logs().join("made-later.log").exists());
    assert!(mount.log_file().exists());
    // The scripts know the daemon of a mount by its command line.
    let script = r#"
        repository=$1 mountpoint=$2
        set -- "$repository/mount-scripts/lib.sh"
        cd / && . "$repository/mount-scripts/lib.sh"
        daemon_of "$mountpoint"
    "#;
    let found = shell_ok(
        &format!(
            "exec -a mount-scripts/x sh -c '{}' mount-scripts/x \"$@\"",
            script.replace('\'', r"'\''")
        ),
        &[&env!("CARGO_MANIFEST_DIR"), &mount.path()],
    );
    assert_eq!(found.trim(), mount.holder().to_string());
    mount.unmount();
}

/// Starts a daemon that opens a pipe for its messages and waits there, since nobody reads it. Returns who waits for the
/// daemon, the daemon, and the pipe's path.
fn held_at_a_gate(mount: &Mount) -> (Child, Pid, PathBuf) {
    let gate = mount.path().with_file_name("gate");
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let starter = mount
        .command()
        .args(["--daemon", "--log-file"])
        .arg(&gate)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", starter.id());
    let mut daemon = None;
    eventually("the daemon has come to its log file", || {
        let child = fs::read_to_string(&children).unwrap_or_default();
        daemon = child.trim().parse().ok().map(Pid::from_raw);
        daemon.is_some_and(|daemon| {
            let wchan = fs::read_to_string(format!("/proc/{daemon}/wchan")).unwrap_or_default();
            wchan.contains("wait_for_partner") || wchan.contains("fifo")
        })
    });
    (starter, daemon.unwrap(), gate)
}

#[test]
fn a_daemon_that_is_killed_before_its_mount_answers_is_an_error() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mount = Mount::idle(&[]);
        let (starter, daemon, _gate) = held_at_a_gate(&mount);
        kill(daemon, signal).unwrap();
        let message =
            format!("immuta-fs: the daemon was ended by {signal} before its mount answered\n");
        assert_eq!(
            outcome(starter.wait_with_output().unwrap()),
            (1, String::new(), message)
        );
        assert!(!mount.is_mounted());
    }
}

#[test]
fn a_daemon_for_which_nobody_waits_any_more_does_not_stay() {
    let mount = Mount::idle(&[]);
    let (mut starter, daemon, gate) = held_at_a_gate(&mount);
    starter.kill().unwrap();
    assert_eq!(wait(&mut starter).signal(), Some(9));
    let messages = File::open(gate).unwrap();
    let said = std::io::read_to_string(messages).unwrap();
    assert!(
        said.contains("nobody waits for the mount of this daemon any more"),
        "{said}"
    );
    eventually("the daemon has ended", || has_ended(daemon));
    assert!(!mount.is_mounted());
    // It had come as far as that.
    assert!(mount.logs().join("default.log").exists());
}

// > Logs can be mounted again as soon as `umount` has returned.
#[test]
fn logs_are_mounted_again_at_once_after_umount() {
    let mount = Mount::idle(&[]);
    for round in 0..20 {
        let output = start(&mount);
        assert!(output.status.success(), "{output:?}");
        mount.append(format!("round {round}"));
        // An end that takes its time: it has a log to sync.
        umount(&mount.path());
    }
    assert!(start(&mount).status.success());
    assert_eq!(mount.count(), 20);
    mount.unmount();
}

#[test]
fn a_daemon_that_was_unmounted_does_not_unmount_the_next_one() {
    // Neither takes the lock, and the kernel gives the second mount the device number of the first one.
    let mut mount = Mount::new();
    mount.append("first");
    assert!(mount.stop().success());
    mount.options(&["--read-only"]);
    for _ in 0..100 {
        let output = start(&mount);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(read(&mount.file("log")), b"first\n");
        umount(&mount.path());
    }
}

/// In a `/dev` of its own, where only this listens to syslog: prints what comes there.
const SYSLOG: &str = r#"
import os, select, socket, subprocess, sys
dev, program, logs, mountpoint = sys.argv[1:]
def run(*command):
    subprocess.run(command, check=True)
run("mount", "-t", "tmpfs", "none", dev)
for name in ("null", "fuse"):
    open(f"{dev}/{name}", "w").close()
    run("mount", "--bind", f"/dev/{name}", f"{dev}/{name}")
run("mount", "--rbind", dev, "/dev")
def start():
    done = subprocess.run([program, "--daemon", logs, mountpoint], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    print("status", done.returncode, done.stderr.strip(), flush=True)
start()
first = os.pidfd_open(int(open(logs + "/.immuta.lock").read().split()[1]))
run("umount", mountpoint)
select.select([first], [], [])
syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.bind("/dev/log")
start()
print(syslog.recv(1000).decode(), flush=True)
run("umount", mountpoint)
while "unmounted" not in (message := syslog.recv(1000).decode()):
    pass
print(message)
"#;

#[test]
fn without_a_log_file_messages_go_to_syslog() {
    let mount = Mount::idle(&[]);
    let dev = mount.path().with_file_name("dev");
    fs::create_dir(&dev).unwrap();
    let said = shell_ok(
        &format!(r#"exec {} python3 -c "$@""#, own_namespace()),
        &[
            &SYSLOG,
            &dev,
            &env!("CARGO_BIN_EXE_immuta-fs"),
            &mount.logs(),
            &mount.path(),
        ],
    );
    let lines: Vec<_> = said.lines().collect();
    let [missed, heard, mounted, unmounted] = lines[..] else {
        panic!("{said}");
    };
    let lost = "immuta-fs: there is no syslog here ('/dev/log'): messages of the daemon are lost (give --log-file)";
    assert_eq!(missed, format!("status 0 {lost}"));
    assert_eq!(heard, "status 0 ");
    // Severity 6 (a thing worth knowing) of facility 3 (daemons).
    let path = mount.path();
    for (line, what) in [(mounted, "mounted"), (unmounted, "unmounted")] {
        assert!(
            line.starts_with("<30>") && line.contains(" immuta-fs["),
            "{line}"
        );
        assert!(
            line.contains(&format!("]: {what} '{}'", path.display())),
            "{line}"
        );
    }
}
