//! What the system does to a daemon: signals, and the limits of its process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Disk, Mount, Reader, append, eventually, names, read, refused, shell_ok, wait};

/// > A write beyond the largest file that the daemon may write (RLIMIT_FSIZE) is EFBIG and stores nothing. The
/// > daemon and its readers go on.
#[test]
fn a_write_beyond_the_largest_file_is_efbig_and_the_daemon_goes_on() {
    for mode in ["always", "1s", "never"] {
        let mut mount = Mount::idle(&["--sync", mode]);
        mount
            .start_under(&["prlimit", "--fsize=100000", "--"])
            .unwrap();
        let mut follow = Reader::start("cat", &[&mount.file("follow")]);
        let mut stored = 0;
        let record = [b'x'; 9_999];
        while append(&mount.file("append"), record).is_ok() {
            stored += 1;
            assert!(stored < 100, "the limit is not kept");
        }
        assert_eq!(stored, 9);
        for file in ["append", "append-lines"] {
            refused(append(&mount.file(file), [b'\n'; 20_000]), Errno::EFBIG);
        }
        // This one tells it at the close, which the standard library does not look at.
        append(&mount.file("append-file"), [b'\n'; 20_000]).unwrap();
        assert_eq!(mount.count(), stored);
        // What fits goes on to be stored, in order.
        append(&mount.file("append"), "small").unwrap();
        assert_eq!(mount.count(), stored + 1);
        for _ in 0..stored {
            follow.expect("cat", &"x".repeat(9_999));
        }
        follow.expect("cat", "small");
        let said = mount.messages();
        assert!(!said.contains("takes no more appends"), "{said}");
        assert!(mount.stop().success());
        assert!(follow.end("cat").success());
        mount.start();
        assert_eq!(mount.count(), stored + 1);
    }
}

/// > No other signal that a program can catch ends the daemon in disorder. SIGHUP of a terminal, SIGQUIT and
/// > SIGXCPU end it as SIGTERM does; SIGUSR1, SIGUSR2, SIGALRM, SIGIO, SIGPWR and the real-time signals are
/// > ignored, and its log says so.
#[test]
fn a_signal_ends_the_daemon_in_order_or_is_ignored() {
    let mut mount = Mount::with(&["--log-level", "info"]);
    append(&mount.file("append"), "first\n").unwrap();
    let pid = mount.pid().as_raw();
    let ignored = [
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGXFSZ,
        libc::SIGPIPE,
        libc::SIGRTMIN(),
        libc::SIGRTMAX(),
    ];
    for signal in ignored {
        support::shell_ok(&format!("kill -{signal} {pid}"), &[]);
    }
    eventually("the last one is noted", || {
        let last = format!("signal {}: ignored", libc::SIGRTMAX());
        mount.messages().contains(&last)
    });
    let said = mount.messages();
    for name in ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGIO", "SIGPWR"] {
        assert!(said.contains(&format!("{name}: ignored")), "{name}: {said}");
    }
    assert_eq!(mount.count(), 1);
    for signal in [Signal::SIGQUIT, Signal::SIGXCPU, Signal::SIGHUP] {
        let mut cat = Reader::start("cat", &[&mount.file("follow")]);
        cat.expect("cat", "first");
        cat.wait_until_blocked();
        mount.signal(signal);
        assert!(mount.wait().success(), "{signal}");
        assert!(cat.end("cat").success());
        mount.start();
    }
    // It was closed in order each time: nothing had to be checked.
    assert!(!mount.messages().contains("namespace 'default'"));
    assert_eq!(mount.count(), 1);
}

