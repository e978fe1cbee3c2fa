//! A namespace whose log cannot be opened: what is seen of it, by whom, and how it comes back.

use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use support::immuta_cli::prints;
use support::users::{OWNER, others_can_be_tried, owned, three};
use support::{Mount, append, eventually, names, outcome, read, refused, shell, shell_ok};

/// Cuts the last byte of a log that was closed in order: its last record is then damaged.
fn cut(mount: &Mount, name: &str) {
    let log = File::options()
        .write(true)
        .open(mount.logs().join(format!("{name}.log")))
        .unwrap();
    log.set_len(log.metadata().unwrap().len() - 1).unwrap();
}

/// A mount with the namespaces `default`, of one record, and `orders`, of three, whose log cannot be opened.
fn mount_with_a_cut_log(options: &[&str]) -> Mount {
    let mut mount = Mount::new();
    mount.append("one");
    let orders = mount.path().join("orders");
    fs::create_dir(&orders).unwrap();
    for record in ["first", "second", "secret"] {
        append(&orders.join("append"), record).unwrap();
    }
    assert!(mount.stop().success(), "{}", mount.messages());
    cut(&mount, "orders");
    mount.options(options);
    mount.start();
    mount
}

/// What is wrong with that log.
fn why(mount: &Mount) -> String {
    format!(
        "record 2 of 'orders' is damaged at byte 35 of the log: its size is negative or reaches beyond the end of the file (no \
         byte was changed; immuta repair '{}' orders keeps the 2 records before that, and saves what it cuts off)",
        mount.logs().display()
    )
}

// > A namespace whose log cannot be opened is listed. It is a directory with one file, `error`, which gives the
// > reason and what to do about it. All other files of a namespace are EIO there, and so are `chmod` and
// > `chown`; `mkdir` of it is EEXIST, `mkdir -p` succeeds, and `rmdir` is ENOTEMPTY. The other namespaces work.
#[test]
fn a_namespace_that_cannot_be_opened_is_there_and_says_why() {
    let mount = mount_with_a_cut_log(&[]);
    let orders = mount.path().join("orders");
    assert_eq!(
        names(&mount.path()),
        [".immuta", "default", "orders"].map(str::to_owned).into()
    );
    assert_eq!(names(&orders), ["error".to_owned()].into());
    let error = orders.join("error");
    let text = String::from_utf8(read(&error)).unwrap();
    assert_eq!(
        text,
        format!(
            "The log of namespace 'orders' cannot be opened: {}\n\
             What to do: unmount, mend it with: immuta repair '{}' orders; or restore it from a backup, and mount again. \
             Until then the other namespaces work.\n",
            why(&mount),
            mount.logs().display()
        )
    );
    assert_eq!(error.metadata().unwrap().len(), text.len() as u64);

    for name in ["log", "follow", "append", "count", "from", "0", "3"] {
        refused(fs::metadata(orders.join(name)), Errno::EIO);
    }
    refused(append(&orders.join("append"), "x"), Errno::EIO);
    refused(fs::metadata(orders.join("other")), Errno::ENOENT);
    refused(fs::create_dir(&orders), Errno::EEXIST);
    shell_ok(r#"mkdir -p "$1""#, &[&orders]);
    refused(fs::create_dir(orders.join("x")), Errno::EPERM);
    refused(fs::remove_dir(&orders), Errno::ENOTEMPTY);
    refused(fs::remove_file(&error), Errno::EPERM);
    refused(fs::write(&error, "x"), Errno::EACCES);
    let all = fs::Permissions::from_mode(0o777);
    refused(fs::set_permissions(&orders, all.clone()), Errno::EIO);
    refused(fs::set_permissions(&error, all), Errno::EPERM);
    let attributes =
        r#"python3 -c 'import os, sys; print(*map(os.listxattr, sys.argv[1:]))' "$1" "$1/error""#;
    assert_eq!(shell_ok(attributes, &[&orders]), "[] []\n");

    mount.append("two");
    fs::create_dir(mount.path().join("later")).unwrap();
    assert_eq!(mount.count(), 2);
    fs::remove_dir(mount.path().join("later")).unwrap();
}

#[test]
fn programs_that_walk_and_watch_cope_with_a_namespace_that_cannot_be_opened() {
    let mount = mount_with_a_cut_log(&[]);
    let root = mount.path();
    // As many subdirectories as its links say: find(1) goes by them.
    assert_eq!(root.metadata().unwrap().nlink(), 2 + 3);
    for entry in fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino());
        assert!(entry.file_type().unwrap().is_dir());
    }
    for entry in fs::read_dir(root.join("orders")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino());
        assert!(entry.file_type().unwrap().is_file());
    }
    let found = shell_ok(
        r#"cd "$1" && find orders && ls -lR orders && tar -cf - orders | tar -tf -"#,
        &[&root],
    );
    assert!(found.starts_with("orders\norders/error\n"), "{found}");
    assert!(found.ends_with("orders/\norders/error\n"), "{found}");
    assert_eq!(
        shell_ok(r#"cat "$1" | wc -l"#, &[&root.join("orders/error")]),
        "2\n"
    );

    let metrics = fs::read_to_string(root.join(".immuta/metrics")).unwrap();
    assert!(
        metrics.contains("\nimmuta_unopened_namespaces 1\n"),
        "{metrics}"
    );
    let status = fs::read_to_string(root.join(".immuta/status")).unwrap();
    assert!(
        status.contains("\"unopened\": [{\"name\": \"orders\", \"why\": \"record 2"),
        "{status}"
    );
    let table = prints(&["top", "--once", root.to_str().unwrap()]);
    let trouble = format!("! orders cannot be opened: {}\n", why(&mount));
    assert!(table.ends_with(&trouble), "{table}");
}

