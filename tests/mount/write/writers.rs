//! Appending: what is one record, who may write at the same time, and what is refused. See docs/semantics.md.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DEADLINE, Mount, Random, append, eventually, read, refused, shell, shell_ok};

/// A write to `append` of this size or more may have been split by the kernel.
const SPLIT_BYTES: usize = (1 << 20) - 4096;
const PAGE_BYTES: usize = 4096;

/// Bytes with a newline every now and then, NULs, a line of `longest` bytes, and no newline at the end.
fn wild_lines(random: &mut Random, bytes: usize, longest: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + longest);
    while text.len() < bytes {
        let length = random.below(200);
        text.extend(random.bytes(length).iter().filter(|&&b| b != b'\n'));
        text.extend(&b"\n\0\n\n"[..random.below(5)]);
    }
    text.push(b'\n');
    text.extend(random.bytes(longest).iter().filter(|&&b| b != b'\n'));
    text.extend(b"\nno newline");
    text
}

// > Any number of processes can append at the same time: no record is mixed, torn or lost, and the records of
// > each writer keep their order.
// > Records are numbered from 0, without gaps. A write that begins after another write has returned gets the
// > higher number.
#[test]
fn eight_processes_append_and_every_record_is_there_once_whole_and_in_each_ones_order() {
    const RECORDS: usize = 10_000;
    let mut mount = Mount::new();
    // The printf of bash writes each record by itself; awk and seq write when their buffer of 4 KiB is full,
    // which is in the middle of a line.
    let script = r#"
        each() { for ((i = 0; i < $3; i++)); do printf '%s %d %s\n' "$2" $i "${pad:0:i%300}"; done > "$1"; }
        buffered() { awk -v w="$2" -v n="$3" -v pad="$pad" \
            'BEGIN { for (i = 0; i < n; i++) printf "%s %d %s\n", w, i, substr(pad, 1, i % 300) }' > "$1"; }
        printf -v pad '%300s' ''; pad=${pad// /x}
        jobs=()
        for w in a0 a1 a2 a3; do each "$1/append" $w $2 & jobs+=($!); done
        each "$1/append-lines" l0 $2 & jobs+=($!)
        each "$1/append-lines" l1 $2 & jobs+=($!)
        buffered "$1/append-lines" l2 $2 & jobs+=($!)
        buffered "$1/append-lines" l3 $2 & jobs+=($!)
        for job in "${jobs[@]}"; do wait $job || exit; done"#;
    shell_ok(script, &[&mount.file(""), &RECORDS.to_string()]);

    mount.has_each_writers_lines(8, RECORDS);
    mount.stop_and_verify();
}

// > `log` of lines written with `append-lines` is byte for byte what was written; a last line without a newline
// > is shown with one.
// > One line written to `append-lines` is one record, with its newline, however the writer's buffers cut it.
// > A byte's offset in `follow` and `log` never changes, also after more appends and after a remount.
// > A numbered file holds exactly the bytes of its record.
#[test]
fn log_is_what_was_fed_to_append_lines_and_every_offset_stays() {
    let mut mount = Mount::new();
    let mut random = Random(7);
    let text = wild_lines(&mut random, 1 << 20, 3 << 20);
    let mut file = File::options()
        .write(true)
        .open(mount.file("append-lines"))
        .unwrap();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let most = [10, 300, 5000, 400_000][random.below(4)];
        let (now, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
        file.write_all(now).unwrap();
        rest = later;
    }
    drop(file);
    // The last line has no newline of its own; `log` shows one.
    assert!(read(&mount.file("log")) == [&text[..], b"\n"].concat());
    let lines: Vec<&[u8]> = text.split_inclusive(|&b| b == b'\n').collect();
    assert_eq!(mount.count(), lines.len() as u64);
    for n in [0, 1, lines.len() / 2, lines.len() - 2, lines.len() - 1] {
        assert!(read(&mount.file(&n.to_string())) == lines[n], "record {n}");
    }

    mount.append("more");
    let text = [&text[..], b"\nmore\n"].concat();
    for round in 0..3 {
        for name in ["log", "follow"] {
            let file = File::open(mount.file(name)).unwrap();
            for _ in 0..300 {
                let at = random.below(text.len());
                let mut piece = vec![0; (1 + random.below(6000)).min(text.len() - at)];
                file.read_exact_at(&mut piece, at as u64).unwrap();
                assert!(
                    piece == text[at..at + piece.len()],
                    "{name} at {at}, round {round}"
                );
            }
        }
        match round {
            0 => mount.append("and more"),
            _ => mount.restart(),
        }
    }
    mount.stop_and_verify();
}

#[test]
fn cat_of_a_large_file_into_append_lines_gives_the_same_file() {
    let mount = Mount::new();
    let mut text = wild_lines(&mut Random(8), 8 << 20, 100_000);
    text.push(b'\n');
    let source = tempfile::NamedTempFile::new().unwrap();
    fs::write(source.path(), &text).unwrap();
    shell_ok(
        r#"cat "$1" > "$2/append-lines" && cmp "$1" "$2/log""#,
        &[&source.path(), &mount.file("")],
    );
    // From one log to another one, where the kernel could copy by itself.
    shell_ok(
        r#"mkdir "$1/copy" && cat "$1/default/log" > "$1/copy/append-lines" && cmp "$1/default/log" "$1/copy/log""#,
        &[&mount.path()],
    );
    let lines = text.split_inclusive(|&b| b == b'\n').count() as u64;
    assert_eq!(mount.count(), lines);
}

// > One `write(2)` to `append` is one record, byte for byte, newlines and NULs included. So is one `writev(2)`
// > whose pieces lie in no more than 255 pages of memory, summed over the pieces.
#[test]
fn one_write_to_append_is_one_record_whatever_is_in_it() {
    let mut mount = Mount::new();
    let mut random = Random(9);
    let mut file = mount.appender("append");
    let mut records: Vec<Vec<u8>> = [&b"\n"[..], b"\0", b"a\nb\n", b"\n\n\0\n", b"no newline"]
        .map(Vec::from)
        .into();
    for size in [1, 7, 8, 4095, 4096, 4097, 65_536, 300_000, SPLIT_BYTES - 1] {
        records.push(random.bytes(size));
    }
    for record in &records {
        assert_eq!(file.write(record).unwrap(), record.len());
    }
    let pieces: Vec<Vec<u8>> = (0..200).map(|i| random.bytes(1 + i)).collect();
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p)).collect();
    assert_eq!(
        file.write_vectored(&slices).unwrap(),
        pieces.concat().len(),
        "writev"
    );
    records.push(pieces.concat());

    for _ in 0..2 {
        mount.has_records(&records);
        let output = shell(
            r#"cd "$1" && for ((n = 0; n < $2; n++)); do cat $n || exit; done"#,
            &[&mount.file(""), &records.len().to_string()],
        );
        assert!(output.stdout == records.concat());
        mount.restart();
    }
    mount.stop_and_verify();
}

