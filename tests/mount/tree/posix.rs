//! What POSIX says of names and calls, family by family as pjdfstest has them, as far as this tree has what they
//! are about: docs/posix.md says which, and why not the others.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, access, mkfifo, truncate};
use support::users::{OTHER, chmod, mount, takes_root};
use support::{Mount, append, c_path, names, read, refused, shell_ok};

/// A mount whose namespace `default` has three records, and a namespace `empty`; with a directory elsewhere.
struct Tree {
    mount: Mount,
    elsewhere: tempfile::TempDir,
}

impl Tree {
    fn new() -> Tree {
        let tree = Tree {
            mount: mount(),
            elsewhere: tempfile::tempdir().unwrap(),
        };
        for record in ["zero\n", "one\n", "two\n"] {
            tree.mount.append(record);
        }
        fs::create_dir(tree.root("empty")).unwrap();
        fs::write(tree.elsewhere.path().join("file"), "elsewhere").unwrap();
        tree
    }

    fn root(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.mount.file(name)
    }

    /// One of each kind of file.
    fn files(&self) -> [PathBuf; 9] {
        [
            "append",
            "append-lines",
            "follow",
            "log",
            "0",
            "from/0",
            "since/1h",
            "log.jsonl",
            "../.immuta/status",
        ]
        .map(|name| self.file(name))
    }

    /// One of each kind of directory.
    fn directories(&self) -> [PathBuf; 5] {
        [
            self.mount.path(),
            self.root("default"),
            self.file("from"),
            self.file("since"),
            self.root(".immuta"),
        ]
    }
}

impl Drop for Tree {
    /// Whatever was tried, it is as it was.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(read(&self.file("log")), b"zero\none\ntwo\n");
            let expected = [".immuta", "default", "empty"].map(str::to_owned);
            assert_eq!(names(&self.mount.path()), expected.into());
        }
    }
}

type Result = std::result::Result<(), Errno>;

/// A call that takes a path, with its name.
type Call = (&'static str, fn(&Path) -> Result);

fn errno(result: std::io::Result<()>) -> Result {
    result.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap()))
}

fn open(path: &Path, flags: i32) -> Result {
    // Through libc: the standard library refuses some combinations itself.
    let path = c_path(path);
    // SAFETY: a string that ends in NUL, and a descriptor that nobody else knows.
    Errno::result(unsafe { libc::open(path.as_ptr(), flags | libc::O_NONBLOCK, 0o666) }).map(|fd| {
        // SAFETY: see above.
        unsafe { libc::close(fd) };
    })
}

/// Calls about what is there.
const LOOKING: &[Call] = &[
    ("open", |path| open(path, libc::O_RDONLY)),
    ("stat", |path| errno(fs::metadata(path).map(drop))),
    ("lstat", |path| errno(fs::symlink_metadata(path).map(drop))),
    ("access", |path| access(path, AccessFlags::F_OK)),
    ("opendir", |path| errno(fs::read_dir(path).map(drop))),
    ("statfs", |path| nix::sys::statvfs::statvfs(path).map(drop)),
    ("execve", |path| {
        errno(Command::new(path).spawn().map(|mut child| {
            child.wait().unwrap();
        }))
    }),
];

/// Calls that change what is there, or would.
const CHANGING: &[Call] = &[
    ("open for writing", |path| open(path, libc::O_WRONLY)),
    ("truncate", |path| truncate(path, 0)),
    ("chmod", |path| {
        errno(fs::set_permissions(
            path,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        ))
    }),
    ("chown", |path| {
        errno(std::os::unix::fs::chown(
            path,
            Some(nix::unistd::geteuid().as_raw()),
            None,
        ))
    }),
    ("lchown", |path| {
        errno(std::os::unix::fs::lchown(
            path,
            Some(nix::unistd::geteuid().as_raw()),
            None,
        ))
    }),
    ("utimensat", |path| {
        let now = TimeSpec::UTIME_NOW;
        let follow = UtimensatFlags::FollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, path, &now, &now, follow)
    }),
];

/// Calls that take a name away, or would.
const REMOVING: &[Call] = &[
    ("unlink", |path| errno(fs::remove_file(path))),
    ("rmdir", |path| errno(fs::remove_dir(path))),
    ("rename from", |path| {
        errno(fs::rename(path, path.with_file_name("renamed")))
    }),
    ("link from", |path| {
        errno(fs::hard_link(path, path.with_file_name("linked")))
    }),
];

