//! `immuta export`, and the way back: `immuta import` and `immuta append` of what it wrote.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use immuta::{Format, Options, RecordNo, Storage};
use nix::sys::signal::{Signal, kill};
use support::immuta_cli::{Dir, immuta, misused, prints, refuses, said};
use support::{Random, eventually};
use support::{files::frame, names};

/// A log of all that is awkward, in `dir`.
fn awkward(dir: &Dir, format: Format) -> Vec<Vec<u8>> {
    let mut random = Random(7);
    let mut records: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\n".to_vec(),
        b"line\n".to_vec(),
        b"two\nlines".to_vec(),
        b"\0\xff\xfe".to_vec(),
        "\u{1f600} \"quoted\" \\ \u{7f}\u{1}\r\t".into(),
        br#"{"record":0,"text":"no"}"#.to_vec(),
        random.bytes((1 << 20) + 1),
        vec![b'x'; 3 << 20],
        b"last".to_vec(),
    ];
    records.extend((0..5000).map(|_| {
        let length = random.below(40);
        random.bytes(length)
    }));
    let options = Options::new(dir.path()).format(format).namespaces(["a"]);
    let storage = Storage::open(options).unwrap();
    for batch in records.chunks(7) {
        storage.append_batch("a", batch).unwrap();
    }
    storage.close().unwrap();
    records
}

fn payloads_and_times(dir: &Path, name: &str) -> Vec<(Vec<u8>, Option<std::time::SystemTime>)> {
    let storage = Storage::open(Options::new(dir).read_only(true)).unwrap();
    let log = storage.log(name).unwrap();
    assert!(log.verify().unwrap().is_clean());
    let record = |n| {
        let entry = log.entry(RecordNo(n)).unwrap();
        let mut payload = vec![0; entry.size as usize];
        log.read_part(&entry, 0, &mut payload).unwrap();
        (payload, entry.time)
    };
    (0..log.state().count).map(record).collect()
}

#[test]
fn what_was_exported_comes_back_byte_for_byte() {
    for format in Format::ALL {
        let (dir, other) = (Dir::new(), Dir::new());
        let records = awkward(&dir, format);
        for form in ["frames", "jsonl"] {
            let file = other.file(&format!("{form}.{form}"));
            let file = file.to_str().unwrap();
            assert_eq!(
                prints(&["export", dir.str(), "a", "--format", form, "-o", file]),
                ""
            );
            let imported = format!("{form}: {} records in {format}\n", records.len());
            let format = format.to_string();
            let import = ["import", file, other.str(), "--format", &format];
            assert_eq!(prints(&import), imported);
            assert_eq!(
                fs::read(other.file(&format!("{form}.log"))).unwrap(),
                fs::read(dir.file("a.log")).unwrap()
            );
        }
        let before = payloads_and_times(dir.path(), "a");
        assert!(
            payloads_and_times(other.path(), "jsonl") == before,
            "times are kept"
        );
        let frames = payloads_and_times(other.path(), "frames");
        assert!(
            frames
                .iter()
                .zip(&before)
                .all(|(now, then)| now.0 == then.0 && now.1 > then.1)
        );
        prints(&["import", dir.str(), other.str(), "a"]);
        assert!(payloads_and_times(other.path(), "a") == before);
    }
}

#[test]
fn text_goes_out_as_it_is_and_comes_in_by_lines() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("a", Format::Count8, &["zero\n", "one\n", "two", "three\n"]);
    assert_eq!(prints(&["export", d, "a"]), "zero\none\ntwo\nthree\n");
    assert_eq!(
        prints(&["export", d, "a", "--format", "raw", "-o", "-"]),
        "zero\none\ntwothree\n"
    );
    assert_eq!(
        prints(&["export", d, "a", "--from", "1", "--to", "2"]),
        "one\ntwo\n"
    );
    assert_eq!(
        prints(&["export", d, "a", "--from", "3", "--to", "99"]),
        "three\n"
    );
    assert_eq!(prints(&["export", d, "a", "--to", "0"]), "zero\n");
    assert_eq!(
        refuses(&["export", d, "a", "--from", "4"]),
        "immuta: 'a' has no record 4: it has 4, and the first one is 0\n"
    );
    assert_eq!(
        misused(&["export", d, "a", "--from", "3", "--to", "2"]),
        "immuta: --to 2 comes before --from 3 (immuta export --help tells how)\n"
    );
    let text = dir.file("app.txt");
    fs::write(&text, "one\ntwo\n\nthree, without an end").unwrap();
    let text = text.to_str().unwrap();
    assert_eq!(
        prints(&["import", text, d, "--input", "lines"]),
        "app: 4 records in count8\n"
    );
    assert_eq!(
        prints(&["export", d, "app", "--format", "raw"]).as_bytes(),
        fs::read(text).unwrap()
    );
    dir.log("empty", Format::Count16, &[]);
    for form in ["raw", "lines", "jsonl", "frames"] {
        assert_eq!(prints(&["export", d, "empty", "--format", form]), "");
    }
}

