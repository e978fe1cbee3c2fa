//! `.immuta/`: the metrics and the status of a mount, as Prometheus and as a JSON parser understand them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use support::{Mount, Reader, eventually, read, refused, shell_ok};

/// One metric of the text format.
#[derive(Debug)]
struct Family {
    kind: String,
    help: String,
    /// By their labels, as they are written.
    samples: BTreeMap<String, f64>,
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Takes `{label="value",...}` from the front of a sample. Returns it, and what is behind.
fn take_labels(rest: &str) -> (&str, &str) {
    let Some(mut at) = rest.strip_prefix('{') else {
        return ("", rest);
    };
    loop {
        let (label, value) = at.split_once("=\"").unwrap();
        assert!(is_name(label) && !label.contains(':'), "{rest}");
        let end = value.find(['"', '\\', '\n']).unwrap();
        assert_eq!(&value[end..=end], "\"", "nothing is escaped: {rest}");
        at = &value[end + 1..];
        match at.strip_prefix(',') {
            Some(next) => at = next,
            None => break,
        }
    }
    let behind = at.strip_prefix('}').unwrap();
    rest.split_at(rest.len() - behind.len())
}

/// The text format (version 0.0.4), strictly: each metric has HELP, TYPE and its samples, in this order and
/// together; no metric and no sample comes twice; a counter's name ends in `_total`.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut help: Option<(&str, &str)> = None;
    let mut now: Option<&str> = None;
    assert!(text.ends_with('\n') && text.is_ascii());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(help.is_none(), "{line}");
            let (name, words) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !words.is_empty() && !words.contains('\\'));
            help = Some((name, words));
            now = None;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let (helped, words) = help.take().unwrap();
            assert_eq!(helped, name);
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let family = Family {
                kind: kind.to_owned(),
                help: words.to_owned(),
                samples: BTreeMap::new(),
            };
            assert!(families.insert(name.to_owned(), family).is_none(), "{line}");
            now = Some(name);
        } else {
            let end = line.find(['{', ' ']).unwrap();
            let (name, rest) = line.split_at(end);
            assert_eq!(Some(name), now, "{line}");
            let (labels, rest) = take_labels(rest);
            let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
            let samples = &mut families.get_mut(name).unwrap().samples;
            assert!(samples.insert(labels.to_owned(), value).is_none(), "{line}");
        }
    }
    assert!(help.is_none());
    families
}