/// The kernel counts the pages of each piece, also when all pieces lie in one page, and splits a write of more than 256. Two
/// pieces of the same buffer became two records, and nobody was told.
// > One `write(2)` to `append` is one record, byte for byte, newlines and NULs included. So is one `writev(2)`
// > whose pieces lie in no more than 255 pages of memory, summed over the pieces.
// > The kernel splits a `writev` of more pieces or pages than that. Without O_APPEND the rest of it is EMSGSIZE,
// > so that the `writev` returns how many bytes became the record.
#[test]
fn regression_a_writev_of_many_pieces_is_one_record_or_says_how_much_of_it_is() {
    let mut mount = Mount::new();
    let mut memory = Vec::new();
    let aligned = page_aligned(&mut memory, 1 << 20);
    let some =
        |pieces: usize, bytes: usize| vec![IoSlice::new(&memory[aligned..][..bytes]); pieces];
    let open = |append: bool| {
        let mut options = File::options();
        options
            .write(true)
            .append(append)
            .open(mount.file("append"))
            .unwrap()
    };
    let mut records: Vec<Vec<u8>> = Vec::new();
    for append in [false, true] {
        let mut file = open(append);
        for (pieces, bytes) in [
            (255, 4),
            (85, 3 * PAGE_BYTES - 9),
            (21, 12 * PAGE_BYTES - 9),
        ] {
            let record = vec![b'x'; pieces * bytes];
            assert_eq!(
                file.write_vectored(&some(pieces, bytes)).unwrap(),
                record.len()
            );
            records.push(record);
        }
    }
    for (pieces, bytes) in [
        (257, 4),
        (1024, 4),
        (20, 50 * PAGE_BYTES),
        (300, PAGE_BYTES / 2),
    ] {
        let mut file = open(false);
        // After another write, too.
        file.write_all(b"before").unwrap();
        records.push(b"before".to_vec());
        match file.write_vectored(&some(pieces, bytes)) {
            Ok(written) => {
                assert!(written < pieces * bytes, "{pieces} pieces of {bytes}");
                records.push(vec![b'x'; written]);
            }
            // As large as what is refused anyway.
            Err(e) => assert_eq!(e.raw_os_error(), Some(libc::EMSGSIZE)),
        }
        // What comes next is no rest.
        file.write_all(b"after").unwrap();
        records.push(b"after".to_vec());
    }
    // Nor is a write of the same length, again and again.
    let mut file = open(false);
    for _ in 0..3 {
        assert_eq!(file.write(&[b'y'; 300]).unwrap(), 300);
        records.push(vec![b'y'; 300]);
    }
    drop(file);
    let said = "the rest of a writev to 'append', 4 bytes, was refused (EMSGSIZE)";
    assert!(mount.messages().contains(said), "{}", mount.messages());
    mount.has_records(&records);
    mount.stop_and_verify();
}