#[test]
fn a_file_has_its_name_when_it_is_whole_and_another_one_is_not_replaced_unasked() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("a", Format::Count8, &["one"]);
    let there = Dir::new();
    let file = there.file("out");
    let path = file.to_str().unwrap();
    fs::write(&file, "precious").unwrap();
    let already = format!(
        "immuta: '{path}' is there already (name another file, or say --force to replace it)\n"
    );
    assert_eq!(refuses(&["export", d, "a", "-o", path]), already);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    prints(&["export", d, "a", "-o", path, "--force"]);
    assert_eq!(fs::read(&file).unwrap(), b"one\n");
    let fresh = there.file("fresh");
    let shell = r#"umask 027; exec "$0" export "$1" a -o "$2""#;
    let status = Command::new("bash")
        .args(["-c", shell, env!("CARGO_BIN_EXE_immuta"), d])
        .arg(&fresh)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        fs::metadata(&fresh).unwrap().permissions().mode() & 0o777,
        0o640
    );

    symlink(&file, there.file("link")).unwrap();
    fs::write(&file, "precious").unwrap();
    let link = there.file("link");
    let link = link.to_str().unwrap();
    assert_eq!(
        refuses(&["export", d, "a", "-o", link]),
        already.replace(path, link)
    );
    prints(&["export", d, "a", "-o", link, "--force"]);
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"one\n");

    assert_eq!(
        refuses(&["export", d, "a", "-o", "/dev/null", "--force"]),
        "immuta: cannot replace '/dev/null': not an ordinary file (leave -o away, and use > or a pipe)\n"
    );
    let log = dir.file("a.log");
    let log = log.to_str().unwrap();
    for options in [&["--force"][..], &[]] {
        let name = if options.is_empty() {
            dir.file("new.idx")
        } else {
            log.into()
        };
        let name = name.to_str().unwrap();
        let why = format!(
            "immuta: cannot write '{name}': that is the name of a log (name another file)\n"
        );
        assert_eq!(
            refuses(&[&["export", d, "a", "-o", name], options].concat()),
            why
        );
    }
    assert_eq!(
        refuses(&["export", d, "a", "-o", "/nowhere/out"]),
        "immuta: cannot write '/nowhere/out': there is no directory '/nowhere' (make it, or name another file)\n"
    );
    let names = names(there.path());
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_export_that_is_stopped_or_fails_leaves_no_part_behind() {
    let dir = Dir::new();
    let there = Dir::new();
    let storage = Storage::open(Options::new(dir.path()).namespaces(["a"])).unwrap();
    let log = storage.log("a").unwrap();
    let mut large = std::io::Read::take(std::io::repeat(b'x'), 1 << 29);
    log.append_from(&mut large).unwrap();
    storage.close().unwrap();
    let out = there.file("out");
    let parts = || fs::read_dir(there.path()).unwrap().count();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = immuta(&["export", dir.str(), "a", "-o", out.to_str().unwrap()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("it has begun", || parts() == 1);
        assert!(!out.exists());
        kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = support::wait(&mut child);
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(signal as i32)
        );
        assert_eq!(parts(), 0);
    }
    dir.change("a.log", |bytes| bytes[50_000_000] ^= 1);
    let why = refuses(&["export", dir.str(), "a", "-o", out.to_str().unwrap()]);
    assert!(
        why.starts_with("immuta: record 0 of 'a' is damaged at byte 8 of the log"),
        "{why}"
    );
    assert_eq!(parts(), 0);
}

