//! `--read-only`: keeps the file system up to date with what another process writes to the logs.

use std::io;
use std::sync::Arc;

use immuta_fs::fs::Fs;
use immuta_fs::fuse::Kernel;
use immuta_fs::host::Watch;

/// Keeps `fs` up to date, on a thread that lives as long as the program.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn follow_logs(watch: Watch, fs: Arc<Fs<Kernel>>) -> io::Result<()> {
    let run = move || {
        fs.forget_gone(None);
        fs.refresh(None);
        loop {
            let changes = match watch.wait_for_changes(fs.looks_again_in()) {
                Ok(false) => {
                    fs.look_for_new();
                    continue;
                }
                Ok(true) => watch.changes(),
                Err(e) => Err(e),
            };
            match changes {
                Ok(changes) => {
                    if changes.any {
                        fs.forget_gone(None);
                        fs.refresh(None);
                        fs.refresh_rights(None);
                    }
                    for log in &changes.names {
                        fs.forget_gone(Some(log));
                    }
                    for log in &changes.logs {
                        fs.refresh(Some(log));
                    }
                    for file in &changes.rights {
                        fs.refresh_rights(Some(file));
                    }
                }
                Err(e) => return log::error!("the logs are not followed any more: {e}"),
            }
        }
    };
    std::thread::Builder::new()
        .name("watch".into())
        .spawn(run)?;
    Ok(())
}
