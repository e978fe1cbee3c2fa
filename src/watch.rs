//! With `--read-only`: learns from the kernel that another process has written to a log, or made one.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use immuta::fs::Fs;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::fuse::Kernel;

/// Changes in a directory of logs. What happens between its start and its use is not lost.
pub(crate) struct Watch(Inotify);

impl Watch {
    /// Begins to watch a directory.
    ///
    /// # Errors
    /// When it is not there, or the user has as many watches as the system allows.
    pub(crate) fn start(logs_dir: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let changes =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(logs_dir, changes)?;
        Ok(Watch(inotify))
    }

    /// Keeps `fs` up to date, on a thread that lives as long as the program.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn serve(self, fs: Arc<Fs<Kernel>>) -> io::Result<()> {
        let run = move || {
            fs.refresh(None);
            loop {
                match self.0.read_events() {
                    Ok(events) => {
                        let overflow = events
                            .iter()
                            .any(|e| e.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
                        // Of a thousand appends since the last look, one look shows all.
                        let names: BTreeSet<_> =
                            events.into_iter().filter_map(|e| e.name).collect();
                        if overflow {
                            fs.refresh(None);
                        }
                        for name in names {
                            if let Some(log) =
                                name.to_str().and_then(|name| name.strip_suffix(".log"))
                            {
                                fs.refresh(Some(log));
                            }
                        }
                    }
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(e) => return log::error!("the logs are not followed any more: {e}"),
                }
            }
        };
        std::thread::Builder::new()
            .name("watch".into())
            .spawn(run)?;
        Ok(())
    }
}