/// Calls that make a name, or would.
const MAKING: &[Call] = &[
    ("mkdir", |path| errno(fs::create_dir(path))),
    ("mkfifo", |path| mkfifo(path, Mode::S_IRWXU)),
    ("mknod", |path| {
        mknod(path, SFlag::S_IFREG, Mode::S_IRWXU, 0)
    }),
    ("symlink", |path| errno(symlink("target", path))),
    ("bind", |path| match path.as_os_str().len() {
        // An address of a socket holds no longer path, and an empty one means something else.
        0 | 108.. => mknod(path, SFlag::S_IFSOCK, Mode::S_IRWXU, 0),
        _ => match errno(UnixListener::bind(path).map(drop)) {
            Err(Errno::EADDRINUSE) => Err(Errno::EEXIST),
            other => other,
        },
    }),
    ("open to create", |path| {
        open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
    }),
];

fn all() -> impl Iterator<Item = &'static Call> {
    LOOKING.iter().chain(CHANGING).chain(REMOVING).chain(MAKING)
}

#[track_caller]
fn each<'a>(calls: impl IntoIterator<Item = &'a Call>, path: &Path, expected: Errno) {
    for (name, call) in calls {
        let shown: String = path.to_string_lossy().chars().rev().take(80).collect();
        let shown: String = shown.chars().rev().collect();
        assert_eq!(call(path), Err(expected), "{name} of ...{shown}");
    }
}

/// What a change of names is refused with in a directory: in one that may not be written to, the kernel says so first.
/// Root may write to all.
fn in_directory(directory: &Path, refusal: Errno) -> Errno {
    let closed = ["from", "since", ".immuta"];
    let closed = closed.iter().any(|name| directory.ends_with(name));
    match closed && !nix::unistd::geteuid().is_root() {
        true => Errno::EACCES,
        false => refusal,
    }
}

// ENOTDIR: */01, rename/12, rename/13, rmdir/01
#[test]
fn a_way_through_a_file_is_enotdir() {
    let tree = Tree::new();
    for file in tree.files() {
        each(all(), &file.join("x"), Errno::ENOTDIR);
        each(all(), &file.join("x/y"), Errno::ENOTDIR);
        // Called a directory, it is none.
        assert_eq!(open(&file.join(""), libc::O_RDONLY), Err(Errno::ENOTDIR));
        assert_eq!(
            open(&file, libc::O_RDONLY | libc::O_DIRECTORY),
            Err(Errno::ENOTDIR)
        );
        let not_a_directory = in_directory(file.parent().unwrap(), Errno::ENOTDIR);
        refused(fs::remove_dir(&file), not_a_directory);
        refused(fs::rename(tree.root("empty"), &file), not_a_directory);
        refused(fs::rename(&file, tree.file("0/x")), Errno::ENOTDIR);
        refused(fs::hard_link(&file, tree.file("0/x")), Errno::ENOTDIR);
    }
}

// ENAMETOOLONG: */02, */03, rename/01, rename/02
#[test]
fn a_name_or_path_that_is_too_long_is_enametoolong() {
    let tree = Tree::new();
    let name_max = nix::sys::statvfs::statvfs(&tree.mount.path())
        .unwrap()
        .name_max() as usize;
    for directory in tree.directories() {
        for length in [name_max + 1, 255, 256, 1000] {
            let name = "x".repeat(length);
            each(all(), &directory.join(&name), Errno::ENAMETOOLONG);
            each(all(), &directory.join(&name).join("y"), Errno::ENAMETOOLONG);
            refused(
                fs::rename(tree.file("0"), directory.join(&name)),
                Errno::ENAMETOOLONG,
            );
            refused(
                fs::hard_link(tree.file("0"), directory.join(&name)),
                Errno::ENAMETOOLONG,
            );
        }
        let longest = directory.join("x".repeat(name_max));
        each(LOOKING, &longest, Errno::ENOENT);
    }
    // The longest that can be made.
    let longest = tree.root(&"x".repeat(name_max));
    fs::create_dir(&longest).unwrap();
    fs::metadata(longest.join("log")).unwrap();
    fs::remove_dir(&longest).unwrap();

    let path = |bytes: usize| {
        let (base, name) = (tree.file(""), "log");
        let base = base.to_str().unwrap().trim_end_matches('/');
        let mut path = base.to_owned();
        while path.len() + name.len() + 3 <= bytes {
            path.push_str("/.");
        }
        while path.len() + name.len() < bytes {
            path.push('/');
        }
        PathBuf::from(path + name)
    };
    // With the NUL at its end, PATH_MAX bytes.
    let (fits, too_long) = (
        path(libc::PATH_MAX as usize - 1),
        path(libc::PATH_MAX as usize),
    );
    assert_eq!(fs::read(fits).unwrap(), b"zero\none\ntwo\n");
    each(all(), &too_long, Errno::ENAMETOOLONG);
    refused(fs::rename(tree.file("0"), &too_long), Errno::ENAMETOOLONG);
    refused(
        fs::hard_link(tree.file("0"), &too_long),
        Errno::ENAMETOOLONG,
    );
}