/// > A daemon that cannot begin after it has mounted (because no thread can be started, say) unmounts, and says
/// > what it could not do, why, and the way out.
#[test]
fn a_daemon_that_cannot_start_its_threads_leaves_no_dead_mount() {
    // Room for so many threads, and for what the program itself takes.
    const STACK: u64 = 4 << 30;
    let mut begun = 0;
    for threads in 0..16 {
        let mut mount = Mount::idle(&[]);
        let room = format!("--as={}", threads * STACK + STACK / 2);
        let stack = format!("RUST_MIN_STACK={STACK}");
        let under = ["prlimit", room.as_str(), "--", "env", "MALLOC_ARENA_MAX=1"];
        let started = mount.start_under(&[&under[..], &[&stack]].concat());
        // The session starts its last threads while the mount answers already.
        if started.is_ok() && mount.stop().success() {
            begun += 1;
            continue;
        }
        let said = mount.messages();
        assert!(
            said.contains("Resource temporarily unavailable") && said.contains("TasksMax="),
            "with {threads} threads: {said}"
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = mount.path().display().to_string();
        assert!(!mounts.contains(&path), "with {threads} threads: {said}");
    }
    assert!((1..12).contains(&begun), "{begun}");
}

/// A panicking thread ends the process. Nothing in the program panics on purpose, so what can be tested is the setting.
#[test]
fn a_panic_ends_the_process_in_release_builds() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let release = manifest.split("[profile.release]").nth(1).unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(
        release.lines().any(|line| line == r#"panic = "abort""#),
        "{release}"
    );
}

/// A log that takes minutes to check: nothing but a hole, of which each 8 bytes could be a record.
fn hole(mount: &Mount, name: &str) {
    fs::create_dir_all(mount.logs()).unwrap();
    let log = File::create(mount.logs().join(format!("{name}.log"))).unwrap();
    log.set_len(8 << 30).unwrap();
}

/// > A log that takes long to check (it was not closed in order, or its index is missing) is checked while the
/// > daemon serves the others. Until then its directory is there and listed, every file in it is EBUSY, as is
/// > `rmdir`, and `.immuta/status` says how far the check is. `mkdir` of it is EEXIST, and `mkdir -p` succeeds.
#[test]
fn others_are_served_while_a_log_is_checked_that_takes_long() {
    let mut mount = Mount::with(&[]);
    mount.append("first");
    assert!(mount.stop().success());
    hole(&mount, "slow");
    mount.start();
    assert_eq!(mount.count(), 1);
    mount.append("second");
    let slow = mount.path().join("slow");
    assert!(fs::metadata(&slow).unwrap().is_dir());
    assert!(names(&mount.path()).contains("slow"));
    refused(fs::create_dir(&slow), Errno::EEXIST);
    shell_ok(r#"mkdir -p "$1""#, &[&slow]);
    refused(fs::read_dir(&slow), Errno::EBUSY);
    refused(append(&slow.join("append"), "x"), Errno::EBUSY);
    refused(fs::metadata(slow.join("log")), Errno::EBUSY);
    refused(fs::create_dir(slow.join("x")), Errno::EBUSY);
    refused(fs::remove_dir(&slow), Errno::EBUSY);
    let all = fs::Permissions::from_mode(0o777);
    refused(fs::set_permissions(&slow, all), Errno::EBUSY);
    let status = fs::read_to_string(mount.path().join(".immuta/status")).unwrap();
    assert!(
        status.contains("namespace 'slow' is being checked, ")
            && status.contains(" bytes of 8589934592 "),
        "{status}"
    );
    fs::create_dir(mount.path().join("new")).unwrap();
    append(&mount.path().join("new/append"), "one").unwrap();
    // The end does not wait for the check, and leaves the log as it is.
    assert!(mount.stop().success());
    let left = fs::metadata(mount.logs().join("slow.log")).unwrap();
    assert_eq!(left.len(), 8 << 30);
    assert!(mount.messages().contains("'slow' was not closed in order"));
}

#[test]
fn a_log_that_was_checked_while_the_others_were_served_appears() {
    let mut mount = Mount::with(&[]);
    let big = mount.path().join("big");
    fs::create_dir(&big).unwrap();
    let record = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        append(&big.join("append-file"), &record).unwrap();
    }
    assert!(mount.stop().success());
    fs::remove_file(mount.logs().join("big.idx")).unwrap();
    mount.start();
    eventually("it is there", || fs::read_dir(&big).is_ok());
    assert_eq!(read(&big.join("count")), b"64\n");
    assert!(read(&big.join("63")) == record);
    append(&big.join("append"), "last").unwrap();
    let said = mount.messages();
    assert!(
        said.contains("namespace 'big' is open: 64 records"),
        "{said}"
    );
    mount.stop_and_verify();
}

/// > SIGTERM and SIGINT also end the daemon while it opens its logs.
#[test]
fn a_signal_ends_a_daemon_that_opens_its_logs() {
    let mount = Mount::idle(&[]);
    // So many that the first signals come before the mount is there, on any machine.
    fs::create_dir_all(mount.logs()).unwrap();
    for n in 0..200 {
        hole(&mount, &format!("slow{n}"));
    }
    let mut daemon = mount
        .command()
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(daemon.stderr.take().unwrap()).lines();
    // It has begun.
    assert!(said.next().unwrap().unwrap().contains("'slow"));
    kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM).unwrap();
    assert!(wait(&mut daemon).success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert!(
        rest.iter().any(|l| l.ends_with("SIGTERM: ending")),
        "{rest:?}"
    );
    assert!(!mount.is_mounted());
    let mut announced = String::new();
    daemon
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut announced)
        .unwrap();
    assert_eq!(announced, "");
}

