//! Replies that come too late, in the log of the program.

use log::{Level, Log, Metadata, Record};
use nix::errno::Errno;

/// A reply for which nobody waits any more, ENOENT to the kernel, is no error: `close` does not wait until the
/// kernel has let go of a file, and a mount may end before that is answered.
pub struct LateRepliesAreNoErrors<L>(pub L);

impl<L: Log> Log for LateRepliesAreNoErrors<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        const SENDER: &str = "fuser::reply";
        let is_late = || {
            let nobody_waits = std::io::Error::from(Errno::ENOENT).to_string();
            record.args().to_string().ends_with(&nobody_waits)
        };
        if record.target() == SENDER && is_late() {
            let late = Record::builder()
                .level(Level::Debug)
                .target(record.target())
                .module_path(record.module_path())
                .args(*record.args())
                .build();
            self.0.log(&late);
        } else {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