// > Users who may read a namespace may read its `error`, which shows nothing of the records.
#[test]
fn who_may_read_the_namespace_may_read_why_it_cannot_be_opened() {
    let mut mount = support::users::mount();
    let modes = [("read", 0o750), ("append", 0o730), ("closed", 0o700)];
    for (name, mode) in modes {
        owned(&mount, name, mode);
    }
    assert!(mount.stop().success());
    for (name, _) in modes {
        cut(&mount, name);
    }
    mount.start();
    let error = |name: &str| mount.path().join(name).join("error");
    for (name, mode) in modes {
        let text = String::from_utf8(read(&error(name))).unwrap();
        assert!(
            !text.contains("second") && !text.contains("first"),
            "{text}"
        );
        let there = error(name).metadata().unwrap();
        assert_eq!(there.mode() & 0o7777, mode & 0o444);
        assert_eq!(
            mount.path().join(name).metadata().unwrap().mode() & 0o7777,
            mode
        );
    }
    if !others_can_be_tried() {
        return;
    }
    assert_eq!(error("read").metadata().unwrap().uid(), OWNER);
    let [mut owner, mut member, mut other] = three();
    for (name, _) in modes {
        owner.can("read", &[&error(name)]);
        other.cannot("read", &[&error(name)], Errno::EACCES);
    }
    member.can("read", &[&error("read")]);
    member.cannot("read", &[&error("append")], Errno::EACCES);
    member.cannot("list", &[&mount.path().join("append")], Errno::EACCES);
    member.cannot("lstat", &[&error("closed")], Errno::EACCES);
    // The root lets all of them see the names, as of any namespace.
    assert!(other.can("list", &[&mount.path()]).contains("closed"));
}

// > When it starts, the daemon names each log that it cannot open, with the command that mends it: in its log,
// > and also on standard error if its log is elsewhere.
#[test]
fn the_daemon_names_what_it_cannot_open_when_it_starts() {
    let mut mount = mount_with_a_cut_log(&[]);
    let line = format!("cannot open namespace 'orders': {}", why(&mount));
    assert!(mount.messages().contains(&line), "{}", mount.messages());
    assert!(mount.stop().success());

    let output = mount.start_in_background(|command| {
        command.arg("--log-file").arg(mount.log_file());
    });
    let (status, stdout, stderr) = outcome(output);
    assert_eq!((status, stderr), (0, format!("immuta-fs: {line}\n")));
    assert!(stdout.starts_with("immuta-fs: mounted '"), "{stdout}");
    let messages = fs::read_to_string(mount.log_file()).unwrap();
    assert!(messages.contains(&line), "{messages}");
    mount.unmount();
}

