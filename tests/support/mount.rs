//! A daemon on a directory of its own that is gone afterwards, whatever happens.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::programs::{has_ended, wait, wait_for};
use super::{append, eventually, program, read};

/// A mounted daemon on directories of its own. Dropped: ended, unmounted, removed.
pub struct Mount {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    daemon: Option<Child>,
    /// The rest of what the daemon prints; kept open so that it can.
    stdout: Option<BufReader<ChildStdout>>,
    /// Held as long as the mount is there: see [`watch`].
    _watch: Sender<()>,
}

/// A call to a mount that does not answer is ended by no signal, so a test could wait for ever, and a run of all tests
/// with it. After this long the kernel ends all that waits for the mount, and the test fails. It never makes one pass.
const LONGEST_TEST: Duration = Duration::from_secs(15 * 60);

/// Has a mount cut off after [`LONGEST_TEST`], unless what is returned is dropped before.
fn watch(path: PathBuf) -> Sender<()> {
    let (alive, watch) = mpsc::channel();
    std::thread::spawn(move || {
        if watch.recv_timeout(LONGEST_TEST) == Err(RecvTimeoutError::Timeout) {
            eprintln!("'{}' does not answer: cutting it off", path.display());
            cut_off(&path);
        }
    });
    alive
}

/// Has the kernel end every call that waits for a mount, and the mount with it; only root may.
fn cut_off(path: &Path) {
    // It says EBUSY, and has done it.
    let _ = umount2(path, MntFlags::MNT_FORCE);
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
            arguments,
            daemon: None,
            stdout: None,
            _watch: watch(directory.path().join("mount")),
            directory,
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
        let mut command = Command::new(program("immuta-fs"));
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

    /// As [`Mount::start_under`] strace(1), which has some system calls fail, as its option `inject` says. `only`: options
    /// that say which calls are meant.
    pub fn start_with_failing(&mut self, inject: &str, only: &[&str]) -> Result<(), ExitStatus> {
        let quiet = "strace -D -f -qq -o /dev/null -e signal=none";
        let inject = format!("inject={inject}");
        let mut strace: Vec<&str> = quiet.split(' ').collect();
        strace.extend(only);
        strace.extend(["-e", &inject]);
        self.start_under(&strace)
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

    /// Ends the daemon, forgets what it knows beside the log of `default`, and starts it again.
    pub fn restart_without_index(&mut self) {
        assert!(self.stop().success(), "{}", self.messages());
        fs::remove_file(self.logs().join("default.idx")).unwrap();
        self.start();
    }

    /// A file of the namespace `default`, opened as `>>` does.
    #[track_caller]
    pub fn appender(&self, name: &str) -> File {
        File::options().append(true).open(self.file(name)).unwrap()
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

    /// The file for the messages of a daemon that has `--log-file`.
    pub fn log_file(&self) -> PathBuf {
        self.path().with_file_name("messages")
    }

    /// Panics unless `default` has these records, byte for byte, and no others.
    #[track_caller]
    pub fn has_records<R: AsRef<[u8]>>(&self, records: &[R]) {
        assert_eq!(self.count(), records.len() as u64);
        for (n, record) in records.iter().enumerate() {
            assert!(
                read(&self.file(&n.to_string())) == record.as_ref(),
                "record {n}"
            );
        }
    }

    /// Panics unless the records of `default` are the lines `WRITER NUMBER xxx` of so many writers, each with the
    /// numbers from 0 up to below `lines` in their order, and with as many `x` as the number modulo 300.
    #[track_caller]
    pub fn has_each_writers_lines(&self, writers: usize, lines: usize) {
        let mut next = BTreeMap::new();
        let text = String::from_utf8(read(&self.file("log"))).unwrap();
        for line in text.lines() {
            let mut fields = line.split(' ');
            let writer = fields.next().unwrap().to_owned();
            let number: usize = fields.next().unwrap().parse().unwrap();
            assert_eq!(
                fields.next().map(str::len),
                Some(number % 300),
                "torn: {line:?}"
            );
            assert_eq!(fields.next(), None, "mixed: {line:?}");
            let expected = next.entry(writer).or_insert(0);
            assert_eq!(number, *expected, "lost, twice or out of order: {line:?}");
            *expected += 1;
        }
        assert_eq!(next.len(), writers);
        assert!(next.values().all(|&n| n == lines), "{next:?}");
        // As many records as lines, and each line whole: so each record is one line.
        assert_eq!(self.count(), (writers * lines) as u64);
    }

    /// Whether the mount point is mounted.
    pub fn is_mounted(&self) -> bool {
        let path = self.path();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|l| l.split(' ').nth(1) == path.to_str())
    }

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

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // SIGTERM first: it frees whatever still waits in a read.
            let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
            if wait_for(&mut daemon, Duration::from_secs(10)).is_none() {
                // A thread that waits in the kernel for a process that waits for its answer is ended by no
                // signal.
                cut_off(&self.path());
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

/// Unmounts what nobody uses any more, as a user does. What another test starts has, for a moment, what this one has
/// open.
#[track_caller]
pub fn umount(path: &Path) {
    let (program, options): (_, &[&str]) = match geteuid().is_root() {
        true => ("umount", &[]),
        false => ("fusermount3", &["-u"]),
    };
    eventually("it is unmounted", || {
        let mut umount = Command::new(program);
        let output = umount.args(options).arg(path).output().unwrap();
        output.status.success()
    });
}