// ENOENT: */04, link/09, rename/03
#[test]
fn what_is_not_there_is_enoent() {
    let tree = Tree::new();
    let missing = [
        tree.root("none"),
        tree.file("none"),
        tree.file("4"),
        tree.file("from/none"),
        tree.file("since/none"),
        tree.root("empty/1"),
    ];
    for path in missing {
        each(
            LOOKING.iter().chain(CHANGING).chain(REMOVING),
            &path,
            Errno::ENOENT,
        );
        each(all(), &path.join("x"), Errno::ENOENT);
        refused(fs::rename(tree.file("0"), path.join("x")), Errno::ENOENT);
        refused(fs::hard_link(tree.file("0"), path.join("x")), Errno::ENOENT);
    }
    each(all(), Path::new(""), Errno::ENOENT);
}

// ELOOP: chmod/06 and its like in each family. The tree has no links: the loop is outside of it.
#[test]
fn a_loop_of_links_behind_the_mount_is_eloop() {
    let tree = Tree::new();
    let elsewhere = tree.elsewhere.path();
    symlink(elsewhere.join("b"), elsewhere.join("a")).unwrap();
    symlink(elsewhere.join("a"), elsewhere.join("b")).unwrap();
    // Into the mount, out of it, and round.
    let name = elsewhere.file_name().unwrap();
    let up = tree
        .mount
        .path()
        .ancestors()
        .skip(1)
        .map(|_| "..")
        .collect::<PathBuf>();
    let through = tree
        .root("default")
        .join("..")
        .join(&up)
        .join(elsewhere.strip_prefix("/").unwrap());
    assert_eq!(fs::canonicalize(&through).unwrap().file_name(), Some(name));
    each(all(), &through.join("a/x"), Errno::ELOOP);
    // A link into the tree is followed, unless that is not wanted.
    let link = elsewhere.join("link");
    symlink(tree.file("log"), &link).unwrap();
    assert_eq!(read(&link), b"zero\none\ntwo\n");
    assert_eq!(
        open(&link, libc::O_RDONLY | libc::O_NOFOLLOW),
        Err(Errno::ELOOP)
    );
    assert_eq!(
        open(&tree.file("log"), libc::O_RDONLY | libc::O_NOFOLLOW),
        Ok(())
    );
}

/// Runs on a thread of another user; without root, of the same.
fn as_other(work: impl FnOnce() + Send) {
    let is_root = nix::unistd::geteuid().is_root();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_root {
                let id = libc::c_long::from(OTHER);
                // The calls themselves, since the C library's are for the whole process.
                // SAFETY: no pointer but that to no groups at all.
                let failed = unsafe {
                    libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>())
                        | libc::syscall(libc::SYS_setresgid, id, id, id)
                        | libc::syscall(libc::SYS_setresuid, id, id, id)
                };
                assert_eq!(failed, 0);
            }
            work();
        });
    });
}

