//! Nothing is changed: each call that would is refused at once, to root too, and afterwards everything is as
//! it was.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{geteuid, mkfifo, truncate};
use support::files::APPEND_FILES;
use support::{Mount, append, c_path, read, refused, shell};

const RECORDS: &[&[u8]] = &[b"first\n", b"second", b"\0\n\n", b"fourth\n"];
const READ_FILES: &[&str] = &[
    "0",
    "3",
    "4",
    "follow",
    "log",
    "count",
    "frames",
    "follow-frames",
    "from/2",
    "since/1970-01-01T00:00:00Z",
    "log.jsonl",
    "follow.jsonl",
    "stats",
    "../.immuta/metrics",
    "../.immuta/status",
];

/// A mount with records that, when it is dropped, are found unchanged.
struct Unchanged {
    mount: Mount,
    before: Vec<(PathBuf, u64, u32, u64)>,
    log: Vec<u8>,
}

impl Unchanged {
    fn new() -> Unchanged {
        let mount = Mount::new();
        for record in RECORDS {
            mount.append(record);
        }
        fs::create_dir(mount.path().join("empty")).unwrap();
        Unchanged {
            before: tree(&mount),
            log: read(&mount.file("log")),
            mount,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.mount.file(name)
    }

    #[track_caller]
    fn check(&mut self) {
        for _ in 0..2 {
            assert_eq!(tree(&self.mount), self.before);
            for (n, record) in RECORDS.iter().enumerate() {
                assert_eq!(read(&self.file(&n.to_string())), *record);
            }
            assert_eq!(read(&self.file("log")), self.log);
            // The kernel may have kept what a call did; the daemon may have.
            self.mount.restart();
        }
        self.mount.stop_and_verify();
    }
}

/// Every name with its size, mode and owner.
fn tree(mount: &Mount) -> Vec<(PathBuf, u64, u32, u64)> {
    let mut names = Vec::new();
    for directory in [mount.path(), mount.file("")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::metadata(&path).unwrap();
            names.push((path, m.len(), m.mode(), u64::from(m.uid())));
        }
    }
    names.sort();
    names
}

/// What a path-based change of a file is refused with: `log` alone has write permission.
fn not_permitted(name: &str) -> Errno {
    if geteuid().is_root() || name == "log" {
        Errno::EPERM
    } else {
        Errno::EACCES
    }
}

fn call(result: nix::Result<()>) -> io::Result<()> {
    Ok(result?)
}

// > `unlink`, `rename`, `link`, `symlink`, `mknod`, and the creation of any file are EPERM, for root too, unless
// > the kernel reports another error first.
#[test]
fn no_name_is_made_moved_or_removed() {
    let mut kept = Unchanged::new();
    let elsewhere = tempfile::tempdir().unwrap();
    for name in READ_FILES.iter().chain(APPEND_FILES) {
        let path = kept.file(name);
        // Nobody but root may write to `from` and `since`.
        let refusal = match name.contains('/') {
            true => not_permitted(name),
            false => Errno::EPERM,
        };
        refused(fs::remove_file(&path), refusal);
        refused(fs::rename(&path, kept.file("new")), refusal);
        refused(fs::rename(&path, kept.file("1")), refusal);
        let empty = kept.mount.path().join("empty/0");
        refused(fs::rename(&path, empty), refusal);
        refused(fs::hard_link(&path, kept.file("new")), Errno::EPERM);
        // Another file system: the kernel says so itself.
        refused(
            fs::rename(&path, elsewhere.path().join("new")),
            Errno::EXDEV,
        );
    }
    let foreign = elsewhere.path().join("foreign");
    fs::write(&foreign, "foreign").unwrap();
    refused(fs::rename(&foreign, kept.file("0")), Errno::EXDEV);
    refused(
        fs::rename(kept.mount.file(""), kept.mount.path().join("new")),
        Errno::EPERM,
    );
    refused(
        fs::rename(kept.mount.file(""), kept.mount.path().join("empty")),
        Errno::EPERM,
    );
    for directory in [kept.mount.path(), kept.file("")] {
        for name in ["new", "5", ".hidden", "new.tmp"] {
            let path = directory.join(name);
            refused(File::create(&path), Errno::EPERM);
            refused(File::create_new(&path), Errno::EPERM);
            refused(
                OpenOptions::new().append(true).create(true).open(&path),
                Errno::EPERM,
            );
            refused(symlink("0", &path), Errno::EPERM);
            refused(call(mkfifo(&path, Mode::S_IRWXU)), Errno::EPERM);
            let made = mknod(&path, SFlag::S_IFREG, Mode::S_IRWXU, 0);
            refused(call(made), Errno::EPERM);
        }
    }
    refused(File::create_new(kept.file("0")), Errno::EEXIST);
    kept.check();
}

