//! What the kernel is told unasked. To store a byte in its cache, or to drop one, takes the page's lock, which a `splice`
//! holds until its own request is answered: a thread that answers requests and waits for that lock hangs the
//! mount for everybody, past SIGKILL. So no such notification is sent at all. Two remain: a poller is woken, which waits
//! for no page (`fuse_notify_poll` in the kernel's fs/fuse/file.c), and an inotify watcher by a change of
//! times, by a process that answers nothing (src/fuse/mount/nudge_process.rs).

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .collect()
}

/// The files whose code, without its comments, has a word.
fn that_say(word: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let says = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().map(|l| l.split("//").next().unwrap());
        code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
            .any(|w| w == word)
    };
    let found = sources(&root).into_iter().filter(|path| says(path));
    let mut names: Vec<String> = found
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn nothing_is_told_to_the_kernel_that_can_wait_for_a_page() {
    // fuser's way to send any notification, its methods that can wait, and the kernel's names of them.
    let never = "Notifier notifier inval_inode inval_entry FUSE_NOTIFY_STORE FUSE_NOTIFY_INVAL_INODE \
        FUSE_NOTIFY_INVAL_ENTRY FUSE_NOTIFY_DELETE FUSE_NOTIFY_RETRIEVE FUSE_NOTIFY_PRUNE";
    for word in never.split_whitespace() {
        assert_eq!(that_say(word), [""; 0], "{word}");
    }
    assert_eq!(
        that_say("PollNotifier"),
        ["fuse/fuser/calls.rs", "fuse/fuser/reply.rs"]
    );
    // A change on the mount itself is a request that somebody has to answer: another process makes it.
    assert_eq!(that_say("utimensat"), ["fuse/mount/nudge_process.rs"]);
}