// EACCES: */05, */06, */07, mkdir/06, rename/04, rename/05, rmdir/07, rmdir/08, unlink/06 ...
#[test]
fn who_may_not_search_or_write_a_directory_gets_eacces() {
    let tree = Tree::new();
    for (directory, below) in [
        (tree.mount.path(), tree.file("log")),
        (tree.mount.path(), tree.root("empty")),
        (tree.file(""), tree.file("log")),
        (tree.file(""), tree.file("from/0")),
        (tree.file(""), tree.file("none")),
    ] {
        // Others' bits, and without root, when that is the owner, the owner's.
        chmod(&directory, 0o666);
        as_other(|| each(all(), &below, Errno::EACCES));
        chmod(&directory, 0o755);
    }
    for (directory, old, new) in [
        (tree.mount.path(), tree.root("empty"), tree.root("new")),
        (tree.file(""), tree.file("0"), tree.file("new")),
        (tree.file(""), tree.file("from"), tree.file("new")),
    ] {
        chmod(&directory, 0o555);
        as_other(|| {
            each(MAKING, &new, Errno::EACCES);
            for (name, call) in REMOVING {
                let result = call(&old);
                // Whose file it is not, Linux lets link nowhere (fs.protected_hardlinks), and nobody a directory.
                let unlinkable = *name == "link from" && result == Err(Errno::EPERM);
                assert!(
                    unlinkable || result == Err(Errno::EACCES),
                    "{name} {}",
                    old.display()
                );
            }
        });
        chmod(&directory, 0o755);
    }
}

// EEXIST: link/10, mkdir/10, mkfifo/09, mknod/08, open/22, symlink/08
#[test]
fn a_name_that_is_taken_is_eexist() {
    let tree = Tree::new();
    for path in tree.files().iter().chain(&tree.directories()) {
        each(MAKING, path, Errno::EEXIST);
        refused(fs::hard_link(tree.file("1"), path), Errno::EEXIST);
    }
    // The next record has a name, too.
    each(MAKING, &tree.file("3"), Errno::EEXIST);
    // What may be there, is.
    assert_eq!(
        open(&tree.file("log"), libc::O_RDONLY | libc::O_CREAT),
        Ok(())
    );
    assert_eq!(
        open(&tree.file("append"), libc::O_WRONLY | libc::O_CREAT),
        Ok(())
    );
}

// EISDIR, ENOTEMPTY, EBUSY, EINVAL: ftruncate/09, truncate/09, open/13, rename/14, rename/18, rename/19, rename/20,
// rmdir/06, rmdir/12, rmdir/13, unlink/08
#[test]
fn a_directory_is_no_file_and_is_not_moved_or_removed() {
    let tree = Tree::new();
    for directory in tree.directories() {
        for flags in [
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_RDONLY | libc::O_TRUNC,
            libc::O_CREAT,
        ] {
            assert_eq!(
                open(&directory, flags),
                Err(Errno::EISDIR),
                "{flags:o} {directory:?}"
            );
        }
        refused(errno_of(truncate(&directory, 0)), Errno::EISDIR);
        let listed = File::open(&directory).unwrap();
        refused(listed.set_len(0), Errno::EINVAL);
        refused((&listed).read(&mut [0; 8]), Errno::EISDIR);
        refused(fs::remove_dir(directory.join(".")), Errno::EINVAL);
        refused(fs::remove_dir(directory.join("x/..")), Errno::ENOENT);
    }
    for (directory, is) in [
        (tree.mount.path(), Errno::EBUSY),
        (tree.file(""), Errno::ENOTEMPTY),
        (tree.file("from"), Errno::EPERM),
        (tree.file("from/.."), Errno::ENOTEMPTY),
        (tree.root("default/.."), Errno::ENOTEMPTY),
    ] {
        refused(fs::remove_dir(directory), is);
    }
    for directory in [tree.root("default"), tree.file("from"), tree.root("empty")] {
        refused(fs::remove_file(&directory), Errno::EISDIR);
        let file = match directory.ends_with("empty") {
            true => tree.file("0"),
            false => tree.root("empty/log"),
        };
        refused(fs::rename(file, &directory), Errno::EISDIR);
        refused(fs::hard_link(&directory, tree.root("new")), Errno::EPERM);
    }
    let default = tree.root("default");
    refused(fs::rename(&default, default.join("into")), Errno::EINVAL);
    refused(fs::rename(&default, default.join("0/into")), Errno::ENOTDIR);
    refused(fs::rename(tree.root("empty"), &default), Errno::EPERM);
    for dots in [".", ".."] {
        refused(
            fs::rename(default.join(dots), tree.root("new")),
            Errno::EBUSY,
        );
        refused(
            fs::rename(tree.root("empty"), default.join(dots)),
            Errno::EBUSY,
        );
    }
    // Onto itself is no change.
    fs::rename(tree.file("0"), tree.file("0")).unwrap();
}

fn errno_of(result: Result) -> std::io::Result<()> {
    Ok(result?)
}

