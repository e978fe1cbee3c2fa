//! What the daemon says of a reply that the kernel did not take.

use std::sync::Mutex;

use immuta_fs::fuse::LateReplyFilter;
use log::{Level, Log, Metadata, Record};
use nix::errno::Errno;

#[derive(Default)]
struct Levels(Mutex<Vec<Level>>);

impl Log for &Levels {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.level());
    }

    fn flush(&self) {}
}

#[test]
fn only_a_reply_for_which_nobody_waits_is_no_error() {
    let levels = Levels::default();
    let logger = LateReplyFilter(&levels);
    let fails = |target: &str, errno: Errno| {
        let error = std::io::Error::from(errno);
        logger.log(
            &Record::builder()
                .target(target)
                .level(Level::Error)
                .args(format_args!("Failed to send FUSE reply: {error}"))
                .build(),
        );
    };
    fails("fuser::reply", Errno::ENOENT);
    fails("fuser::reply", Errno::EINVAL);
    fails("immuta_fs::fs", Errno::ENOENT);
    assert_eq!(
        *levels.0.lock().unwrap(),
        [Level::Debug, Level::Error, Level::Error]
    );
}
