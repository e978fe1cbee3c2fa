//! The file `stats`, as a program reads it.

use std::fs;

use support::{Mount, Reader, shell_ok};

fn stats(mount: &Mount, expression: &str) -> String {
    let script = r#"python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2""#;
    shell_ok(script, &[&mount.file("stats"), &expression])
        .trim_end()
        .to_owned()
}

// > `stats` is one JSON object, as of its opening: namespace, records, bytes, text_bytes, first_time, last_time, format,
// > sync, checksummed, rebuilt, blocked_readers, and failed, which is null or says why the log takes no more records.
#[test]
fn stats_tell_what_is_known_of_a_log() {
    let mut mount = Mount::with(&["--sync", "200ms"]);
    assert_eq!(
        stats(&mount, "list(s)"),
        "['namespace', 'records', 'bytes', 'text_bytes', 'first_time', 'last_time', 'format', 'sync', \
         'checksummed', 'rebuilt', 'blocked_readers', 'failed']"
    );
    assert_eq!(
        stats(&mount, "s['records'], s['bytes'], s['first_time']"),
        "(0, 8, None)"
    );
    mount.append("abc");
    mount.append("de\n");
    let reader = Reader::start("cat", &[&mount.file("2")]);
    reader.wait_until_blocked();
    assert_eq!(
        stats(&mount, "[s[k] for k in s if not k.endswith('_time')]"),
        "['default', 2, 30, 7, 'count8', '200ms', 2, 0, 1, None]"
    );
    assert_eq!(
        stats(
            &mount,
            "s['first_time'] <= s['last_time'], s['last_time'][-1]"
        ),
        "(True, 'Z')"
    );
    assert_eq!(
        fs::metadata(mount.file("stats")).unwrap().len(),
        support::read(&mount.file("stats")).len() as u64
    );
    drop(reader);

    // Without the index nothing is known of who wrote the records.
    mount.restart_without_index();
    assert_eq!(
        stats(&mount, "s['checksummed'], s['rebuilt'], s['last_time']"),
        "(0, 2, None)"
    );
}