#[test]
fn no_directory_is_made_below_a_namespace_or_removed_with_records_in_it() {
    let mut kept = Unchanged::new();
    refused(fs::create_dir(kept.file("below")), Errno::EPERM);
    refused(fs::create_dir(kept.file("0")), Errno::EEXIST);
    refused(fs::remove_dir(kept.file("")), Errno::ENOTEMPTY);
    refused(fs::remove_dir(kept.file("0")), Errno::ENOTDIR);
    refused(fs::remove_dir(kept.file("below")), Errno::ENOENT);
    refused(fs::remove_dir(kept.mount.path()), Errno::EBUSY);
    kept.check();
}

// > `truncate`, `fallocate`, `chmod`, `chown` and `utimes` of any file are refused, for root too: with EPERM,
// > unless the kernel reports another error first. So is `utimes` of a directory.
#[test]
fn no_size_mode_owner_or_time_is_changed() {
    let mut kept = Unchanged::new();
    for name in READ_FILES {
        let path = kept.file(name);
        let size = fs::metadata(&path).unwrap().len() as i64;
        for length in [0, 1, size, 1 << 40] {
            refused(call(truncate(&path, length)), not_permitted(name));
        }
        // A descriptor that cannot write is refused by the kernel before anybody else is asked.
        let file = File::open(&path).unwrap();
        refused(file.set_len(0), Errno::EINVAL);
        // SAFETY: a call without pointers.
        let failed = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 1) };
        assert_eq!((failed, Errno::last()), (-1, Errno::EBADF));
    }
    for name in APPEND_FILES {
        let path = kept.file(name);
        refused(call(truncate(&path, 1)), Errno::EPERM);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        // SAFETY: a call without pointers.
        let failed = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 1) };
        assert_eq!((failed, Errno::last()), (-1, Errno::EPERM));
    }
    let directories = [kept.mount.path(), kept.file("")];
    let files = READ_FILES.iter().chain(APPEND_FILES).map(|n| kept.file(n));
    for path in files.clone().chain([kept.file("from"), kept.file("since")]) {
        for mode in [0o777, 0o444, 0] {
            refused(
                fs::set_permissions(&path, Permissions::from_mode(mode)),
                Errno::EPERM,
            );
        }
        refused(chown(&path, Some(1), None), Errno::EPERM);
        refused(chown(&path, None, Some(12345)), Errno::EPERM);
    }
    for path in files.chain(directories) {
        let times = [TimeSpec::UTIME_NOW, TimeSpec::new(1, 0)];
        for time in times {
            let follow = UtimensatFlags::FollowSymlink;
            let set = utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, follow);
            refused(call(set), Errno::EPERM);
        }
    }
    kept.check();
}

#[test]
fn no_attribute_and_no_flag_is_set() {
    let mut kept = Unchanged::new();
    for path in [
        kept.file("0"),
        kept.file("log"),
        kept.file(""),
        kept.mount.path(),
    ] {
        let (path, name) = (c_path(&path), c"user.a");
        // SAFETY: both strings end in NUL, and the value is one byte that lives on.
        let failed =
            unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), b"x".as_ptr().cast(), 1, 0) };
        assert_eq!((failed, Errno::last()), (-1, Errno::EPERM));
    }
    let file = File::open(kept.file("0")).unwrap();
    const FS_IMMUTABLE_FL: libc::c_long = 0x10; // linux/fs.h
    let immutable = FS_IMMUTABLE_FL;
    // SAFETY: the flags that the call reads live on.
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &immutable) };
    assert_eq!((failed, Errno::last()), (-1, Errno::ENOTTY));
    kept.check();
}

// > A file that is only read cannot be opened for writing, nor an append file for reading alone: EACCES, for root too.
#[test]
fn bytes_go_one_way_through_each_file() {
    let mut kept = Unchanged::new();
    let open = |name: &str, flags: i32| {
        let access = flags & libc::O_ACCMODE;
        OpenOptions::new()
            .read(access != libc::O_WRONLY)
            .write(access != libc::O_RDONLY)
            .custom_flags(flags & !libc::O_ACCMODE)
            .open(kept.file(name))
    };
    for name in READ_FILES.iter().filter(|name| **name != "log") {
        for flags in [
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_WRONLY | libc::O_TRUNC,
            libc::O_WRONLY | libc::O_APPEND,
            libc::O_RDWR | libc::O_TRUNC | libc::O_CREAT,
            libc::O_RDONLY | libc::O_TRUNC,
            libc::O_WRONLY | libc::O_NONBLOCK,
        ] {
            refused(open(name, flags), Errno::EACCES);
        }
        let mut file = File::open(kept.file(name)).unwrap();
        refused(file.write(b"x"), Errno::EBADF);
    }
    for name in APPEND_FILES {
        for flags in [
            libc::O_RDONLY,
            libc::O_RDONLY | libc::O_TRUNC,
            libc::O_RDONLY | libc::O_CREAT | libc::O_APPEND,
        ] {
            refused(open(name, flags), Errno::EACCES);
        }
        refused(fs::read(kept.file(name)), Errno::EACCES);
    }
    kept.check();
}

