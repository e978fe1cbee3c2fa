//! `execve(2)` closes what is marked close-on-exec, and that close is like any other. While it lasts the kernel
//! holds a lock on the process, for which most of `/proc` waits: a daemon that looks there would wait for ever,
//! and the process with it, which no signal could end.

use support::{Mount, Reader};

/// What programs do that open a file close-on-exec, as Python and Rust open all files, and execute `echo`; and
/// whether they write to it.
const OPENERS: [(bool, &str); 4] = [
    (true, "os.write(fd, sent); run()"),
    (false, "run()"),
    // A duplicate stays open.
    (
        true,
        "os.set_inheritable(os.dup(fd), True); os.write(fd, sent); run()",
    ),
    // The opener closes it, and a child executes.
    (
        false,
        "r, w = os.pipe()\n\
         if os.fork() == 0:\n    \
             os.close(w); os.read(r, 1); run()\n\
         os.close(fd); os.close(w); os.wait()",
    ),
];

/// Runs it; `echo` was executed, and all has ended, when this returns.
#[track_caller]
fn run(mount: &Mount, file: &str, sent: &str, script: &str) {
    let who = format!("{file}: {script}");
    let script = format!(
        "import os, sys\n\
         def run(): os.execlp('echo', 'echo', 'executed')\n\
         sent = {sent}\n\
         fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n\
         {script}"
    );
    let mut program = Reader::python(&script, &[&mount.file(file)]);
    program.expect(&who, "executed");
    assert!(program.end(&who).success(), "{who}");
}

// > An `execve` that closes a file, because it was opened close-on-exec, has the effect of a `close`.
#[test]
fn a_program_that_is_executed_closes_what_was_opened_close_on_exec() {
    let mut mount = Mount::new();
    let mut expected = Vec::<&[u8]>::new();
    for (writes, script) in OPENERS {
        for (file, sent, record) in [
            ("append", "b'one'", Some(&b"one"[..])),
            ("append-lines", "b'two'", Some(b"two")),
            ("log", "b'three'", Some(b"three")),
            ("append-file", "b'four'", Some(b"four")),
            (
                "append-file",
                "b'5' * 100_000",
                Some([b'5'; 100_000].as_slice()),
            ),
            // Half a frame is no record.
            ("append-frames", "b'six'", None),
        ] {
            run(&mount, file, sent, script);
            expected.extend(record.filter(|_| writes));
        }
    }
    mount.has_records(&expected);
    mount.stop_and_verify();
}