// EXDEV: link/14, rename/15. EPERM where POSIX would do it: link/00, rename/00, unlink/00, symlink/00, mknod/00, mknod/11,
// mkfifo/00, open/00 (O_CREAT), open/24
#[test]
fn no_name_goes_to_another_file_system_or_comes_from_one_and_none_is_made() {
    let tree = Tree::new();
    let (mine, foreign) = (
        tree.elsewhere.path().join("new"),
        tree.elsewhere.path().join("file"),
    );
    for file in tree.files() {
        refused(fs::rename(&file, &mine), Errno::EXDEV);
        refused(fs::hard_link(&file, &mine), Errno::EXDEV);
        refused(fs::rename(&foreign, &file), Errno::EXDEV);
    }
    for directory in tree.directories() {
        refused(fs::rename(&foreign, directory.join("new")), Errno::EXDEV);
        refused(fs::hard_link(&foreign, directory.join("new")), Errno::EXDEV);
        let makes_a_namespace = directory == tree.mount.path();
        let making = MAKING
            .iter()
            .filter(|(name, _)| !(makes_a_namespace && *name == "mkdir"));
        let refusal = in_directory(&directory, Errno::EPERM);
        each(making, &directory.join("new"), refusal);
    }
    if nix::unistd::geteuid().is_root() {
        for kind in [SFlag::S_IFCHR, SFlag::S_IFBLK] {
            let made = mknod(
                &tree.file("new"),
                kind,
                Mode::S_IRWXU,
                nix::sys::stat::makedev(1, 3),
            );
            assert_eq!(made, Err(Errno::EPERM));
        }
    }
    for (name, call) in REMOVING {
        for path in [tree.file("0"), tree.file("append"), tree.file("log")] {
            let expected = match *name {
                "rmdir" => Errno::ENOTDIR,
                _ => Errno::EPERM,
            };
            assert_eq!(call(&path), Err(expected), "{name}");
        }
    }
    let unnamed = open(&tree.file(""), libc::O_TMPFILE | libc::O_WRONLY);
    assert_eq!(unnamed, Err(Errno::EOPNOTSUPP));
}

// EINVAL, EFBIG, EPERM: ftruncate/00, 08, 12, 13, truncate/00, 08, 12, 13, posix_fallocate/00, open/20 (ETXTBSY), open/23,
// open/25
#[test]
fn no_length_is_set() {
    let tree = Tree::new();
    for file in tree.files() {
        assert_eq!(truncate(&file, -1), Err(Errno::EINVAL));
        let refusal = match (
            nix::unistd::geteuid().is_root(),
            fs::metadata(&file).unwrap().mode() & 0o200,
        ) {
            (false, 0) => Errno::EACCES,
            _ => Errno::EPERM,
        };
        for length in [1, 1 << 31, 1 << 40, i64::MAX] {
            assert_eq!(truncate(&file, length), Err(refusal), "{length}");
        }
        // Both ways at once, or neither: what is asked for is not allowed, or it is an ordinary open.
        let neither = open(&file, libc::O_ACCMODE);
        assert!(
            matches!(neither, Ok(()) | Err(Errno::EACCES | Errno::EINVAL)),
            "{neither:?}"
        );
        // Nothing here is a program.
        refused(Command::new(&file).spawn().map(drop), Errno::EACCES);
    }
    for name in ["append", "append-lines"] {
        let file = File::options().write(true).open(tree.file(name)).unwrap();
        for length in [1, 1 << 40] {
            refused(file.set_len(length), Errno::EPERM);
        }
        file.set_len(0).unwrap();
        assert_eq!(nix::unistd::ftruncate(&file, -1), Err(Errno::EINVAL));
        // SAFETY: a call without pointers.
        let failed = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 8) };
        assert_eq!(Errno::from_raw(failed), Errno::EPERM);
        refused(file.write_at(b"x", 1 << 40), Errno::ESPIPE);
    }
    let log = File::open(tree.file("log")).unwrap();
    refused(log.set_len(0), Errno::EINVAL);
    assert_eq!(log.read_at(&mut [0; 8], 1 << 40).unwrap(), 0);
}

