//! What an open file makes of the bytes that are written to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::handle::{Handle, Input};
use crate::fs::errno::Errno;
use crate::fs::forms::Refused;
use crate::fs::locks::lock;
use crate::fs::namespace::MountedLog;
use crate::fs::settings::Settings;
use crate::fs::transport::WriteMode;
use immuta::{AppendOptions, Payloads};

/// In which the kernel counts how much of a write it sends at once.
const PAGE_BYTES: usize = 4096;

/// How a mount appends what was written to it: the writer is answered before the readers are told, and a queue of its own
/// waits for the disk.
pub(crate) const ANSWER_FIRST: AppendOptions<'static> = AppendOptions::new().quiet().unsynced();

impl Handle {
    /// Stores what a write brings. Returns whether the log grew. `closing`: no line waits for its newline any more. Long
    /// because each file that takes records takes them in another form.
    pub(crate) fn take(
        &self,
        data: &[u8],
        mode: WriteMode,
        settings: &Settings,
        closing: &AtomicBool,
    ) -> Result<bool, Errno> {
        let log = &self.namespace.log;
        let max_bytes = settings.max_record_bytes;
        let mut grew = false;
        let mut store = |batch: &[&[u8]]| {
            let appended = log.append_with(Payloads::Batch(batch), ANSWER_FIRST)?;
            self.appended(appended.record, batch.len());
            grew = true;
            Ok(())
        };
        match &self.input {
            Some(Input::Writes { before }) => {
                check_whole(&self.namespace, data, before, mode, settings)?;
                store(&[data])?;
            }
            Some(Input::Lines {
                only_appended: true,
                ..
            }) if !mode.append => {
                return Err(Errno::EPERM);
            }
            Some(Input::Lines { lines, opener, .. }) => {
                let mut lines = lock(lines);
                lines.write(data, max_bytes, &mut store)?;
                if closing.load(Ordering::SeqCst) {
                    lines.finish(&mut store)?;
                }
                if lines.has_partial() {
                    opener.resolve();
                }
            }
            Some(Input::Frames { frames, opener }) => {
                let mut frames = lock(frames);
                frames
                    .write(data, max_bytes, &mut store)
                    .map_err(|refused| {
                        if !matches!(refused, Refused::NotStored(_)) {
                            log::warn!(
                                "namespace '{}': a write to 'append-frames' was refused: {refused}",
                                log.namespace()
                            );
                        }
                        Errno::from(refused)
                    })?;
                if frames.unfinished().is_some() {
                    opener.resolve();
                }
            }
            Some(Input::File(_)) | None => return Err(Errno::EBADF),
        }
        Ok(grew)
    }

    /// Makes a record of a line that still waits for its newline. Returns whether there was one; with `--sync always`
    /// it is then to be synced. A frame that waits for its end becomes no record; a warning says so.
    pub(crate) fn finish(&self) -> Result<bool, Errno> {
        let log = &self.namespace.log;
        match &self.input {
            Some(Input::Lines { lines, .. }) => {
                let mut lines = lock(lines);
                if !lines.has_partial() {
                    return Ok(false);
                }
                lines
                    .finish(|batch| {
                        let appended = log.append_with(Payloads::Batch(batch), ANSWER_FIRST)?;
                        self.appended(appended.record, batch.len());
                        Ok(())
                    })
                    .inspect_err(|_| self.namespace.refuse_write())?;
                return Ok(true);
            }
            Some(Input::Frames { frames, .. }) => {
                if let Some(unfinished) = lock(frames).unfinished() {
                    log::warn!(
                        "namespace '{}': what was written to 'append-frames' ends in the middle of a frame: \
                         {unfinished}, and nothing of it is stored",
                        log.namespace()
                    );
                }
            }
            // What is not closed is no record: see `spool`.
            Some(Input::Writes { .. } | Input::File(_)) | None => {}
        }
        Ok(false)
    }
}

/// A write to `append` is one record, so it must be whole: neither the rest of one that the kernel has split, nor as long as
/// one that it may have split. `before`: how many bytes the last write had, if it may have been the beginning of one.
///
/// # Errors
/// `EMSGSIZE`.
fn check_whole(
    namespace: &MountedLog,
    data: &[u8],
    before: &AtomicU64,
    mode: WriteMode,
    settings: &Settings,
) -> Result<(), Errno> {
    let whole = if mode.offset == 0 {
        data.len() as u64
    } else {
        0
    };
    let before = before.swap(whole, Ordering::Relaxed);
    if is_rest(before, mode, settings) {
        log::warn!(
            "namespace '{}': the rest of a writev to 'append', {} bytes, was refused (EMSGSIZE): the kernel \
             splits one whose pieces lie in more than {} pages, and its first {before} bytes are a \
             record already (gather the pieces into one buffer)",
            namespace.log.namespace(),
            data.len(),
            settings.split_write_bytes / PAGE_BYTES,
        );
        return Err(Errno::EMSGSIZE);
    }
    if data.len() >= settings.split_write_bytes {
        log::warn!(
            "namespace '{}': a write of {} bytes to 'append' was refused (EMSGSIZE): from {} bytes on the \
             kernel may have split it, and one write is one record (write it to 'append-file', \
             which takes any size, or lines to 'append-lines')",
            namespace.log.namespace(),
            data.len(),
            settings.split_write_bytes
        );
        return Err(Errno::EMSGSIZE);
    }
    Ok(())
}

/// Whether a write is the rest of one that the kernel has split: it goes on where the write before it ended, which
/// had a byte, at least, in each page that the kernel sends at most. With O_APPEND every write comes with
/// an offset, and nobody can tell.
fn is_rest(before: u64, mode: WriteMode, settings: &Settings) -> bool {
    let least = (settings.split_write_bytes / PAGE_BYTES) as u64;
    !mode.append && mode.offset != 0 && mode.offset == before && before >= least
}
