//! Several users on one mount: a process for each, that makes the calls it is told to and says what became of
//! them.
//!
//! Only root can start the others. Without root there is one user, and what one user can show is shown with
//! that one.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use super::{Mount, append};

/// Ids that no machine's user has.
pub const OWNER: u32 = 61001;
pub const MEMBER: u32 = 61002;
pub const OTHER: u32 = 61003;
pub const GROUP: u32 = 61010;

/// A user whom every system has.
pub const NOBODY: u32 = 65534;

/// For a test that nobody but root can run: whoever runs it otherwise is told so by a failure. Nothing counts as passed
/// that has not run.
#[track_caller]
pub fn takes_root(why: &str) {
    assert!(geteuid().is_root(), "this test takes root: {why}");
}

/// What runs a command in a mount namespace of its own. Who is not root is root there of a user namespace of its own.
pub fn own_namespace() -> &'static str {
    match geteuid().is_root() {
        true => "unshare -m --propagation private",
        false => "unshare -Urm --propagation private",
    }
}

/// A copy of a program in a directory: the build's may be for its owner alone.
pub fn copied(program: &str, directory: &Path) -> PathBuf {
    let copy = directory.join(Path::new(program).file_name().unwrap());
    // Not by this process: while another thread forks, its child has the copy open for writing, and a program that is
    // cannot be executed.
    let copied = Command::new("cp").arg(program).arg(&copy).status();
    assert!(copied.unwrap().success());
    copy
}

/// A command of a user who is not root: of nobody, where root runs the test. The program is copied into a directory that
/// is given to that user with all that is in it, since the build's may be for its owner alone.
pub fn command_of_user(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(copied(program, directory));
    if geteuid().is_root() {
        let given = Command::new("chown")
            .args(["-R", &NOBODY.to_string()])
            .arg(directory)
            .status();
        assert!(given.unwrap().success());
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// For a shell script of root's, in a mount namespace of its own: every user may open `/dev/fuse` there, which on a new
/// machine root alone may. Nobody else sees it, and nothing of it stays.
pub const EVERYBODY_MAY_OPEN_THE_DEVICE: &str = r#"
    case $(stat -c %a /dev/fuse) in
    *[67]) ;;
    *)
        place=$(mktemp -d)
        mount -t tmpfs -o mode=755 none "$place"
        mknod "$place/fuse" c 10 229 && chmod 666 "$place/fuse" && mount --bind "$place/fuse" /dev/fuse || {
            echo 'users cannot open /dev/fuse, and no other can be made (chmod 666 /dev/fuse)'
            exit 9
        }
        umount "$place"
        rmdir "$place"
        ;;
    esac
"#;

/// A mount that the users of the test can reach. Without root there is one.
pub fn mount() -> Mount {
    let mount = match geteuid().is_root() {
        true => Mount::with(&["--allow-other"]),
        false => Mount::new(),
    };
    mount.open_to_others();
    mount
}

/// Whether the part of a test that takes several users can run; without root the other part has run. A test that has
/// no other part says [`takes_root`].
pub fn others_can_be_tried() -> bool {
    if !geteuid().is_root() {
        eprintln!("not tried: it takes root to be several users");
    }
    geteuid().is_root()
}

/// Makes a namespace with two records that belongs to the owner and the group of the test.
pub fn owned(mount: &Mount, name: &str, mode: u32) -> PathBuf {
    let namespace = mount.path().join(name);
    fs::create_dir(&namespace).unwrap();
    append(&namespace.join("append"), "first\n").unwrap();
    append(&namespace.join("append"), "second\n").unwrap();
    if geteuid().is_root() {
        chown(&namespace, Some(OWNER), Some(GROUP)).unwrap();
    }
    chmod(&namespace, mode);
    namespace
}

#[track_caller]
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// The owner, a member of the group, and somebody else.
pub fn three() -> [User; 3] {
    let mut users = User::all();
    assert_eq!(users.pop().map(|user| user.name), Some("root"));
    users.try_into().ok().unwrap()
}

/// Owner, group and mode of the mount and of each namespace, as a user sees them.
pub fn all_rights(mount: &Mount, user: &mut User) -> Vec<String> {
    let names = fs::read_dir(mount.path()).unwrap();
    let paths = names.map(|e| e.unwrap().path()).chain([mount.path()]);
    let mut all: Vec<String> = paths
        .map(|path| format!("{} {}", path.display(), user.can("stat", &[&path])))
        .collect();
    all.sort();
    all
}

/// What the process does: a call and its arguments in a line, the errno or what it gives back in a line. Paths
/// come as they are; no path of a test has a tab or a newline.
const CALLS: &str = r#"
import os, sys
uid, gid, groups = int(sys.argv[1]), int(sys.argv[2]), [int(g) for g in sys.argv[3].split(',') if g]
if os.geteuid() == 0:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
os.umask(0)
kept = {}

def opened(path, flags):
    os.close(os.open(path, int(flags), 0o666))

def keep(name, path, flags):
    kept[name] = os.open(path, int(flags))

def reopen(name, flags):
    opened(f'/proc/self/fd/{kept[name]}', flags)

def mkdir(path, mode, umask):
    before = os.umask(int(umask))
    try:
        os.mkdir(path, int(mode))
    finally:
        os.umask(before)

def stat(path):
    s = os.stat(path)
    return f'{s.st_uid} {s.st_gid} {s.st_mode & 0o7777:o}'