// EFAULT: */10 to */21
#[test]
fn a_pointer_to_nowhere_is_efault_and_stores_nothing() {
    let tree = Tree::new();
    let nowhere = std::ptr::dangling::<libc::c_char>();
    let into = c_path(&tree.file("0"));
    // SAFETY: the kernel looks at no path that the process cannot read: that is what is tried.
    let results = unsafe {
        [
            libc::open(nowhere, libc::O_RDONLY),
            libc::mkdir(nowhere, 0o777),
            libc::rmdir(nowhere),
            libc::unlink(nowhere),
            libc::chmod(nowhere, 0o777),
            libc::chown(nowhere, 0, 0),
            libc::truncate(nowhere, 0),
            libc::mkfifo(nowhere, 0o777),
            libc::symlink(nowhere, into.as_ptr()),
            libc::link(into.as_ptr(), nowhere),
            libc::rename(into.as_ptr(), nowhere),
            libc::rename(nowhere, into.as_ptr()),
        ]
    };
    assert_eq!(results, [-1; 12]);
    assert_eq!(Errno::last(), Errno::EFAULT);

    let append = File::options()
        .write(true)
        .open(tree.file("append"))
        .unwrap();
    // SAFETY: as above.
    let written = unsafe { libc::write(append.as_raw_fd(), nowhere.cast(), 8) };
    assert_eq!((written, Errno::last()), (-1, Errno::EFAULT));
    for name in ["follow", "log", "0", "count"] {
        let file = File::open(tree.file(name)).unwrap();
        // SAFETY: as above.
        let got = unsafe { libc::read(file.as_raw_fd(), nowhere.cast_mut().cast(), 8) };
        assert_eq!((got, Errno::last()), (-1, Errno::EFAULT), "{name}");
    }
}

// utimensat/00 to 09
#[test]
fn no_time_is_set() {
    let tree = Tree::new();
    let set = |path: &Path, atime: TimeSpec, mtime: TimeSpec| {
        let follow = UtimensatFlags::FollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, path, &atime, &mtime, follow)
    };
    let (now, omit) = (TimeSpec::UTIME_NOW, TimeSpec::UTIME_OMIT);
    let times = [TimeSpec::new(1, 0), TimeSpec::new(1 << 33, 123_456_789)];
    for path in tree.files().iter().chain(&tree.directories()) {
        let before = fs::metadata(path).unwrap();
        // Nothing to do is no error.
        assert_eq!(set(path, omit, omit), Ok(()));
        assert_eq!(
            set(path, TimeSpec::new(0, 1_000_000_000), now),
            Err(Errno::EINVAL)
        );
        for (atime, mtime) in [
            (now, now),
            (now, omit),
            (omit, now),
            (times[0], times[1]),
            (omit, times[0]),
        ] {
            assert_eq!(set(path, atime, mtime), Err(Errno::EPERM), "{path:?}");
        }
        if nix::unistd::geteuid().is_root() {
            as_other(|| {
                for (atime, mtime) in [(times[0], times[1]), (omit, now)] {
                    assert_eq!(set(path, atime, mtime), Err(Errno::EPERM), "{path:?}");
                }
                // To say "now", write permission is enough.
                assert_eq!(set(path, now, now), Err(Errno::EACCES), "{path:?}");
            });
        }
        let after = fs::metadata(path).unwrap();
        // A directory's time follows the appends, a second late at most, and what tells of the mount is of now.
        if before.is_file() && !path.ends_with("status") {
            assert_eq!(
                after.modified().unwrap(),
                before.modified().unwrap(),
                "{path:?}"
            );
        }
        assert!(
            times.iter().all(|time| time.tv_sec() != after.mtime()),
            "{path:?}"
        );
    }
}

#[test]
fn a_time_is_not_set_through_a_link_either() {
    let tree = Tree::new();
    let link = tree.elsewhere.path().join("link");
    symlink(tree.file("log"), &link).unwrap();
    let time = TimeSpec::new(1, 0);
    let set = |flag| utimensat(nix::fcntl::AT_FDCWD, &link, &time, &time, flag);
    assert_eq!(set(UtimensatFlags::FollowSymlink), Err(Errno::EPERM));
    // The link itself is the other file system's.
    assert_eq!(set(UtimensatFlags::NoFollowSymlink), Ok(()));
}