#[test]
fn large_records_go_out_and_come_in_at_constant_memory() {
    const RECORD_BYTES: u64 = 300 << 20;
    let dir = Dir::new();
    let storage = Storage::open(Options::new(dir.path()).namespaces(["a"])).unwrap();
    let log = storage.log("a").unwrap();
    let mut large = std::io::Read::take(std::io::repeat(b'x'), RECORD_BYTES);
    log.append_from(&mut large).unwrap();
    log.append(b"small").unwrap();
    storage.close().unwrap();
    // Address space for the program and its buffers, and for no such record.
    let limited = |arguments: &str| {
        let script = format!("ulimit -v 262144; exec \"$0\" {arguments}");
        let output = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_immuta"), dir.str()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments}"
        );
    };
    limited("tail \"$1\" a --format raw > \"$1/raw\"");
    assert_eq!(
        fs::metadata(dir.file("raw")).unwrap().len(),
        RECORD_BYTES + 5
    );
    fs::remove_file(dir.file("raw")).unwrap();
    limited("export \"$1\" a --format jsonl > \"$1/json\"");
    let json = fs::read(dir.file("json")).unwrap();
    assert!(json.len() as u64 > RECORD_BYTES && json.ends_with(b"\"text\":\"small\"}\n"));
    drop(json);
    fs::remove_file(dir.file("json")).unwrap();
    limited("export \"$1\" a --format frames -o \"$1/b.frames\"");
    limited("import \"$1/b.frames\" \"$1\"");
    limited("import \"$1/b.frames\" \"$1\"");
    let print = |name: &str| {
        let storage = Storage::open(Options::new(dir.path()).read_only(true)).unwrap();
        let entries = [0, 1].map(|n| storage.log(name).unwrap().entry(RecordNo(n)).unwrap());
        entries.map(|entry| (entry.size, entry.checksum))
    };
    assert_eq!(print("a"), print("b"));
}

#[test]
fn an_import_of_a_file_goes_on_where_it_was_and_only_with_the_same_file() {
    let dir = Dir::new();
    let d = dir.str();
    let file = dir.file("a.jsonl");
    let path = file.to_str().unwrap();
    let line = |text: &str| format!("{{\"text\":\"{text}\"}}\n");
    fs::write(&file, [line("one"), line("two")].concat()).unwrap();
    assert_eq!(prints(&["import", path, d]), "a: 2 records in count8\n");
    fs::write(&file, [line("one"), line("two"), line("three")].concat()).unwrap();
    let again = "a: 3 records in count8 (2 were there already)\n";
    assert_eq!(prints(&["import", path, d]), again);
    assert_eq!(prints(&["import", path, d]), again.replace('2', "3"));
    assert_eq!(prints(&["cat", d, "a"]), "one\ntwo\nthree\n");
    fs::write(&file, line("one")).unwrap();
    assert_eq!(
        refuses(&["import", path, d]),
        "immuta: cannot go on importing to 'a': it has 3 records, and the source has 1\n"
    );
    fs::write(&file, [line("one"), line("two"), line("four")].concat()).unwrap();
    assert_eq!(
        refuses(&["import", path, d]),
        "immuta: cannot go on importing to 'a': its last record, 2, is not record 2 of the source\n"
    );
}