// > No file can be mapped for writing.
#[test]
fn no_file_is_mapped_for_writing() {
    let mut kept = Unchanged::new();
    const BYTES: usize = 4096;
    let map = |file: &File, protection: i32, flags: i32| {
        // SAFETY: a new mapping at an address that the kernel chooses.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                protection,
                flags,
                file.as_raw_fd(),
                0,
            )
        }
    };
    for name in READ_FILES {
        let file = File::open(kept.file(name)).unwrap();
        for flags in [libc::MAP_SHARED, libc::MAP_SHARED_VALIDATE] {
            let mapped = map(&file, libc::PROT_READ | libc::PROT_WRITE, flags);
            assert_eq!(mapped, libc::MAP_FAILED, "{name}");
            assert_eq!(Errno::last(), Errno::EACCES);
        }
        // Mapped for reading, where that is possible, it does not become writable.
        let mapped = map(&file, libc::PROT_READ, libc::MAP_SHARED);
        if mapped != libc::MAP_FAILED {
            // SAFETY: the mapping that was just made, with its size.
            let failed =
                unsafe { libc::mprotect(mapped, BYTES, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!((failed, Errno::last()), (-1, Errno::EACCES), "{name}");
            // SAFETY: as above; nothing points into it.
            unsafe { libc::munmap(mapped, BYTES) };
        }
    }
    // A private copy is the process's own.
    let file = File::open(kept.file("0")).unwrap();
    let mapped = map(&file, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    assert_ne!(mapped, libc::MAP_FAILED);
    // SAFETY: a writable mapping of one page, of which the file fills the first bytes.
    unsafe {
        mapped.cast::<u8>().write(b'X');
        libc::munmap(mapped, BYTES);
    }
    for name in APPEND_FILES {
        let file = OpenOptions::new()
            .write(true)
            .open(kept.file(name))
            .unwrap();
        let mapped = map(&file, libc::PROT_WRITE, libc::MAP_SHARED);
        assert_eq!(mapped, libc::MAP_FAILED, "{name}");
        assert_eq!(Errno::last(), Errno::EACCES);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(kept.file(name))
            .unwrap();
        for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE] {
            let mapped = map(&file, protection, libc::MAP_SHARED);
            assert_eq!(mapped, libc::MAP_FAILED, "{name}");
            assert_eq!(Errno::last(), Errno::ENODEV);
        }
    }
    kept.check();
}

#[test]
fn the_tools_that_change_files_fail_and_change_nothing() {
    let mut kept = Unchanged::new();
    let script = r#"
        cd "$1" || exit 9
        refuse() { if "$@" > "$2/out" 2>&1; then echo "not refused: $*"; fi; }
        for f in 0 1 log follow count log.jsonl ../.immuta/status; do
            for command in "cp $2/x $f" "cp -f $2/x $f" "mv $2/x $f" "mv $f new" "rm -f $f" "unlink $f" "ln $f new" \
                "ln -s $f new" "sed -i s/first/other/ $f" "dd of=$f if=$2/x" "dd of=$f if=$2/x conv=notrunc" \
                "truncate -s 0 $f" "chmod 777 $f" "chown 1 $f" "touch $f" "shred -n 1 $f" "install $2/x $f" \
                "fallocate -l 10 $f" "tee $f" "chattr +i $f"
            do
                if $command < /dev/null > "$2/out" 2>&1; then echo "not refused: $command"; fi
            done
            if (echo x > $f) 2> "$2/out"; then echo "not refused: > $f"; fi
            if [ $f != log ] && (echo x >> $f) 2> "$2/out"; then echo "not refused: >> $f"; fi
        done
        for command in "touch new" "mkdir new" "mkfifo new" "ln -s / new" "cp $2/x ." "rm -rf ../default" "rmdir ../default" \
            "mv ../default ../new" "chmod 700 from" "chmod -R 755 ." "tar -xf $2/x.tar"
        do
            if $command > "$2/out" 2>&1; then echo "not refused: $command"; fi
        done
        ls "$2""#;
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join("x");
    fs::write(&outside, "outside\n").unwrap();
    let archived = shell("cd \"$1\" && tar -cf x.tar x", &[&elsewhere.path()]);
    assert!(archived.status.success());
    let output = shell(script, &[&kept.file(""), &elsewhere.path()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said,
        "out\nx\nx.tar\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read(&outside).unwrap(), b"outside\n");
    kept.check();
}

// > A record that has been read once reads the same for ever, also after a remount and after the daemon was
// > killed.
#[test]
fn a_record_reads_the_same_after_more_appends_a_remount_and_a_kill() {
    let mut mount = Mount::new();
    let mut records = Vec::new();
    for round in 0..3 {
        for i in 0..20 {
            let record = format!("round {round} record {i}");
            append(&mount.file("append"), &record).unwrap();
            records.push(record);
        }
        match round {
            0 => mount.restart(),
            1 => {
                mount.kill();
                mount.start();
            }
            _ => {}
        }
        for (n, record) in records.iter().enumerate() {
            assert_eq!(read(&mount.file(&n.to_string())), record.as_bytes());
        }
        assert_eq!(mount.count(), records.len() as u64);
    }
}