// > The modification time of the mount's root is when a namespace was last made or removed. `chmod` and `chown`
// > of a namespace change its change time (`st_ctime`) and that of its files.
// chmod/00, chown/00, mkdir/00, rmdir/00
#[test]
fn times_tell_of_names_and_of_rights() {
    let mut tree = Tree::new();
    let changed = |path: &Path| {
        let m = fs::metadata(path).unwrap();
        SystemTime::UNIX_EPOCH + Duration::new(m.ctime() as u64, m.ctime_nsec() as u32)
    };
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let new = tree.root("new");
    let root = tree.mount.path();
    let begun = SystemTime::now();
    fs::create_dir(&new).unwrap();
    let made = modified(&root);
    assert!(made >= begun && changed(&root) >= begun);
    assert!(changed(&new) >= begun);

    let (dir, mut files) = (tree.file(""), tree.files().to_vec());
    files.retain(|file| !file.ends_with("status"));
    let before = SystemTime::now();
    assert!(changed(&dir) < before);
    let times: Vec<_> = files.iter().map(|file| modified(file)).collect();
    chmod(&dir, 0o750);
    for path in files.iter().chain([&dir]) {
        assert!(changed(path) >= before, "{path:?}");
    }
    // What is in them has not changed; nor has the root.
    assert_eq!(
        files.iter().map(|file| modified(file)).collect::<Vec<_>>(),
        times
    );
    assert_eq!(modified(&root), made);
    let before = SystemTime::now();
    std::os::unix::fs::chown(&dir, None, Some(nix::unistd::getegid().as_raw())).unwrap();
    chmod(&root, 0o711);
    assert!(changed(&root) >= before);
    // A refusal changes nothing.
    let at = changed(&dir);
    if nix::unistd::geteuid().is_root() {
        as_other(|| {
            refused(
                fs::set_permissions(&dir, fs::metadata(&dir).unwrap().permissions()),
                Errno::EPERM,
            )
        });
    }
    for file in &files {
        assert!(CHANGING[2].1(file).is_err());
    }
    assert_eq!(changed(&dir), at);
    let [dir_before, root_before] = [changed(&dir), changed(&root)];
    tree.mount.restart();
    assert_eq!(changed(&dir), dir_before);
    assert!(changed(&root) >= root_before);
    let before = SystemTime::now();
    fs::remove_dir(&new).unwrap();
    assert!(modified(&root) >= before);
    chmod(&dir, 0o755);
    chmod(&root, 0o755);
}

/// A disk with so few free inodes, where the logs are. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: &Path, inodes: u32) -> SmallDisk {
        fs::create_dir(path).unwrap();
        let script = r#"mount -t tmpfs -o "nr_inodes=$2" small "$1""#;
        shell_ok(script, &[&path, &inodes.to_string()]);
        SmallDisk(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// ENOSPC: mkdir/11
#[test]
fn a_namespace_for_which_the_disk_has_no_inode_is_enospc_and_leaves_nothing() {
    takes_root("somebody has to mount a small disk");
    for inodes in 8..16 {
        let mut mount = Mount::idle(&[]);
        let _disk = SmallDisk::new(&mount.logs(), inodes);
        mount.start();
        let names = |mount: &Mount| names(&mount.logs()).len();
        let mut made = 0;
        let mut before;
        loop {
            before = names(&mount);
            match fs::create_dir(mount.path().join(format!("n{made}"))) {
                Ok(()) => made += 1,
                full => break refused(full, Errno::ENOSPC),
            }
        }
        assert_eq!(names(&mount), before, "{made} made of {inodes} inodes");
        // Records still go where they went, and room makes room.
        mount.append("x");
        fs::remove_dir(mount.path().join(format!("n{}", made - 1))).unwrap();
        fs::create_dir(mount.path().join("again")).unwrap();
        append(&mount.path().join("again/append"), "y").unwrap();
        mount.stop_and_verify();
    }
}

// rmdir/00, unlink/14: what is open when its namespace goes
#[test]
fn what_is_open_when_its_namespace_goes_is_at_its_end() {
    let tree = Tree::new();
    let new = tree.root("new");
    fs::create_dir(&new).unwrap();
    let mut follow = File::open(new.join("follow")).unwrap();
    let mut log = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(new.join("log"))
        .unwrap();
    let directory = File::open(&new).unwrap();
    fs::remove_dir(&new).unwrap();
    let mut text = String::new();
    assert_eq!(follow.read_to_string(&mut text).unwrap(), 0);
    assert_eq!(log.read_to_string(&mut text).unwrap(), 0);
    refused(fs::metadata(&new), Errno::ENOENT);
    drop(directory);
}
