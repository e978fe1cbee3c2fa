//! The table of docs/semantics.md, "Every file, in one table": each way of opening that it names is tried.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use support::Mount;

/// What opening has to give with these flags, and with O_APPEND beside them, by the words of the table.
fn expected(cell: &str) -> (Result<(), Errno>, Result<(), Errno>) {
    match cell {
        "yes" => (Ok(()), Ok(())),
        "-" => (Err(Errno::EACCES), Err(Errno::EACCES)),
        "with O_APPEND; else EPERM" => (Err(Errno::EPERM), Ok(())),
        other => panic!("the table says {other:?}"),
    }
}

#[test]
fn every_file_opens_as_the_table_says() {
    let semantics = include_str!("../../../docs/semantics.md");
    let (_, table) = semantics.split_once("## Every file, in one table").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut mount = Mount::idle(&[]);
    std::fs::create_dir_all(mount.logs()).unwrap();
    std::fs::write(mount.logs().join("broken.log"), "no format is that").unwrap();
    mount.start();
    std::fs::create_dir(mount.path().join("default")).unwrap();
    mount.append("a record");
    let mut seen = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // Names in code quotes; `...` and what stands for any name are told by an example.
        for name in cells[1].split('`').skip(1).step_by(2) {
            let name = match name {
                "from/N" => "from/0",
                "since/TIME" => "since/1d",
                "2" => continue, // Not written, nor next.
                ".immuta/*" => "../.immuta/status",
                "error" => "../broken/error",
                name => name,
            };
            let ways = [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR];
            for (way, cell) in ways.into_iter().zip(&cells[2..5]) {
                let (plain, appending) = expected(cell);
                for (flags, expected) in [(way, plain), (way | OFlag::O_APPEND, appending)] {
                    let opened = open(&mount.file(name), flags, Mode::empty()).map(drop);
                    assert_eq!(opened, expected, "{name}, {flags:?}");
                }
            }
            seen.push(name);
        }
    }
    for name in support::names(&mount.file("")) {
        let directory = ["from", "since"].contains(&name.as_str());
        assert!(
            directory || seen.contains(&name.as_str()),
            "{name} is not in the table"
        );
    }
}

// > A file has no attributes as `lsattr` shows them: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS are ENOTTY on each, the append files included.
#[test]
fn no_file_has_attributes() {
    let mount = Mount::new();
    mount.append("x\n");
    let files = [
        "append",
        "append-lines",
        "append-frames",
        "append-file",
        "log",
        "follow",
        "count",
        "0",
        "frames",
        "",
    ];
    for name in files {
        let writes = name.starts_with("append");
        let file = std::fs::File::options()
            .read(!writes)
            .append(writes)
            .open(mount.file(name))
            .unwrap();
        for request in [libc::FS_IOC_GETFLAGS, libc::FS_IOC_SETFLAGS] {
            let mut flags: libc::c_long = 0;
            // SAFETY: the kernel reads or writes no more than `flags`.
            let failed = unsafe { libc::ioctl(file.as_raw_fd(), request, &mut flags) };
            assert_eq!((failed, Errno::last()), (-1, Errno::ENOTTY), "{name}");
        }
    }
}