/// Memory that begins on a page.
fn page_aligned(memory: &mut Vec<u8>, bytes: usize) -> usize {
    memory.resize(bytes + 2 * PAGE_BYTES, b'x');
    memory.as_ptr().align_offset(PAGE_BYTES)
}

// > A write of 1 MiB - 4 KiB or more to `append` is EMSGSIZE and stores nothing, however the kernel splits it.
#[test]
fn a_write_that_the_kernel_may_split_is_refused_and_one_byte_less_is_one_record() {
    let mount = Mount::new();
    let mut memory = Vec::new();
    let aligned = page_aligned(&mut memory, 4 << 20);
    let mut file = mount.appender("append");
    let mut count = 0;
    for start in [aligned, aligned + 1, aligned + PAGE_BYTES - 1] {
        for size in [SPLIT_BYTES, SPLIT_BYTES + 1, 1 << 20, 2 << 20, 3 << 20] {
            refused(file.write(&memory[start..start + size]), Errno::EMSGSIZE);
            assert_eq!(mount.count(), count);
        }
        let largest = &memory[start..start + SPLIT_BYTES - 1];
        assert_eq!(file.write(largest).unwrap(), largest.len());
        assert!(read(&mount.file(&count.to_string())) == largest);
        count += 1;
        assert_eq!(mount.count(), count);
    }
    assert!(
        mount.messages().contains(
            "namespace 'default': a write of 1044480 bytes to 'append' was refused (EMSGSIZE): from 1044480 bytes on \
             the kernel may have split it, and one write is one record (write it to 'append-file', which takes any \
             size, or lines to 'append-lines')"
        ),
        "{}",
        mount.messages()
    );
}

// > `>` and `>>` mean the same on append files: opening them with O_TRUNC, and `ftruncate` to 0, change nothing.
#[test]
fn truncating_an_append_file_to_nothing_changes_nothing() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        for f in append append-lines; do echo one > $f; echo two >> $f; done
        truncate -s 0 append append-lines
        cat log"#;
    assert_eq!(shell_ok(script, &[&mount.file("")]), "one\ntwo\none\ntwo\n");
    for name in ["append", "append-lines"] {
        let path = mount.file(name);
        let mut file = File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(b"half").unwrap();
        file.set_len(0).unwrap();
        file.write_all(b" and half\n").unwrap();
        refused(file.set_len(1), Errno::EPERM);
        // O_CREAT, which `>` has too, is no creation of a file that is there.
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
    let expected = "one\ntwo\none\ntwo\nhalf\n and half\nhalf and half\n";
    assert_eq!(fs::read_to_string(mount.file("log")).unwrap(), expected);
}

// > Append files have no offset: `lseek` and `pwrite` are ESPIPE.
#[test]
fn an_append_file_has_no_offset() {
    let mount = Mount::new();
    for name in ["append", "append-lines"] {
        for append in [false, true] {
            let mut file = File::options()
                .write(true)
                .append(append)
                .open(mount.file(name))
                .unwrap();
            for _ in 0..3 {
                file.write_all(b"next\n").unwrap();
            }
            // As on a pipe. Taken at its word, an offset near the largest would have the kernel refuse the
            // writes with O_APPEND of everybody else: it puts them behind it.
            refused(file.write_at(b"nowhere", 3), Errno::ESPIPE);
            refused(
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(0)),
                Errno::ESPIPE,
            );
        }
    }
    assert_eq!(
        fs::read_to_string(mount.file("log")).unwrap(),
        "next\n".repeat(12)
    );
    assert_eq!(mount.count(), 12);
}