def write(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)

calls = {
    'open': opened,
    'keep': keep,
    'reopen': reopen,
    'drop': lambda name: os.close(kept.pop(name)),
    'write_kept': lambda name, text: os.write(kept[name], text.encode()) and None,
    'mkdir': mkdir,
    'rmdir': os.rmdir,
    'chmod': lambda path, mode: os.chmod(path, int(mode)),
    'chown': lambda path, uid, gid: os.chown(path, int(uid), int(gid)),
    'list': lambda path: ' '.join(os.listdir(path)),
    'stat': stat,
    'lstat': lambda path: os.lstat(path) and None,
    'statfs': lambda path: os.statvfs(path) and None,
    'write': write,
    'read': lambda path: os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 100).decode(),
    'getxattr': lambda path: os.getxattr(path, 'user.any') and None,
    'setxattr': lambda path: os.setxattr(path, 'user.any', b'x'),
    'truncate': lambda path, size: os.truncate(path, int(size)),
    'utime': lambda path: os.utime(path),
    'unlink': os.unlink,
    'rename': os.rename,
    'link': os.link,
    'symlink': os.symlink,
    'mkfifo': lambda path: os.mkfifo(path, 0o666),
    'chdir': os.chdir,
    'getcwd': os.getcwd,
}
print('ready', flush=True)
for line in sys.stdin:
    call, *arguments = line.rstrip('\n').split('\t')
    try:
        print('=', calls[call](*arguments) or '', flush=True)
    except OSError as e:
        print(e.errno, flush=True)
"#;

/// A user of a mount.
pub struct User {
    pub name: &'static str,
    pub uid: u32,
    process: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl User {
    /// A process with these ids. Without root only the own ones are possible.
    #[track_caller]
    pub fn new(name: &'static str, uid: u32, gid: u32, groups: &[u32]) -> User {
        assert!(
            geteuid().is_root() || uid == geteuid().as_raw(),
            "only root can be another user"
        );
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        let mut process = Command::new("python3")
            .args(["-u", "-c", CALLS])
            .args([uid.to_string(), gid.to_string(), groups.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let calls = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut user = User {
            name,
            uid,
            process,
            calls,
            answers,
        };
        assert_eq!(user.answer(), "ready");
        user
    }

    /// Who runs the test.
    pub fn me() -> User {
        User::new(
            "who runs the test",
            geteuid().as_raw(),
            getegid().as_raw(),
            &[],
        )
    }

    /// The owner, a member of the group, somebody else, and root; without root only who runs the test, in the
    /// role of the owner.
    pub fn all() -> Vec<User> {
        if !geteuid().is_root() {
            eprintln!("other users are not tried: that takes root");
            return vec![User::me()];
        }
        vec![
            User::new("owner", OWNER, OWNER, &[]),
            User::new("member", MEMBER, MEMBER, &[GROUP]),
            User::new("other", OTHER, OTHER, &[]),
            User::new("root", 0, 0, &[]),
        ]
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Makes a call. What it gives back, or its errno.
    #[track_caller]
    pub fn call(&mut self, call: &str, arguments: &[&dyn AsArgument]) -> Result<String, Errno> {
        let mut line = call.to_owned();
        for argument in arguments {
            line.push('\t');
            line.push_str(&argument.argument());
        }
        assert!(!line.contains('\n'));
        writeln!(self.calls, "{line}").unwrap();
        let answer = self.answer();
        if let Some(given) = answer.strip_prefix('=') {
            return Ok(given.trim_start().to_owned());
        }
        let errno = answer.parse();
        Err(Errno::from_raw(errno.unwrap_or_else(|_| {
            panic!("{}: {call} broke off: {answer:?}", self.name)
        })))
    }

    /// Makes a call that has to succeed.
    #[track_caller]
    pub fn can(&mut self, call: &str, arguments: &[&dyn AsArgument]) -> String {
        match self.call(call, arguments) {
            Ok(given) => given,
            Err(errno) => panic!("{}: {call} {}: {errno}", self.name, shown(arguments)),
        }
    }

    /// Makes a call that has to fail, with this error.
    #[track_caller]
    pub fn cannot(&mut self, call: &str, arguments: &[&dyn AsArgument], errno: Errno) {
        let result = self.call(call, arguments);
        assert_eq!(
            result,
            Err(errno),
            "{}: {call} {}",
            self.name,
            shown(arguments)
        );
    }

    /// Opens a file, and closes it.
    #[track_caller]
    pub fn open(&mut self, path: &Path, flags: i32) -> Result<(), Errno> {
        self.call("open", &[&path, &flags]).map(drop)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn shown(arguments: &[&dyn AsArgument]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|a| a.argument()).collect();
    arguments.join(" ")
}

/// What a call can be told.
pub trait AsArgument {
    fn argument(&self) -> String;
}

impl AsArgument for &Path {
    fn argument(&self) -> String {
        self.to_str().unwrap().to_owned()
    }
}

impl AsArgument for PathBuf {
    fn argument(&self) -> String {
        self.as_path().argument()
    }
}

impl AsArgument for &str {
    fn argument(&self) -> String {
        (*self).to_owned()
    }
}

impl AsArgument for i32 {
    fn argument(&self) -> String {
        self.to_string()
    }
}

impl AsArgument for u32 {
    fn argument(&self) -> String {
        self.to_string()
    }
}
