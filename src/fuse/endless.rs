//! Files whose size is 0 and that do not end there.
//!
//! `follow` of an empty log waits, and of a long `log.jsonl` nobody knows the size. Programs that read know
//! what to do with a size of 0, from `/proc`. But to `sendfile(2)` and `splice(2)` it is the end: the kernel
//! ends them without asking for a byte, and with them the `cat` of BusyBox and of the Rust coreutils. If it
//! asked, it would be refused (EINVAL), and they would read instead.
//!
//! So before the kernel gets an answer with such a size it is told of a byte far behind (FUSE_NOTIFY_STORE).
//! That raises the size that it goes by itself, and marks the file as changed since the question was put: the
//! answer is handed to the program that asked for it, and is too old to change the kernel's own mind
//! (`attr_version` in the kernel's fs/fuse/inode.c). The byte is never seen: to read it takes a page, and pages
//! of such files are refused.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use fuser::{INodeNo, Notifier};

/// Where the first of these bytes is told to be, further than the kernel reads ahead from the beginning.
const FAR_BYTES: u64 = 1 << 30;

/// The way to tell the kernel, once there is a session.
#[derive(Debug, Default)]
pub(crate) struct Endless {
    notifier: OnceLock<Notifier>,
    told: AtomicU64,
}

impl Endless {
    /// From now on there is a session.
    pub(crate) fn begin(&self, notifier: Notifier) {
        // It is the only one of the program.
        let _ = self.notifier.set(notifier);
    }

    /// To be called before the answer to each question for the attributes of such a file.
    pub(super) fn show(&self, ino: INodeNo) {
        let Some(notifier) = self.notifier.get() else {
            return;
        };
        // Only what makes the file longer is news; and the beginning of a page would be taken for all of it.
        let offset = FAR_BYTES + 2 * self.told.fetch_add(1, Ordering::Relaxed) + 1;
        if let Err(e) = notifier.store(ino, offset, &[0]) {
            log::debug!("to the kernel inode {} ends at 0: {e}", ino.0);
        }
    }
}
