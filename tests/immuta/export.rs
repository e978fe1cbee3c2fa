//! `immuta export`, and the way back: `immuta import` and `immuta append` of what it wrote.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use immuta::{Format, Options, RecordNo, Storage};
use nix::sys::signal::{Signal, kill};
use support::immuta_cli::{Dir, immuta, misused, prints, refuses};
use support::{Random, eventually, names};

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