#[test]
fn the_parser_of_metrics_is_strict() {
    let good = "# HELP a_total What it is.\n# TYPE a_total counter\na_total{b=\"c\",d=\"e\"} 1.5\na_total 2\n";
    let family = &parse(good)["a_total"];
    assert_eq!(
        (family.kind.as_str(), family.help.as_str()),
        ("counter", "What it is.")
    );
    assert_eq!(family.samples["{b=\"c\",d=\"e\"}"], 1.5);
    for (from, to) in [
        ("a_total 2", "a_total{b=\"c\",d=\"e\"} 2"),
        ("a_total 2", "other 2"),
        ("a_total 2", "a_total two"),
        ("a_total 2", "a_total{b=c} 2"),
        ("a_total 2", "a_total{b=\"c\" 2"),
        ("a_total 2\n", "a_total 2"),
        ("# HELP a_total What it is.\n", ""),
        (" counter", " gauge"),
        ("# TYPE a_total counter\n", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(std::panic::catch_unwind(|| parse(&bad)).is_err(), "{bad}");
    }
}

fn metrics(mount: &Mount) -> BTreeMap<String, Family> {
    let text = read(&mount.path().join(".immuta/metrics"));
    parse(&String::from_utf8(text).unwrap())
}

/// One metric of one namespace.
fn of(metrics: &BTreeMap<String, Family>, name: &str, namespace: &str) -> Option<f64> {
    let label = format!("{{namespace=\"{namespace}\"}}");
    metrics[&format!("immuta_{name}")]
        .samples
        .get(&label)
        .copied()
}

/// What a Python expression makes of the status, `s`, and of its first namespace, `n`.
fn status(mount: &Mount, expression: &str) -> String {
    let script = r#"python3 -c '
import json, sys
s = json.load(open(sys.argv[1]))
n = s["namespaces"][0] if s["namespaces"] else None
print(eval(sys.argv[2]))' "$1" "$2""#;
    let file = mount.path().join(".immuta/status");
    shell_ok(script, &[&file, &expression])
        .trim_end()
        .to_owned()
}

// > `.immuta/metrics` is, as of its opening, in the text format of Prometheus. Of each namespace it has the
// > records and bytes, the records appended and the writes refused since the mount began, blocked readers, open
// > files, the records that are not on the disk yet and since when, and whether the log has failed. Of the mount
// > it has the version, the age, the number of namespaces and of those that could not be opened, and the memory
// > of lines, frames and writes that wait.
#[test]
fn metrics_count_what_happens_in_each_namespace() {
    let mut mount = Mount::with(&["--sync", "never"]);
    mount.append("before");
    mount.restart();
    fs::create_dir(mount.path().join("b.2-x_")).unwrap();
    mount.append("abc");
    let mut lines = mount.appender("append-lines");
    lines.write_all(b"one\ntwo\n").unwrap();
    let refuse = mount.appender("append");
    refused((&refuse).write(&vec![0; 2 << 20]), Errno::EMSGSIZE);
    drop(refuse);
    let reader = Reader::start("cat", &[&mount.file("from/end")]);
    eventually("the reader waits", || {
        of(&metrics(&mount), "blocked_readers", "default") == Some(1.0)
    });
    let now = metrics(&mount);
    for (name, value) in [
        ("records_total", 4.0),
        ("log_bytes_total", 8.0 + 4.0 * 8.0 + 17.0),
        ("text_bytes_total", 7.0 + 4.0 + 8.0),
        ("appended_records_total", 3.0),
        ("refused_writes_total", 1.0),
        ("blocked_readers", 1.0),
        ("open_readers", 1.0),
        ("open_writers", 1.0),
        ("synced_records_total", 1.0),
        ("unsynced_records", 3.0),
        ("failed", 0.0),
    ] {
        assert_eq!(of(&now, name, "default"), Some(value), "{name}");
        assert!(of(&now, name, "b.2-x_").is_some(), "{name}");
    }
    assert!(of(&now, "sync_lag_seconds", "default").unwrap() > 0.0);
    let last = fs::metadata(mount.file("3")).unwrap().modified().unwrap();
    let last = last
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert_eq!(
        of(&now, "last_append_timestamp_seconds", "default"),
        Some(last)
    );
    for (name, labels, value) in [
        (
            "build_info",
            format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
        ("namespaces", String::new(), 2.0),
        ("unopened_namespaces", String::new(), 0.0),
        ("mount_blocked_readers", String::new(), 1.0),
    ] {
        assert_eq!(
            now[&format!("immuta_{name}")].samples.get(&labels),
            Some(&value),
            "{name}"
        );
    }
    let age = |m: &BTreeMap<String, Family>| m["immuta_uptime_seconds"].samples[""];
    assert!(age(&metrics(&mount)) > age(&now));

    lines.sync_all().unwrap();
    drop((lines, reader));
    let synced = metrics(&mount);
    assert_eq!(of(&synced, "synced_records_total", "default"), Some(4.0));
    assert_eq!(of(&synced, "unsynced_records", "default"), Some(0.0));
    assert_eq!(of(&synced, "sync_lag_seconds", "default"), Some(0.0));
    eventually("the closed files are gone", || {
        let now = metrics(&mount);
        let open = |name| of(&now, name, "default") == Some(0.0);
        open("open_readers") && open("open_writers") && open("blocked_readers")
    });
    // Whoever wrote them: all there was when the mount began counts, and none of it was appended since.
    mount.restart();
    let again = metrics(&mount);
    assert_eq!(of(&again, "records_total", "default"), Some(4.0));
    assert_eq!(of(&again, "appended_records_total", "default"), Some(0.0));
    assert_eq!(of(&again, "last_append_timestamp_seconds", "b.2-x_"), None);
}

// > `.immuta/status` is one JSON object, as of its opening: version, pid, logs_dir, options, started,
// > uptime_seconds, blocked_readers, open_bytes, refused_for_memory, for each namespace what its `stats` and
// > `metrics` say, and for each unopened namespace its name and the reason.
#[test]
fn the_status_is_that_of_the_mount_and_of_each_namespace() {
    let mut mount = Mount::with(&["--sync", "200ms", "--max-record", "1MiB"]);
    assert_eq!(
        status(&mount, "list(s)"),
        "['version', 'pid', 'logs_dir', 'options', 'started', 'uptime_seconds', 'blocked_readers', 'open_bytes', \
         'refused_for_memory', 'namespaces', 'unopened']"
    );
    assert_eq!(
        status(&mount, "list(n)"),
        "['name', 'records', 'bytes', 'text_bytes', 'first_time', 'last_time', 'format', 'appended_records', \
         'refused_writes', 'blocked_readers', 'open_readers', 'open_writers', 'synced_records', 'unsynced_records', \
         'sync_lag_seconds', 'failed']"
    );
    assert_eq!(
        status(&mount, "s['options'], s['unopened']"),
        "({'read_only': False, 'sync': '200ms', 'max_record_bytes': 1048576, 'max_open_bytes': 1073741824, 'append_limit_bytes': 1044480}, [])"
    );
    let (version, pid, logs) = (env!("CARGO_PKG_VERSION"), mount.pid(), mount.logs());
    assert_eq!(
        status(&mount, "s['version'], s['pid'], s['logs_dir']"),
        format!("('{version}', {pid}, '{}')", logs.display())
    );
    let age = "__import__('datetime').datetime.fromisoformat(s['started'][:19]).year >= 2024, \
               0 < s['uptime_seconds'] < 600";
    assert_eq!(status(&mount, age), "(True, True)");
    mount.append("abc");
    mount.append("de\n");
    fs::create_dir(mount.path().join("another")).unwrap();
    let reader = Reader::start("cat", &[&mount.file("2")]);
    eventually("the reader waits, and the interval is over", || {
        status(
            &mount,
            "s['blocked_readers'], s['namespaces'][1]['unsynced_records']",
        ) == "(1, 0)"
    });
    assert_eq!(
        status(
            &mount,
            "s['blocked_readers'], [[m[k] for k in m if not k.endswith('_time')] for m in s['namespaces']]"
        ),
        "(1, [['another', 0, 8, 0, 'count8', 0, 0, 0, 0, 0, 0, 0, 0, None], \
         ['default', 2, 30, 7, 'count8', 2, 0, 1, 1, 0, 2, 0, 0, None]])"
    );
    assert_eq!(
        status(
            &mount,
            "n['first_time'], s['namespaces'][1]['first_time'] < s['namespaces'][1]['last_time']"
        ),
        "(None, True)"
    );
    drop(reader);

    // A log that cannot be opened does not keep the others from it.
    assert!(mount.stop().success());
    let unclear: Vec<u8> = [0i64, 0, 0, 8, 7]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    fs::write(mount.logs().join("unclear.log"), unclear).unwrap();
    mount.start();
    assert_eq!(
        status(&mount, "len(s['namespaces']), s['unopened'][0]['name']"),
        "(2, 'unclear')"
    );
    let why = status(&mount, "s['unopened'][0]['why']");
    assert!(
        why.contains("--assume-format") && mount.messages().contains(&why),
        "{why}"
    );
    assert_eq!(
        metrics(&mount)["immuta_unopened_namespaces"].samples[""],
        1.0
    );
}

#[test]
fn with_sync_always_nothing_that_can_be_read_waits_for_the_disk() {
    let mount = Mount::with(&["--sync", "always"]);
    for n in 0..20 {
        mount.append("x");
        assert_eq!(
            status(
                &mount,
                "n['records'], n['synced_records'], n['sync_lag_seconds']"
            ),
            format!("({0}, {0}, 0)", n + 1)
        );
    }
}

#[test]
fn a_mount_for_reading_does_not_know_what_the_writer_has_on_the_disk() {
    let mut writer = Mount::new();
    writer.append("x");
    assert!(writer.stop().success());
    writer.options(&["--read-only"]);
    writer.start();
    assert_eq!(
        status(
            &writer,
            "n['records'], n['synced_records'], n['unsynced_records'], n['sync_lag_seconds']"
        ),
        "(1, None, None, None)"
    );
    let now = metrics(&writer);
    for name in [
        "synced_records_total",
        "unsynced_records",
        "sync_lag_seconds",
    ] {
        assert_eq!(of(&now, name, "default"), None, "{name}");
    }
}

// > `.immuta/metrics` and `.immuta/status` can be read by the owner and the group of the mount's root.
#[test]
fn the_directory_is_hidden_and_its_files_are_for_the_owner_and_the_group() {
    let mount = Mount::new();
    let about = mount.path().join(".immuta");
    assert_eq!(
        shell_ok(
            "cd \"$1\" && ls && ls -a && ls .immuta && echo *",
            &[&mount.path()]
        ),
        "default\n.\n..\n.immuta\ndefault\nmetrics\nstatus\ndefault\n"
    );
    let of = |name: &str| fs::metadata(about.join(name)).unwrap();
    assert_eq!(of("").permissions().mode(), 0o040555);
    for name in ["metrics", "status"] {
        let m = of(name);
        assert_eq!(m.permissions().mode(), 0o100440, "{name}");
        assert_eq!((m.uid(), m.gid()), (geteuid().as_raw(), getegid().as_raw()));
        assert!(m.len() > 100 && m.modified().unwrap().elapsed().unwrap().as_secs() < 60);
    }
    assert_eq!(fs::metadata(mount.path()).unwrap().nlink(), 4);
    if geteuid().is_root() {
        std::os::unix::fs::chown(mount.path(), Some(4321), Some(1234)).unwrap();
        assert_eq!((of("status").uid(), of("status").gid()), (4321, 1234));
    }
    refused(fs::create_dir(&about), Errno::EEXIST);
    refused(fs::create_dir(about.join("x")), Errno::EPERM);
    refused(fs::remove_dir(&about), Errno::EPERM);
    refused(fs::remove_dir(about.join("status")), Errno::ENOTDIR);
    refused(File::open(about.join("other")), Errno::ENOENT);
    refused(File::open(about.join("status/x")), Errno::ENOTDIR);
    refused(fs::read_dir(about.join("status")), Errno::ENOTDIR);
}

#[test]
fn a_cat_that_tries_sendfile_gets_all_of_what_is_written_when_it_is_opened() {
    let mount = Mount::new();
    for n in 0..20 {
        fs::create_dir(mount.path().join(format!("namespace-{n}"))).unwrap();
        let script = r#"busybox cat "$1" | python3 -c 'import json, sys; json.load(sys.stdin)'"#;
        shell_ok(script, &[&mount.path().join(".immuta/status")]);
    }
}

#[test]
fn a_log_that_has_failed_says_so_until_the_daemon_is_started_again() {
    let mut mount = Mount::with(&["--sync", "always"]);
    mount.append("good");
    assert!(mount.stop().success());
    mount
        .start_with_failing("fdatasync:error=EIO:when=2+", &[])
        .unwrap();
    let append = || support::append(&mount.file("append"), "lost");
    assert!((0..10).any(|_| append().is_err()), "the disk is to fail");
    refused(append(), Errno::EIO);
    let now = metrics(&mount);
    assert_eq!(of(&now, "failed", "default"), Some(1.0));
    assert!(of(&now, "refused_writes_total", "default") >= Some(2.0));
    let why = status(&mount, "n['failed']");
    assert!(
        why.contains("cannot sync") && mount.messages().contains(&why),
        "{why}"
    );
    mount.stop();
    mount.start();
    assert_eq!(of(&metrics(&mount), "failed", "default"), Some(0.0));
    assert_eq!(status(&mount, "n['failed']"), "None");
}