#[test]
fn what_is_no_record_is_said_where_it_is_and_what_came_before_it_is_kept() {
    let dir = Dir::new();
    let d = dir.str();
    let import = |name: &str, bytes: &[u8]| {
        let path = dir.file(name);
        fs::write(&path, bytes).unwrap();
        let (status, out, err) = said(&["import", path.to_str().unwrap(), d]);
        assert_eq!((status, &*out), (Some(1), ""), "{err}");
        let shown = format!("'{}'", path.display());
        assert!(err.contains(&shown), "{err}");
        err.replace(&shown, "FILE")
    };
    let after = "(those before it are appended)\n";
    assert_eq!(
        import("cut.frames", &[frame(b"good"), vec![5, 0, 0]].concat()),
        format!(
            "immuta: frame 2 of FILE, at byte 12: it is cut off, or these are no frames {after}"
        )
    );
    assert_eq!(prints(&["cat", d, "cut"]), "good\n");
    for (name, size) in [("short.frames", 100u64), ("huge.frames", u64::MAX)] {
        let bytes = [frame(b"good"), size.to_le_bytes().to_vec(), b"few".to_vec()].concat();
        assert_eq!(
            import(name, &bytes),
            format!(
                "immuta: frame 2 of FILE, at byte 12: it is cut off, or these are no frames {after}"
            )
        );
    }
    let good = "{\"size\":4,\"text\":\"good\"}\n";
    for (n, (line, why)) in [
        (
            "{\"text\":\"x\"",
            "no record: EOF while parsing an object at line 1 column 11",
        ),
        ("{}\n", "it has not one of text and base64"),
        (
            "{\"text\":\"x\",\"base64\":\"\"}\n",
            "it has not one of text and base64",
        ),
        (
            "{\"base64\":\"*\"}\n",
            "its base64 is none: Invalid symbol 42, offset 0.",
        ),
        (
            "{\"text\":\"x\",\"size\":2}\n",
            "it says 2 bytes, and has 1",
        ),
        ("{\"text\":\"x\",\"time\":\"noon\"}\n", "'noon' is no time"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("j{n}");
        assert_eq!(
            import(&format!("{name}.jsonl"), [good, line].concat().as_bytes()),
            format!("immuta: line 2 of FILE, at byte 25: {why} {after}")
        );
        assert_eq!(prints(&["cat", d, &name]), "good\n");
    }
}

#[test]
fn standard_input_is_many_records_when_it_is_said_of_which_form() {
    let dir = Dir::new();
    let d = dir.str();
    let feed = |arguments: &[&str], input: &[u8]| {
        let mut child = immuta(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    feed(&["append", d, "a", "--input", "lines"], b"one\ntwo\n");
    feed(
        &["append", d, "a", "--input", "jsonl"],
        b"{\"text\":\"three\",\"time\":null}\n",
    );
    let frames = [2u64.to_le_bytes().as_slice(), b"4\n", &0u64.to_le_bytes()].concat();
    feed(&["append", d, "a", "--input", "frames"], &frames);
    feed(&["append", d, "a"], b"all\nof\nit\n");
    assert_eq!(
        prints(&["cat", d, "a"]),
        "one\ntwo\nthree\n4\n\nall\nof\nit\n"
    );
    assert_eq!(
        feed(&["import", "-", d, "b", "--input", "frames"], &frames),
        "b: 2 records in count8\n"
    );
    assert_eq!(
        misused(&["import", "-", d, "b"]),
        "immuta: standard input does not tell what it is: say --input frames, jsonl or lines (immuta import --help tells how)\n"
    );
    assert_eq!(
        misused(&["import", "-", d, "--input", "lines"]),
        "immuta: standard input has no name: give NAMESPACE (immuta import --help tells how)\n"
    );
    assert_eq!(
        misused(&["append", d, "a", "text", "--input", "lines"]),
        "immuta: the argument '[TEXT]...' cannot be used with '--input <FORM>' (immuta append --help tells how)\n"
    );
    // What comes through a pipe is there before the pipe is at its end.
    let mut child = immuta(&["append", d, "live", "--input", "lines"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for (line, records) in [("one\ntwo\nthr", 2), ("ee\n", 3)] {
        pipe.write_all(line.as_bytes()).unwrap();
        eventually("it is appended", || {
            let (_, stat, _) = said(&["stat", d, "live"]);
            stat.starts_with(&format!("live: {records} records"))
        });
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());

    // A frame that is cut off in the middle of a pipe: its size tells nothing that is to be believed.
    let mut child = immuta(&["append", d, "a", "--input", "frames"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let torn = [(1u64 << 40).to_le_bytes().as_slice(), b"begins"].concat();
    child.stdin.take().unwrap().write_all(&torn).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "immuta: frame 1 of standard input, at byte 0: it is cut off (those before it are appended)\n"
    );
    assert!(File::open(dir.file("a.log")).is_ok());
    assert_eq!(prints(&["verify", d, "a"]).lines().count(), 1);
}