// > A line without a newline becomes a record when the process that opened the file closes it. A close by a
// > process that inherited the descriptor does not end the line.
#[test]
fn a_line_ends_when_its_opener_closes_the_file_and_not_when_a_child_does() {
    let mount = Mount::new();
    // Each `cat count` tells that what is before it is there, or not there.
    let script = r#"
        cd "$1"
        printf par > append-lines; cat count
        exec 3>append-lines; /usr/bin/printf par >&3; cat count; /usr/bin/printf 'tial\n' >&3; cat count; exec 3>&-; cat count
        (/usr/bin/printf 'two '; /usr/bin/printf 'halves\n') > append-lines; cat count
        { /usr/bin/printf 'and '; (/usr/bin/printf 'three '; :); /usr/bin/printf parts; } > append-lines; cat count
        cat log"#;
    assert_eq!(
        shell_ok(script, &[&mount.file("")]),
        "1\n1\n2\n2\n3\n4\npar\npartial\ntwo halves\nand three parts\n"
    );
    assert_eq!(read(&mount.file("0")), b"par");
    assert_eq!(read(&mount.file("3")), b"and three parts");
}

/// The redirections of a shell's own commands close descriptors of the file, and open them again from
/// duplicates.
#[test]
fn a_line_does_not_end_while_its_opener_has_the_file_open() {
    let mount = Mount::new();
    let script = r#"
        cd "$1"
        exec 3>append-lines; printf 'one ' >&3; cat count; printf 'line\n' >&3; cat count; printf end >&3; exec 3>&-; cat count
        { printf 'and '; echo aside >&2; printf 'another\n'; } > append-lines; cat count
        exec 3>append-lines 4>&3; printf half >&3; exec 3>&-; cat count; printf ' a line' >&4; exec 4>&-; cat count"#;
    assert_eq!(shell_ok(script, &[&mount.file("")]), "0\n1\n2\n3\n3\n4\n");
    assert_eq!(
        read(&mount.file("log")),
        b"one line\nend\nand another\nhalf a line\n"
    );
}

/// Each look at `append-lines` gives another inode with `--sync always`, and the kernel then shows the older
/// opens of it as those of a file that was deleted: a line was ended in its middle.
#[test]
fn regression_a_line_does_not_end_because_somebody_has_looked_at_its_file() {
    let mount = Mount::with(&["--sync", "always"]);
    let script = r#"
        cd "$1"
        exec 3>append-lines
        for piece in one line in pieces; do printf '%s ' $piece >&3; stat append-lines > /dev/null; cat count; done
        printf '\n' >&3; exec 3>&-; cat count log"#;
    assert_eq!(
        shell_ok(script, &[&mount.file("")]),
        "0\n0\n0\n0\n1\none line in pieces \n"
    );
}

#[test]
fn a_line_ends_when_another_thread_of_its_opener_closes_the_file() {
    let mount = Mount::new();
    let mut file = mount.appender("append-lines");
    file.write_all(b"half").unwrap();
    assert_eq!(mount.count(), 0);
    std::thread::scope(|s| {
        s.spawn(|| {
            file.write_all(b" and").unwrap();
            drop(file);
            assert_eq!(mount.count(), 1);
        });
    });
    assert_eq!(read(&mount.file("0")), b"half and");

    // The thread that opened it is gone when the first line is left open.
    let path = mount.file("append-lines");
    let mut file = std::thread::spawn(move || File::options().append(true).open(path).unwrap())
        .join()
        .unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    eventually("the line is a record", || mount.count() == 2);
}