// > A log that could not be opened, and has been mended or restored, is opened by the next mount; with
// > `--read-only`, as soon as its files have changed. A mount that writes does not look again by itself: it
// > mends what it opens, and would cut a log that is just being copied.
#[test]
fn a_log_that_was_mended_is_opened_by_the_next_mount() {
    let mut mount = mount_with_a_cut_log(&[]);
    assert!(mount.stop().success());
    mend(&mount.logs());
    mount.start();
    let orders = mount.path().join("orders");
    assert_eq!(read(&orders.join("log")), b"first\nsecond\n");
    refused(fs::metadata(orders.join("error")), Errno::ENOENT);
    append(&orders.join("append"), "third").unwrap();
    assert_eq!(read(&orders.join("2")), b"third");
    mount.stop_and_verify();
}

#[test]
fn a_mount_that_only_reads_shows_a_log_as_soon_as_it_is_mended() {
    let mut mount = mount_with_a_cut_log(&["--read-only"]);
    let orders = mount.path().join("orders");
    let text = String::from_utf8(read(&orders.join("error"))).unwrap();
    assert!(
        text.ends_with(
            "This mount, which only reads, shows the records as soon as the log can be opened.\n"
        ),
        "{text}"
    );
    // Who sits in the directory meanwhile finds the namespace there, as who comes later does.
    let sits_there = fs::read_dir(&orders).unwrap();
    mend(&mount.logs());
    eventually("the log is shown", || orders.join("log").exists());
    drop(sits_there);
    assert_eq!(read(&orders.join("log")), b"first\nsecond\n");
    refused(fs::metadata(orders.join("error")), Errno::ENOENT);

    // And the other way round: one that comes and cannot be opened, and goes.
    fs::copy(mount.logs().join("orders.log"), mount.logs().join("copy")).unwrap();
    fs::write(mount.logs().join("copy"), [7; 21]).unwrap();
    fs::rename(mount.logs().join("copy"), mount.logs().join("torn.log")).unwrap();
    let torn = mount.path().join("torn");
    eventually("it is there", || torn.join("error").exists());
    let text = String::from_utf8(read(&torn.join("error"))).unwrap();
    assert!(
        text.contains("\nWhat to do: unmount, say with --assume-format which it is, and"),
        "{text}"
    );
    fs::remove_file(mount.logs().join("torn.log")).unwrap();
    eventually("it is gone", || !torn.exists());
    assert!(!names(&mount.path()).contains("torn"));
    assert!(mount.stop().success());
}

/// As the message says.
fn mend(logs: &Path) {
    let logs = logs.to_str().unwrap();
    let said = prints(&["repair", logs, "orders"]);
    assert!(said.starts_with("orders: kept 2 records"), "{said}");
}

#[test]
fn many_namespaces_that_cannot_be_opened_are_each_listed_once() {
    const MANY: usize = 300;
    let mut mount = Mount::new();
    assert!(mount.stop().success());
    for n in 0..MANY {
        fs::write(mount.logs().join(format!("a-longer-name-{n}.log")), [7; 21]).unwrap();
    }
    mount.start();
    let listed = shell_ok(r#"ls -f "$1""#, &[&mount.path()]);
    let mut listed: Vec<_> = listed.lines().filter(|name| name.len() > 12).collect();
    assert_eq!(listed.len(), MANY);
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), MANY);
    let found = shell(r#"find "$1" -name error | wc -l"#, &[&mount.path()]);
    assert_eq!(outcome(found).1, format!("{MANY}\n"));
    assert_eq!(
        mount.path().metadata().unwrap().nlink(),
        2 + 2 + MANY as u64
    );
}
