//! Extended attributes, as programs see them.

use support::{Mount, shell_ok};

/// Runs a Python script in the namespace `default`.
fn python(mount: &Mount, script: &str) -> String {
    let script = format!("import errno, os\n{script}");
    shell_ok(
        "cd \"$1\" && python3 -c \"$2\"",
        &[&mount.file(""), &script],
    )
}

// > A record has `user.immuta.record`, its number, and `user.immuta.index`, the offset of its size field in the
// > log. A namespace, and each file that shows its records, has `user.immuta.count` and `user.immuta.format`.
#[test]
fn attributes_tell_a_records_place_and_a_namespaces_count() {
    let mount = Mount::with(&["--format", "count16"]);
    mount.append("abc");
    mount.append("de");
    let all = r#"
def show(name):
    print(name, {a: os.getxattr(name, a).decode() for a in os.listxattr(name)})
for name in ('0', '1', '2', '.', 'log', 'follow', 'frames', 'follow-frames', 'log.jsonl', 'follow.jsonl', 'from/1',
             'append', 'append-file', 'count', 'stats', 'from', '..', '../.immuta', '../.immuta/status'):
    show(name)
"#;
    let (record, index) = ("user.immuta.record", "user.immuta.index");
    let of_all = "{'user.immuta.count': '2', 'user.immuta.format': 'count16'}";
    let mut expected = format!(
        "0 {{'{record}': '0', '{index}': '16'}}\n1 {{'{record}': '1', '{index}': '27'}}\n2 {{'{record}': '2'}}\n"
    );
    for name in [
        ".",
        "log",
        "follow",
        "frames",
        "follow-frames",
        "log.jsonl",
        "follow.jsonl",
        "from/1",
    ] {
        expected += &format!("{name} {of_all}\n");
    }
    for name in [
        "append",
        "append-file",
        "count",
        "stats",
        "from",
        "..",
        "../.immuta",
        "../.immuta/status",
    ] {
        expected += &format!("{name} {{}}\n");
    }
    assert_eq!(python(&mount, all), expected);
    mount.append("f");
    assert_eq!(
        python(
            &mount,
            "print(os.getxattr('log', 'user.immuta.count'), os.getxattr('2', 'user.immuta.index'))"
        ),
        "b'3' b'37'\n"
    );
    // It is what the number is: where the record's size field is in the log.
    let log = std::fs::read(mount.logs().join("default.log")).unwrap();
    assert_eq!(log[37..45], 1u64.to_le_bytes());
}

#[test]
fn attributes_that_are_not_there_are_enodata_and_other_kinds_are_not_supported() {
    let mount = Mount::new();
    mount.append("abc");
    let script = r#"
for name in ('0', 'log', '.', 'append', '..', '../.immuta/status'):
    for attribute in ('user.other', 'user.immuta', 'user.immuta.recor', 'security.selinux', 'security.capability',
                      'system.posix_acl_access', 'trusted.x'):
        try: print(name, attribute, os.getxattr(name, attribute))
        except OSError as e:
            expected = errno.ENODATA if attribute.startswith('user.') else errno.EOPNOTSUPP
            assert e.errno == expected, (name, attribute, e)
"#;
    assert_eq!(python(&mount, script), "");
}

// > `setxattr` and `removexattr` are EPERM for every file and name, for root too, unless the kernel reports
// > another error first.
#[test]
fn no_attribute_is_set_or_removed() {
    let mut mount = Mount::new();
    mount.append("abc");
    let script = r#"
def refused(call, *arguments):
    try: call(*arguments)
    except OSError as e: assert e.errno in (errno.EPERM, errno.EACCES), (arguments, e)
    else: print('not refused', arguments)
names = ['0', '1', '.', '..', 'from', 'from/0', '../.immuta'] + [n for n in os.listdir('.') if n != '0']
names += ['../.immuta/' + n for n in os.listdir('../.immuta')]
assert len(names) > 20
for name in names:
    for attribute in ('user.immuta.record', 'user.immuta.count', 'user.other', 'security.other', 'trusted.other'):
        refused(os.setxattr, name, attribute, b'1')
        refused(os.setxattr, name, attribute, b'1', os.XATTR_CREATE)
        refused(os.removexattr, name, attribute)
print(os.listxattr('0'), os.getxattr('0', 'user.immuta.record'), os.listxattr('append'))
"#;
    assert_eq!(
        python(&mount, script),
        "['user.immuta.record', 'user.immuta.index'] b'0' []\n"
    );
    assert!(mount.stop().success());
    mount.options(&["--read-only"]);
    mount.start();
    let script = r#"
try: os.setxattr('log', 'user.other', b'1')
except OSError as e: print(errno.errorcode[e.errno])
print(os.getxattr('log', 'user.immuta.count'))
"#;
    assert_eq!(python(&mount, script), "EROFS\nb'1'\n");
}

#[test]
fn a_copy_keeps_where_it_came_from_and_a_listing_asks_once() {
    let mount = Mount::new();
    (0..50).for_each(|n| mount.append(format!("record {n}")));
    // On a disk that has attributes; tmpfs has none of `user.` in older kernels.
    let target = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = r#"
        cp --preserve=xattr "$1/17" "$2/copy" && python3 -c '
import os, sys
print({a: os.getxattr(sys.argv[1], a) for a in os.listxattr(sys.argv[1])})' "$2/copy"
        strace -f -o "$2/trace" ls -l "$1" > "$2/listed" && wc -l < "$2/listed"
        echo $(( $(grep -c 'xattr(.*EOPNOTSUPP' "$2/trace") <= 4 ))"#;
    assert_eq!(
        shell_ok(script, &[&mount.file(""), &target.path()]),
        "{'user.immuta.record': b'17', 'user.immuta.index': b'287'}\n65\n1\n"
    );
}
