//! Lowers the level of fuser's error messages about replies that come too late.

use log::{Level, Log, Metadata, Record};
use nix::errno::Errno;

/// A logger that passes messages on to another one. fuser logs an error when the kernel refuses a reply with ENOENT:
/// the request is gone. That is no error: `close` does not wait until the file is released, and a mount may end before
/// the release is answered.
pub struct LateReplyFilter<L>(pub L);

impl<L: Log> Log for LateReplyFilter<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        const SENDER: &str = "fuser::reply";
        let is_late = || {
            let no_request = std::io::Error::from(Errno::ENOENT).to_string();
            record.args().to_string().ends_with(&no_request)
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