/// > The files of logs take at most a quarter of the descriptors that the daemon may have, however many namespaces there are: all can be read and written.
#[test]
fn six_hundred_namespaces_are_served_with_128_descriptors() {
    let mut mount = Mount::idle(&["--sync", "1s"]);
    fs::create_dir_all(mount.logs()).unwrap();
    let name = |n: u32| format!("ns{n:03}");
    for n in 0..600 {
        // An empty log, of the Go library's or ours.
        fs::write(mount.logs().join(name(n) + ".log"), [0; 8]).unwrap();
    }
    mount
        .start_under(&["prlimit", "--nofile=128", "--"])
        .unwrap();
    let descriptors = || {
        let listed = fs::read_dir(format!("/proc/{}/fd", mount.pid())).unwrap();
        listed.count()
    };
    assert!(descriptors() < 64, "{}", descriptors());
    for round in 0..2 {
        for n in 0..600 {
            let record = format!("{round} of {n}\n");
            append(&mount.path().join(name(n)).join("append"), record).unwrap();
        }
    }
    assert!(descriptors() < 64, "{}", descriptors());
    let mut followers = Vec::new();
    for n in (0..600).rev() {
        let log = mount.path().join(name(n)).join("log");
        assert_eq!(read(&log), format!("0 of {n}\n1 of {n}\n").as_bytes());
        if n % 30 == 0 {
            let follow = mount.path().join(name(n)).join("from/2");
            followers.push((n, Reader::start("cat", &[&follow])));
        }
    }
    for (n, follower) in &mut followers {
        append(&mount.path().join(name(*n)).join("append"), "last\n").unwrap();
        follower.expect("cat", "last");
    }
    assert!(descriptors() < 64, "{}", descriptors());
    mount.stop_and_verify();
    assert_eq!(mount.messages().matches("ERROR").count(), 0);
}

/// On a disk in memory, since what is tried is not how fast a disk syncs.
#[test]
fn ten_thousand_namespaces_take_a_quarter_of_1024_descriptors_and_little_memory() {
    const NAMESPACES: u32 = 10_000;
    let mut mount = Mount::idle(&[]);
    let _disk = Disk::new(&mount.logs(), "512m");
    let name = |n: u32| format!("ns{n:05}");
    for n in 0..NAMESPACES {
        fs::write(mount.logs().join(name(n) + ".log"), [0; 8]).unwrap();
    }
    let limits = ["prlimit", "--nofile=1024", "--"];
    mount.start_under(&limits).unwrap();
    let file = |n, file| mount.path().join(name(n)).join(file);
    for n in 0..NAMESPACES {
        append(&file(n, "append"), format!("{n}\n")).unwrap();
    }
    for n in (0..NAMESPACES).rev() {
        assert_eq!(read(&file(n, "log")), format!("{n}\n").as_bytes());
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", mount.pid())).unwrap();
    let descriptors = descriptors.count();
    assert!(descriptors < 1024 / 4 + 64, "{descriptors}");
    let peak_kib = mount.peak_kib();
    assert!(peak_kib < 100 << 10, "{peak_kib} KiB");
    assert!(mount.stop().success(), "{}", mount.messages());
    // Closed in order: nothing has to be checked.
    mount.start_under(&limits).unwrap();
    assert_eq!(names(&mount.path()).len(), NAMESPACES as usize + 1);
    assert_eq!(read(&mount.path().join(name(7)).join("log")), b"7\n");
    mount.stop_and_verify();
    assert_eq!(mount.messages().matches("ERROR").count(), 0);
}

/// > A call that needs a descriptor when the daemon has none left is EMFILE, and the daemon's log says what
/// > holds them.
#[test]
fn at_the_limit_of_descriptors_the_caller_is_told_so() {
    let mut mount = Mount::idle(&[]);
    mount
        .start_under(&["prlimit", "--nofile=64", "--"])
        .unwrap();
    let mut held = Vec::new();
    let large = vec![b'x'; 100_000];
    let error = loop {
        let file = File::options().append(true).open(mount.file("append-file"));
        match file.and_then(|mut file| file.write_all(&large).map(|()| file)) {
            Ok(file) => held.push(file),
            Err(e) => break e,
        }
        assert!(held.len() < 64);
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
    let said = mount.messages();
    assert!(
        said.contains("of the 64 descriptors that this process may have")
            && said.contains("LimitNOFILE="),
        "{said}"
    );
    // Small things go on.
    mount.append("small");
    assert_eq!(mount.count(), 1);
    assert_eq!(read(&mount.file("0")), b"small");
    let stored = held.len() as u64;
    drop(held);
    eventually("what was held is stored", || mount.count() == 1 + stored);
    append(&mount.file("append-file"), &large).unwrap();
    mount.stop_and_verify();
}
