//! `append-frames`: what `frames` shows of one log, another one takes. See docs/semantics.md.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use support::files::{frame, frames_of};
use support::{Mount, Random, eventually, read, refused, shell, shell_ok};

/// A namespace of its own.
fn namespace(mount: &Mount, name: &str) -> PathBuf {
    let path = mount.path().join(name);
    fs::create_dir(&path).unwrap();
    path
}

/// Records of any bytes: empty ones, frames, newlines, and one that many writes have to bring.
fn wild_records(random: &mut Random) -> Vec<Vec<u8>> {
    let mut records = vec![vec![], b"\n".to_vec(), b"no newline".to_vec(), vec![0; 8]];
    records.push(frame("a frame in a frame"));
    for _ in 0..400 {
        let size = [0, 1, 7, 8, 9, 100, 3000][random.below(7)];
        let size = random.below(size + 1);
        records.push(random.bytes(size));
    }
    records.insert(100, random.bytes(400_000));
    records
}

// > One frame written to `append-frames` is one record, however the writer's buffers cut it. A frame is 8 bytes,
// > little-endian, that give a size, and then that many bytes; a size of 0 is an empty record.
#[test]
fn a_log_is_copied_record_by_record_whatever_program_does_it() {
    let mut mount = Mount::new();
    let records = wild_records(&mut Random(5));
    mount
        .appender("append-frames")
        .write_all(&frames_of(&records))
        .unwrap();
    mount.has_records(&records);
    for (n, copy) in [
        "cat frames > $to",
        "cat < frames | cat > $to",
        "cp frames $to",
        "busybox cat frames > $to",
        "tee $to < frames > /dev/null",
        "cat frames | dd of=$to bs=11",
        "dd if=frames of=$to bs=4097",
        "dd if=frames of=$to bs=1048575",
        "cat frames | dd ibs=100 obs=70001 > $to",
        "head -n -0 frames > $to",
        "python3 -c 'import shutil, sys; shutil.copyfileobj(open(\"frames\", \"rb\"), open(sys.argv[1], \"wb\"))' $to",
        "{ head -c 12345; cat; } < frames > $to",
    ]
    .into_iter()
    .enumerate()
    {
        let to = namespace(&mount, &format!("copy-{n}"));
        let script = format!(
            r#"cd "$1"; to="$2/append-frames"; set -eo pipefail; {copy}; cmp frames "$2/frames"; cat "$2/count""#
        );
        let count = shell_ok(&script, &[&mount.file(""), &to]);
        assert_eq!(count.trim_end(), records.len().to_string(), "{copy}");
    }
    mount.stop_and_verify();
}

