//! What every mounted test needs: a daemon on a directory of its own that is gone afterwards, whatever
//! happens, and waiting for a fact with a deadline that only fails. Tests do not sleep: they wait until
//! something is so.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test uses its part of it.

pub mod users;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a fact may take to come true on a slow, loaded machine. It never makes a test pass.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `fact` holds. Panics after [`DEADLINE`], saying `what`.
#[track_caller]
pub fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(
            start.elapsed() < DEADLINE,
            "it did not come true that {what}"
        );
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A mounted daemon on directories of its own. Dropped: ended, unmounted, removed.
pub struct Mount {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    daemon: Option<Child>,
    /// The rest of what the daemon prints; kept open so that it can.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Default for Mount {
    fn default() -> Self {
        Mount::new()
    }
}

impl Mount {
    /// With the default options.
    pub fn new() -> Mount {
        Mount::with(&[])
    }

    /// With options of `immuta-fs`.
    pub fn with(options: &[&str]) -> Mount {
        let mut mount = Mount::idle(options);
        mount.start();
        mount
    }

    /// With options of `immuta-fs`, its directories made, and no daemon yet.
    pub fn idle(options: &[&str]) -> Mount {
        let directory = tempfile::Builder::new()
            .prefix("immuta-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(directory.path().join("mount")).unwrap();
        let arguments = options.iter().map(|&o| o.to_owned()).collect();
        Mount {
            directory,
            arguments,
            daemon: None,
            stdout: None,
        }
    }

    /// Other options of `immuta-fs`, from the next start on.
    pub fn options(&mut self, options: &[&str]) {
        self.arguments = options.iter().map(|&o| o.to_owned()).collect();
    }

    /// The mount point.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// The directory of the logs, on the disk.
    pub fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// A file of the namespace `default`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("default").join(name)
    }

    /// What the daemon has written to standard error so far.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.daemon.as_ref().unwrap().id() as i32)
    }

    /// The most memory that the daemon has used, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The command that would start the daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_immuta-fs"));
        command
            .args(&self.arguments)
            .arg(self.logs())
            .arg(self.path());
        command
    }

    /// Lets other users of the machine come to the mount point: the directory above it is this user's alone.
    pub fn open_to_others(&self) {
        let searched = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(self.directory.path(), searched).unwrap();
    }

    /// Starts the daemon and returns when it has said that the mount answers.
    #[track_caller]
    pub fn start(&mut self) {
        let started = self.start_under(&[]);
        assert!(started.is_ok(), "{started:?}\n{}", self.messages());
    }

    /// As [`Mount::start`], with the daemon's command line as the last arguments of another program, which
    /// runs it as the same process. An error is how the daemon ended instead.
    pub fn start_under(&mut self, wrapper: &[&str]) -> Result<(), ExitStatus> {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("stderr"))
            .unwrap();
        let mut command = self.command();
        if let [program, arguments @ ..] = wrapper {
            let mut wrapped = Command::new(program);
            wrapped
                .args(arguments)
                .arg(command.get_program())
                .args(command.get_args());
            command = wrapped;
        }
        let mut daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(daemon.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        self.daemon = Some(daemon);
        if line.starts_with("immuta-fs: mounted ") || line.starts_with("immuta-fs: serving ") {
            self.stdout = Some(stdout);
            return Ok(());
        }
        assert!(line.is_empty(), "{line:?}");
        Err(self.wait())
    }

    /// Starts the daemon with `--daemon`, and whatever else a caller adds to the command. Returns how that ended: its
    /// output is that of who starts it, and the daemon has none of it open.
    pub fn start_in_background(&self, add: impl FnOnce(&mut Command)) -> Output {
        let mut command = self.command();
        command.arg("--daemon").stdin(Stdio::null());
        add(&mut command);
        command.output().unwrap()
    }

    /// The process that holds the lock on the logs.
    pub fn holder(&self) -> Pid {
        let lock = fs::read_to_string(self.logs().join(".immuta.lock")).unwrap();
        let pid = lock.split(' ').nth(1).unwrap().parse().unwrap();
        Pid::from_raw(pid)
    }

    /// Unmounts, and waits until a daemon in the background has ended.
    pub fn unmount(&self) {
        let daemon = self.holder();
        umount(&self.path());
        eventually("the daemon has ended", || has_ended(daemon));
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends the daemon as a user does, and returns how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the daemon's end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        self.stdout = None;
        wait(&mut daemon)
    }

    /// Kills the daemon with SIGKILL; the mount point stays dead.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Ends the daemon and starts it again.
    pub fn restart(&mut self) {
        assert!(self.stop().success(), "{}", self.messages());
        self.start();
    }

    /// Appends one record to `default`.
    pub fn append(&self, record: impl AsRef<[u8]>) {
        append(&self.file("append"), record).unwrap();
    }

    /// The number of records of `default`.
    pub fn count(&self) -> u64 {
        fs::read_to_string(self.file("count"))
            .unwrap()
            .trim_end()
            .parse()
            .unwrap()
    }

    /// Whether the mount point is mounted.
    pub fn is_mounted(&self) -> bool {
        let path = self.path();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|l| l.split(' ').nth(1) == path.to_str())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // SIGTERM first: it frees whatever still waits in a read.
            let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
            if wait_for(&mut daemon, Duration::from_secs(10)).is_none() {
                // A thread that waits in the kernel for a process that waits for its answer is ended by no
                // signal: with `-f` the kernel ends all that waits.
                let _ = Command::new("umount").arg("-f").arg(self.path()).status();
                let _ = daemon.kill();
                let _ = wait_for(&mut daemon, Duration::from_secs(10));
            }
        }
        if self.is_mounted() {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
        if std::thread::panicking() {
            eprintln!("what the daemon said:\n{}", self.messages());
        }
    }
}

/// Unmounts with umount(8) what nobody uses any more. What another test starts has, for a moment, what this one has open.
#[track_caller]
pub fn umount(path: &Path) {
    eventually("it is unmounted", || {
        let umount = Command::new("umount").arg(path).output().unwrap();
        umount.status.success()
    });
}

/// Appends with one `open`, one `write` and one `close`, as `echo` does.
pub fn append(file: &Path, record: impl AsRef<[u8]>) -> io::Result<()> {
    let record = record.as_ref();
    let written = File::options().append(true).open(file)?.write(record)?;
    assert_eq!(written, record.len());
    Ok(())
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
    /// after
    /// [`DEADLINE`].
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

/// Whether a process waits for an answer from a FUSE mount.
pub fn waits_in_mount(pid: Pid) -> bool {
    let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    wchan.contains("request_wait_answer") || wchan.contains("fuse")
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

/// Reads all of a file.
pub fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

impl Mount {
    /// Ends the daemon in order, and has every record of every namespace checked.
    #[track_caller]
    pub fn stop_and_verify(&mut self) {
        assert!(self.stop().success(), "{}", self.messages());
        let storage = immuta::Storage::open(immuta::Options::new(self.logs())).unwrap();
        assert!(storage.failed().is_empty(), "{:?}", storage.failed());
        for namespace in storage.namespaces() {
            let report = storage.verify(namespace.as_str()).unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
        storage.close().unwrap();
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

/// Panics unless a call was refused, with this error.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: io::Result<T>, errno: Errno) {
    match result {
        Ok(done) => panic!("it was not refused with {errno}, but gave {done:?}"),
        Err(e) => assert_eq!(Errno::from_raw(e.raw_os_error().unwrap_or(0)), errno, "{e}"),
    }
}

/// Numbers that look random and are the same each time (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize * limit) >> 32
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 56) as u8).collect()
    }
}
