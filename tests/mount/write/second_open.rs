//! One process that has an append file open twice.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{close, dup};
use support::files::frame;
use support::{Mount, eventually, read, shell_ok};

/// What `close(2)` says.
fn closed(file: File) -> Result<(), Errno> {
    close(file.into_raw_fd())
}

// > `close` of an `append-lines` or `append-frames` reports what became of the data written through that open
// > file, also to a process that has opened the file more than once.
#[test]
fn regression_the_first_close_of_two_opens_tells_of_a_frame_without_its_end() {
    for sync in ["1s", "always"] {
        let mount = Mount::with(&["--sync", sync]);
        let open = || mount.appender("append-frames");
        let mut files = [open(), open(), open()];
        files[0].write_all(&frame("first")[..9]).unwrap();
        files[1].write_all(&frame("second")).unwrap();
        files[2].write_all(&frame("third")[..3]).unwrap();
        let [first, second, third] = files;
        // A duplicate is told from another open.
        let duplicate = File::from(dup(&first).unwrap());
        assert_eq!(closed(duplicate), Ok(()));
        assert_eq!(closed(first), Err(Errno::EINVAL));
        assert_eq!(closed(second), Ok(()));
        assert_eq!(closed(third), Err(Errno::EINVAL));
        assert_eq!(mount.count(), 1);
        assert_eq!(read(&mount.file("0")), b"second");
    }
}

#[test]
fn regression_the_first_close_of_two_opens_stores_its_line_or_says_why_not() {
    let mut mount = Mount::idle(&[]);
    mount
        .start_under(&["prlimit", "--fsize=10000", "--"])
        .unwrap();
    // Another thread of the process opens it, too.
    let path = mount.file("append-lines");
    let open = move || File::options().append(true).open(path).unwrap();
    let mut files = [
        mount.appender("append-lines"),
        mount.appender("append-lines"),
        std::thread::spawn(open).join().unwrap(),
    ];
    files[0].write_all(&[b'x'; 20_000]).unwrap();
    files[1].write_all(b"second").unwrap();
    files[2].write_all(&[b'x'; 20_000]).unwrap();
    let [first, second, third] = files;
    assert_eq!(closed(second), Ok(()));
    assert_eq!(mount.count(), 1);
    assert_eq!(closed(third), Err(Errno::EFBIG));
    assert_eq!(closed(first), Err(Errno::EFBIG));
    assert_eq!(mount.count(), 1);
    assert_eq!(read(&mount.file("0")), b"second");
}

#[test]
fn a_second_open_of_a_descriptor_goes_on_where_there_is_no_name_to_look_up() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        exec 3> append-lines
        echo one > /proc/self/fd/3; echo two > /dev/fd/3; printf 'th' >&3; echo four > append-lines; echo ree >&3
        exec 3>&-; cat log"#;
    let said = shell_ok(script, &[&mount.file("")]);
    assert_eq!(said, "one\ntwo\nfour\nthree\n");
}

// > A process that already has `append-lines` or `append-frames` open, and opens it once more, gets another
// > inode number for that open file. All other processes see the number that the name has.
#[test]
fn the_inode_of_a_name_stays_unless_its_process_opens_it_twice() {
    let mount = Mount::new();
    for name in ["append", "append-lines", "append-frames", "log"] {
        let inode = || fs::metadata(mount.file(name)).unwrap().ino();
        let before = inode();
        let first = mount.appender(name);
        assert_eq!(first.metadata().unwrap().ino(), before);
        assert_eq!(inode(), before);
        let script = r#"exec 3>> "$1"; stat -L -c %i /proc/self/fd/3 "$1""#;
        let other = shell_ok(script, &[&mount.file(name)]);
        assert_eq!(other, format!("{before}\n{before}\n"), "{name}");
        let second = mount.appender(name);
        let is_its_own = matches!(name, "append-lines" | "append-frames");
        assert_eq!(second.metadata().unwrap().ino() != before, is_its_own);
        assert_eq!(first.metadata().unwrap().ino(), before);
        assert_eq!(inode(), before);
        drop((first, second));
        eventually("both are closed", || {
            mount.appender(name).metadata().unwrap().ino() == before
        });
    }
}