/// As `ssh host cat .../follow-frames > .../append-frames` does: the pipe cuts where it likes.
#[test]
fn a_log_is_kept_in_step_with_another_one_through_a_pipe() {
    let mut mount = Mount::new();
    let copy = namespace(&mount, "copy");
    let mut from = Command::new("cat")
        .arg(mount.file("follow-frames"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut cut = Command::new("dd")
        .args(["bs=7", "status=none"])
        .stdin(from.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = Command::new("bash")
        .args(["-c", r#"exec cat > "$1""#, "bash"])
        .arg(copy.join("append-frames"))
        .stdin(cut.stdout.take().unwrap())
        .spawn()
        .unwrap();
    let mut random = Random(6);
    for n in 0..300 {
        let bytes = random.below(200);
        mount.append([&b"."[..], &random.bytes(bytes)].concat());
        if n % 50 == 0 {
            eventually("the copy has the record", || {
                copy.join(n.to_string()).exists() && copy.join((n + 1).to_string()).exists()
            });
        }
    }
    let same = || read(&copy.join("frames")) == read(&mount.file("frames"));
    eventually("the copy has all records", same);
    from.kill().unwrap();
    from.wait().unwrap();
    for child in [&mut cut, &mut to] {
        assert!(support::wait(child).success());
    }
    assert!(same());
    mount.stop_and_verify();
}

// > The whole frames of one write to `append-frames` below 1 MiB - 4 KiB become visible at once. After a crash
// > all of them are there or none.
#[test]
fn the_frames_of_a_write_are_seen_together() {
    const BATCH: u64 = 7;
    let mount = Mount::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = mount.appender("append-frames");
            for n in 0..2000 {
                let batch: Vec<String> = (0..BATCH).map(|i| format!("{n} {i}")).collect();
                file.write_all(&frames_of(&batch)).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            assert_eq!(mount.count() % BATCH, 0);
        }
    });
    assert_eq!(mount.count(), 2000 * BATCH);
}

#[test]
fn a_kill_of_the_daemon_leaves_whole_batches_and_all_that_were_acknowledged() {
    const BATCH: usize = 50;
    let mut mount = Mount::new();
    let acknowledged = AtomicU64::new(0);
    for round in 0..12u64 {
        std::thread::scope(|scope| {
            let path = mount.file("append-frames");
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let mut file = File::options().append(true).open(path).unwrap();
                loop {
                    let batch = acknowledged.load(Ordering::SeqCst);
                    let records: Vec<String> = (0..BATCH)
                        .map(|i| format!("{batch} {i} {:>200}", ""))
                        .collect();
                    if file.write_all(&frames_of(&records)).is_err() {
                        return;
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
            let before = acknowledged.load(Ordering::SeqCst);
            eventually("it is under way", || {
                acknowledged.load(Ordering::SeqCst) > before + 10 + round
            });
            mount.kill();
        });
        mount.start();
        let (count, sure) = (mount.count(), acknowledged.load(Ordering::SeqCst));
        assert_eq!(count % BATCH as u64, 0, "round {round}: a part of a batch");
        let batches = count / BATCH as u64;
        assert!(sure <= batches && batches <= sure + 1, "{sure} {batches}");
        // What was stored and not acknowledged is there, too.
        acknowledged.store(batches, Ordering::SeqCst);
    }
    let log = fs::read_to_string(mount.file("log")).unwrap();
    for (n, line) in log.lines().enumerate() {
        let expected = format!("{} {} ", n / BATCH, n % BATCH);
        assert!(line.starts_with(&expected), "{line:?} at {n}");
    }
    mount.stop_and_verify();
}

// > A size above `--max-record` is EMSGSIZE as soon as it is written, and a negative size is EINVAL. Nothing of
// > that write is stored, and an unfinished frame from earlier writes still waits for its end.
#[test]
fn a_bad_size_is_refused_with_its_whole_write() {
    let mount = Mount::with(&["--max-record", "1KiB"]);
    let mut file = mount.appender("append-frames");
    let text = frames_of(["one", "two"]);
    assert_eq!(file.write(&text[..15]).unwrap(), 15);
    assert_eq!(mount.count(), 1);
    for (size, errno) in [
        (-1, Errno::EINVAL),
        (i64::MIN, Errno::EINVAL),
        (1025, Errno::EMSGSIZE),
        (i64::MAX, Errno::EMSGSIZE),
    ] {
        refused(
            file.write(&[&text[15..], &size.to_le_bytes()].concat()),
            errno,
        );
        assert_eq!(mount.count(), 1);
    }
    assert_eq!(file.write(&text[15..]).unwrap(), 7);
    let largest = frame([b'x'; 1024]);
    assert_eq!(file.write(&largest).unwrap(), largest.len());
    // What waits is no more than a record, however many writes bring it.
    assert_eq!(file.write(&largest[..500]).unwrap(), 500);
    assert_eq!(file.write(&largest[500..]).unwrap(), largest.len() - 500);
    drop(file);
    assert_eq!(mount.count(), 4);
    let messages = mount.messages();
    for said in [
        "namespace 'default': a write to 'append-frames' was refused: a frame's size is -1 (a frame is 8 bytes, \
         little-endian, that say how many bytes follow, and those bytes)",
        "a frame's size is 1025, and a record has 1024 bytes at most (raise --max-record; text that is not in frames \
         belongs into 'append-lines')",
    ] {
        assert!(messages.contains(said), "{messages}");
    }
    // The letters of a text make a huge size: nobody has to wait for the close to learn that.
    let output = shell(
        r#"echo 'hello world' > "$1""#,
        &[&mount.file("append-frames")],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("Message too long"),
        "{said}"
    );
    assert_eq!(mount.count(), 4);
}

// > A frame whose end never comes is not stored. When the process that opened the file closes it in the middle
// > of a frame, `close` is EINVAL.
#[test]
fn a_frame_without_its_end_makes_close_fail_and_is_not_stored() {
    let mut mount = Mount::new();
    let mut whole = tempfile::NamedTempFile::new().unwrap();
    whole
        .write_all(&frames_of(["first", "second", "third"]))
        .unwrap();
    let script = r#"
        head -c -1 "$2" > "$2.cut"
        for copy in 'cat $from > $to' 'cp $from $to' 'dd if=$from of=$to status=none' 'cat < $from | cat > $to' \
            'python3 -c "import shutil, sys; shutil.copyfile(*sys.argv[1:])" $from $to'
        do
            from="$2" to="$1/append-frames" bash -ec "$copy" || echo "failed: $copy"
            cat "$1/count"
            from="$2.cut" to="$1/append-frames" bash -ec "$copy" 2> "$2.said" && echo "did not fail: $copy"
            grep -q 'Invalid argument' "$2.said" || cat "$2.said"
            cat "$1/count"
        done
        rm "$2.cut" "$2.said""#;
    let said = shell_ok(script, &[&mount.file(""), &whole.path()]);
    assert_eq!(said, "3\n5\n8\n10\n13\n15\n18\n20\n23\n25\n");
    let line = "namespace 'default': what was written to 'append-frames' ends in the middle of a frame: 1 of the 5 bytes \
                of its payload are missing, and nothing of it is stored";
    eventually("the daemon has said so of each", || {
        mount.messages().matches(line).count() == 5
    });

    // A process that inherited the file does not decide; the opener's close tells.
    let script = r#"
        cd "$1"
        { head -c 10 "$2"; (head -c 5 >&2) < "$2" 2> /dev/null; tail -c +11 "$2"; } > append-frames; cat count
        (head -c 10 "$2"; tail -c +11 "$2") > append-frames; cat count
        exec 3> append-frames; head -c 10 "$2" >&3; cat count; tail -c +11 "$2" >&3; exec 3>&-; cat count"#;
    let said = shell_ok(script, &[&mount.file(""), &whole.path()]);
    assert_eq!(said, "28\n31\n31\n34\n");

    // Killed, and the end of the daemon: nothing is stored, and that is said.
    let before = mount.messages().len();
    let script = r#"exec 3> "$1/append-frames"; printf '\05\0\0' >&3; kill -KILL $$"#;
    assert!(!shell(script, &[&mount.file("")]).status.success());
    let header = "ends in the middle of a frame: 5 of the 8 bytes of its size are missing";
    eventually("it is said", || mount.messages()[before..].contains(header));
    let mut file = mount.appender("append-frames");
    file.write_all(&frame("unfinished")[..9]).unwrap();
    assert!(mount.stop().success());
    drop(file);
    let messages = mount.messages();
    assert!(
        messages.contains("9 of the 10 bytes of its payload are missing"),
        "{messages}"
    );
    mount.start();
    assert_eq!(mount.count(), 34);
    mount.stop_and_verify();
}

#[test]
fn append_frames_is_as_the_other_append_files_in_all_else() {
    for sync in ["always", "1h", "never"] {
        let mut mount = Mount::with(&["--sync", sync]);
        let path = mount.file("append-frames");
        let bytes = frames_of(["one", "two"]);
        for options in [
            File::options().write(true),
            File::options().append(true),
            File::options().write(true).create(true).truncate(true),
            File::options().append(true).custom_flags(libc::O_SYNC),
            File::options().write(true).custom_flags(libc::O_DSYNC),
        ] {
            let mut file = options.open(&path).unwrap();
            file.write_all(&bytes[..12]).unwrap();
            file.set_len(0).unwrap();
            refused(file.set_len(1), Errno::EPERM);
            refused(file.write_at(&bytes, 0), Errno::ESPIPE);
            refused(file.seek(SeekFrom::Start(0)), Errno::ESPIPE);
            file.sync_data().unwrap();
            file.write_all(&bytes[12..]).unwrap();
            file.sync_all().unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        mount.kill();
        mount.start();
        let log = fs::read_to_string(mount.file("log")).unwrap();
        assert_eq!(log, "one\ntwo\n".repeat(5));
        mount.stop_and_verify();
    }
}

#[test]
fn eight_writers_through_three_files_and_every_record_is_there_once_whole_and_in_each_ones_order() {
    const RECORDS: usize = 3000;
    let mut mount = Mount::new();
    // Frames leave in writes that end anywhere, or with several frames in each; lines of `log` in writes of a
    // buffer's size, or one at a time.
    let script = r#"
        cat > "$3" <<'END'
import os, random, struct, sys
path, writer, count, cut = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
random.seed(writer)
fd, rest = os.open(path, os.O_WRONLY), b''
for i in range(count):
    record = b'%s %d %s\n' % (writer.encode(), i, b'x' * (i % 300))
    rest += struct.pack('<q', len(record)) + record
    while len(rest) > 2000:
        n = random.randrange(1, 3000) if cut else len(rest)
        n = os.write(fd, rest[:n])
        rest = rest[n:]
while rest:
    rest = rest[os.write(fd, rest):]
os.close(fd)
END
        printf -v pad '%300s' ''; pad=${pad// /x}
        each() { for ((i = 0; i < $3; i++)); do printf '%s %d %s\n' "$2" $i "${pad:0:i%300}"; done; }
        buffered() { awk -v w="$1" -v n="$2" -v pad="$pad" \
            'BEGIN { for (i = 0; i < n; i++) printf "%s %d %s\n", w, i, substr(pad, 1, i % 300) }'; }
        jobs=()
        for w in a0 a1; do each - $w $2 > "$1/append" & jobs+=($!); done
        for w in f0 f1; do python3 "$3" "$1/append-frames" $w $2 1 & jobs+=($!); done
        python3 "$3" "$1/append-frames" f2 $2 0 & jobs+=($!)
        for w in l0 l1; do each - $w $2 >> "$1/log" & jobs+=($!); done
        buffered l2 $2 >> "$1/log" & jobs+=($!)
        for job in "${jobs[@]}"; do wait $job || exit; done"#;
    let program = tempfile::NamedTempFile::new().unwrap();
    let records = RECORDS.to_string();
    shell_ok(script, &[&mount.file(""), &records, &program.path()]);

    mount.has_each_writers_lines(8, RECORDS);
    mount.stop_and_verify();
}