#[test]
fn a_writer_that_is_killed_leaves_its_open_line_as_a_record() {
    let mount = Mount::new();
    let mut writer = Command::new("bash")
        .args([
            "-c",
            r#"exec 3>&1 >"$1"; printf 'whole\nopen'; (echo ready >&3); read -r"#,
            "bash",
        ])
        .arg(mount.file("append-lines"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(writer.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(mount.count(), 1);
    kill(Pid::from_raw(writer.id() as i32), Signal::SIGKILL).unwrap();
    support::wait(&mut writer);
    assert_eq!(mount.count(), 2);
    assert_eq!(read(&mount.file("1")), b"open");
}

// > Lines and frames that wait for their end, and writes that wait for a slow disk, take at most
// > `--max-open-bytes` (1 GiB) of memory in the whole mount, and those of one user at most half of that. A write
// > that would take more is ENOBUFS and stores nothing. The memory is given back when a line or frame ends, and
// > when a write has its turn.
#[test]
fn what_waits_for_its_end_takes_no_more_memory_than_was_said_and_gives_it_back() {
    let mount = Mount::with(&["--max-open-bytes", "8MiB"]);
    // The first append waits for the disk: then no other write waits for its turn.
    mount.append("first");
    let held = |name: &str| {
        let status = std::fs::read_to_string(mount.path().join(".immuta/status")).unwrap();
        let of = status.split(&format!("\"{name}\": ")).nth(1).unwrap();
        let digits = of.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse::<u64>().unwrap()
    };
    let part = vec![b'a'; 1 << 19];
    let mut frame = (1u64 << 30 >> 4).to_le_bytes().to_vec();
    frame.resize(1 << 19, b'f');
    let mut files: Vec<File> = Vec::new();
    let mut refused_writes = 0;
    for n in 0..20 {
        let (name, bytes) = match n % 2 {
            0 => ("append-lines", &part),
            _ => ("append-frames", &frame),
        };
        let mut file = mount.appender(name);
        match file.write(bytes) {
            Ok(written) => assert_eq!(written, bytes.len()),
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(Errno::ENOBUFS as i32));
                refused_writes += 1;
            }
        }
        files.push(file);
    }
    // Half of it is this user's.
    assert_eq!(refused_writes, 12);
    assert_eq!(held("refused_for_memory"), 12);
    assert_eq!(held("open_bytes"), 4 << 20);
    assert_eq!(mount.count(), 1);
    assert_eq!(
        files[0].write(b"\n").unwrap_err().raw_os_error(),
        Some(Errno::ENOBUFS as i32)
    );
    // What is not open is none of it, and one that ends makes room.
    drop(files.split_off(4));
    eventually("one that ends makes room", || files[0].write(b"\n").is_ok());
    eventually("what has ended takes nothing", || {
        held("open_bytes") == 3 << 19
    });
    // Its bytes are all there: those of the two lines that were closed, and its own.
    assert_eq!(mount.count(), 4);
    let sizes: Vec<u64> = (1..4)
        .map(|n| std::fs::metadata(mount.file(&n.to_string())).unwrap().len())
        .collect();
    assert_eq!(sizes, [1 << 19, 1 << 19, (1 << 19) + 1]);
    drop(files);
    eventually("all of it is given back", || held("open_bytes") == 0);
}

// > A line longer than `--max-record` is EMSGSIZE.
#[test]
fn a_line_longer_than_max_record_is_refused_and_what_waited_goes_on_waiting() {
    let mount = Mount::with(&["--max-record", "1KiB"]);
    let mut file = mount.appender("append-lines");
    let mut text = Vec::new();
    let mut fits = |file: &mut File, bytes: &[u8]| {
        assert_eq!(file.write(bytes).unwrap(), bytes.len());
        text.extend(bytes);
    };
    fits(&mut file, &[b'a'; 1000]);
    refused(file.write(&[b'a'; 25]), Errno::EMSGSIZE);
    refused(file.write(b"123456789012345678901234\n"), Errno::EMSGSIZE);
    assert_eq!(mount.count(), 0);
    fits(&mut file, b"12345678901234567890123\n");
    assert_eq!(mount.count(), 1);
    // Any line of a write, not only its first; and what it leaves open.
    let long = [b'b'; 1025];
    refused(
        file.write(&[b"c\n", &long[..], b"\n"].concat()),
        Errno::EMSGSIZE,
    );
    refused(file.write(&[b"c\n", &long[..]].concat()), Errno::EMSGSIZE);
    fits(
        &mut file,
        &[b"d\n", &long[..1023], b"\n", &long[..1024]].concat(),
    );
    refused(file.write(b"\n"), Errno::EMSGSIZE);
    assert_eq!(mount.count(), 3);
    drop(file);
    assert!(read(&mount.file("log")) == [&text[..], b"\n"].concat());
    assert_eq!(mount.count(), 4);
    // It is of lines: a write to `append` has its own limit.
    mount.append([b'e'; 2000]);
}

#[test]
fn max_record_may_be_raised_above_its_default() {
    let mount = Mount::with(&["--max-record", "80MiB"]);
    let mut file = mount.appender("append-lines");
    let piece = vec![b'a'; 1 << 20];
    for _ in 0..70 {
        file.write_all(&piece).unwrap();
    }
    file.write_all(b"\n").unwrap();
    assert_eq!(mount.count(), 1);
    assert_eq!(fs::metadata(mount.file("0")).unwrap().len(), (70 << 20) + 1);
}

#[test]
fn an_orderly_end_of_the_daemon_stores_a_line_that_is_open() {
    let mut mount = Mount::new();
    let mut file = mount.appender("append-lines");
    file.write_all(b"whole\nopen").unwrap();
    assert!(mount.stop().success());
    drop(file);
    mount.start();
    assert_eq!(mount.count(), 2);
    assert_eq!(read(&mount.file("1")), b"open");
}

// > `fsync` and `fdatasync` on an append file return when every record appended through it is on the disk.
// > With O_SYNC or O_DSYNC a write to an append file returns when its records are on the disk.
#[test]
fn fsync_and_fdatasync_succeed_on_append_files() {
    for sync in ["always", "1h", "never"] {
        let mut mount = Mount::with(&["--sync", sync]);
        for name in ["append", "append-lines"] {
            let mut file = mount.appender(name);
            file.sync_all().unwrap();
            file.write_all(b"one\n").unwrap();
            file.sync_all().unwrap();
            file.write_all(b"two\n").unwrap();
            file.sync_data().unwrap();
            for flag in [libc::O_DSYNC, libc::O_SYNC] {
                let mut file = File::options()
                    .append(true)
                    .custom_flags(flag)
                    .open(mount.file(name))
                    .unwrap();
                file.write_all(b"more\n").unwrap();
            }
        }
        // In the log file, past any buffer of the daemon's. What the disk has is for the engine's tests.
        let disk = fs::read(mount.logs().join("default.log")).unwrap();
        assert_eq!(disk[..8], 8u64.to_le_bytes());
        mount.kill();
        mount.start();
        assert_eq!(
            fs::read_to_string(mount.file("log")).unwrap(),
            "one\ntwo\nmore\nmore\n".repeat(2)
        );
    }
}

// > When a write has returned, its record is there: every read that begins afterwards finds it.
// > `count` is the number of records and a newline. A read that begins at offset 0 takes the number anew.
#[test]
fn another_process_finds_a_record_as_soon_as_its_write_has_returned() {
    let mount = Mount::new();
    // Answers each number with what count, the numbered file and an open `log` have now.
    let script = r#"
        exec 4<"$1/log"
        while read -r n; do
            read -r count < "$1/count"; read -r record < "$1/$n"; read -r line <&4
            echo "$count|$record|$line"
        done"#;
    let mut reader = Command::new("timeout")
        .arg(DEADLINE.as_secs().to_string())
        .args(["bash", "-c", script, "bash"])
        .arg(mount.file(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = reader.stdin.take().unwrap();
    let mut answers = BufReader::new(reader.stdout.take().unwrap());
    for n in 0..1000 {
        let name = if n % 2 == 0 { "append" } else { "append-lines" };
        append(&mount.file(name), format!("record {n}\n")).unwrap();
        writeln!(questions, "{n}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, format!("{}|record {n}|record {n}\n", n + 1));
    }
    drop(questions);
    assert!(support::wait(&mut reader).success());
}

// > `st_size` of `follow` and `log` is the number of bytes that can be read from them now.
// > `follow` and `log` show each record followed by a newline, unless it ends in one.
#[test]
fn sizes_are_true_after_each_append() {
    let mount = Mount::new();
    let mut text = Vec::new();
    for record in [&b"a"[..], b"b\n", b"\n", b"\0", b"c\nd", b"\n\n"] {
        mount.append(record);
        text.extend(record);
        if !record.ends_with(b"\n") {
            text.push(b'\n');
        }
        for name in ["log", "follow"] {
            let size = fs::metadata(mount.file(name)).unwrap().len();
            assert_eq!(size, text.len() as u64, "{name}");
            let mut bytes = vec![0; text.len()];
            File::open(mount.file(name))
                .unwrap()
                .read_exact_at(&mut bytes, 0)
                .unwrap();
            assert_eq!(bytes, text, "{name}");
        }
        assert_eq!(read(&mount.file("log")), text);
        assert_eq!(size_of(&mount.file("count")), 2);
    }
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
