//! Programs that the tests start: what they print, how they end, what they wait for.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, eventually};

/// A program that reads, and what it prints, line by line. Killed when dropped.
pub struct Reader {
    pub child: Child,
    lines: Receiver<io::Result<Vec<u8>>>,
}

impl Reader {
    /// Starts a program with its standard output in a pipe.
    pub fn start(program: impl AsRef<OsStr>, arguments: &[&dyn AsRef<OsStr>]) -> Reader {
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|a| a.as_ref()));
        Reader::from(command)
    }

    /// Starts a shell script with its standard output in a pipe; `$1`, `$2` ... are the arguments.
    pub fn shell(script: &str, arguments: &[&dyn AsRef<OsStr>]) -> Reader {
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "bash"])
            .args(arguments.iter().map(|a| a.as_ref()));
        Reader::from(command)
    }

    pub fn from(mut command: Command) -> Reader {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!(
                    "{:?} does not start: {e} (mount-scripts/test.sh installs what the tests need)",
                    command.get_program()
                )
            });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n') {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Reader { child, lines }
    }

    /// The next line that it prints, without its newline; `None` when it has printed all and ended. Panics
    /// after [`DEADLINE`].
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(String::from_utf8_lossy(&line.unwrap()).into_owned()),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line came"),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Starts a Python program with its standard output, unbuffered, in a pipe; `sys.argv[1:]` are the
    /// arguments.
    pub fn python(script: &str, arguments: &[&dyn AsRef<OsStr>]) -> Reader {
        let mut command = Command::new("python3");
        command
            .args(["-u", "-c", script])
            .args(arguments.iter().map(|a| a.as_ref()));
        Reader::from(command)
    }

    /// Waits for the next line, which has to be this one. A failure names the program, `who`.
    #[track_caller]
    pub fn expect(&mut self, who: &str, line: &str) {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(got) => assert_eq!(String::from_utf8_lossy(&got.unwrap()), line, "{who}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("{who}: it ended before it printed {line:?}")
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{who}: it did not print {line:?}"),
        }
    }

    /// Kills the program. What it had printed beyond the lines that were taken.
    pub fn rest(mut self) -> Vec<String> {
        let _ = self.child.kill();
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Waits until the program has ended by itself, having printed nothing more, and returns how.
    #[track_caller]
    pub fn end(mut self, who: &str) -> ExitStatus {
        if let Some(line) = self.line() {
            panic!("{who}: it printed {line:?} as well");
        }
        wait(&mut self.child)
    }

    /// Waits until the program (or, of a shell, the program it has started) waits in the kernel for an answer
    /// from the mount.
    #[track_caller]
    pub fn wait_until_blocked(&self) {
        let pid = self.pid();
        eventually("the reader waits in the mount", || waits_in_mount(pid));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // One that waits for a close does not end before the mount, which may be dropped after this.
        let _ = wait_for(&mut self.child, Duration::from_secs(10));
    }
}

/// What a shell script has printed and how it ended; `$1`, `$2` ... are the arguments. Killed after
/// [`DEADLINE`], and then its status is no success.
#[track_caller]
pub fn shell(script: &str, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    Command::new("timeout")
        .args(["-k", "1", &DEADLINE.as_secs().to_string()])
        .args(["bash", "-c", script, "bash"])
        .args(arguments.iter().map(|a| a.as_ref()))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a shell script has printed. Panics unless it ends with status 0.
#[track_caller]
pub fn shell_ok(script: &str, arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = shell(script, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}: {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Exit status, standard output and standard error.
pub fn outcome(output: Output) -> (i32, String, String) {
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

/// Waits for a process's end; panics after [`DEADLINE`].
#[track_caller]
pub fn wait(child: &mut Child) -> ExitStatus {
    wait_for(child, DEADLINE).expect("the process ends")
}

/// Waits for a process's end, so long at most.
pub fn wait_for(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > timeout {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Whether a process waits for an answer from a FUSE mount, and not only to open or to look at a file: on a busy machine
/// it is seen in these, too.
pub fn waits_in_mount(pid: Pid) -> bool {
    asks_mount(pid) && !looks_at_a_file(pid)
}

/// Whether a process waits for any answer from a FUSE mount.
pub fn asks_mount(pid: Pid) -> bool {
    let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    wchan.contains("request_wait_answer") || wchan.contains("fuse")
}

fn looks_at_a_file(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|n| n.parse().ok());
    #[cfg(target_arch = "x86_64")]
    let old = [
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let old = [];
    let looks = [
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_fstat,
        libc::SYS_statx,
        libc::SYS_faccessat,
        libc::SYS_lseek,
    ];
    number.is_some_and(|number| looks.contains(&number) || old.contains(&number))
}

/// Stops a process, and returns when none of its threads runs any more.
pub fn stop(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("it is stopped", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.map(|t| t.unwrap().file_name().into_string().unwrap());
        threads.all(|thread| state(Pid::from_raw(thread.parse().unwrap())) == 'T')
    });
}

/// Whether a process has ended. One that nobody has waited for has, too.
pub fn has_ended(pid: Pid) -> bool {
    matches!(state(pid), '?' | 'Z' | 'X')
}

/// The state letter of a process, as in `ps`.
pub fn state(pid: Pid) -> char {
    // `stat` waits for a process that is being executed.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|l| l.strip_prefix("State:"));
    state
        .and_then(|state| state.trim_start().chars().next())
        .unwrap_or('?')
}

/// A program that mount-scripts/test.sh installs for the tests. A test that needs one fails without it.
pub fn installed_tool(name: &str) -> PathBuf {
    let tool = std::env::var_os("IMMUTA_TEST_TOOLS")
        .map(|tools| PathBuf::from(tools).join("bin").join(name))
        .filter(|tool| tool.exists());
    tool.unwrap_or_else(|| {
        panic!(
            "no '{name}' in $IMMUTA_TEST_TOOLS/bin (run mount-scripts/test.sh, which installs it)"
        )
    })
}

/// A directory of what mount-scripts/test.sh installs for the tests. A test that needs one fails without it.
pub fn installed_directory(name: &str) -> PathBuf {
    let tools = std::env::var_os("IMMUTA_TEST_TOOLS").unwrap_or_default();
    let directory = PathBuf::from(tools).join(name);
    assert!(
        directory.is_absolute() && directory.is_dir(),
        "no '{name}' in $IMMUTA_TEST_TOOLS (run mount-scripts/test.sh, which installs it)"
    );
    directory
}

/// Each kind of `tail`, with its first arguments.
pub fn tails() -> Vec<(PathBuf, Vec<&'static str>)> {
    vec![
        ("tail".into(), vec![]),
        ("busybox".into(), vec!["tail"]),
        (installed_tool("tail"), vec![]),
    ]
}
