//! Saving what is cut off a log in a file beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::Cut;
use crate::disk;
use crate::disk::{DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::options::Options;

/// How many bytes are copied at a time.
const PIECE_BYTES: usize = 1 << 20;
/// The most files for cuts at one place of a log.
const MOST_AT_ONE_PLACE: u32 = 1000;

/// The file for what is cut at `offset`.
pub(crate) fn cut_path(options: &Options, namespace: &Namespace, offset: u64) -> PathBuf {
    options.logs_dir.join(format!("{namespace}.cut-{offset}"))
}

/// Copies what is to be cut to `<namespace>.cut-<offset>`; if that file holds other bytes, to `<namespace>.cut-<offset>-2`, and
/// so on. Returns the path, once the copy and its name are on the disk.
pub(crate) fn save_beside(
    options: &Options,
    namespace: &Namespace,
    log: (&dyn DiskFile, &Path),
    cut: Cut,
) -> Result<PathBuf> {
    let first = cut_path(options, namespace, cut.offset);
    let mut path = first.clone();
    for n in 2..=MOST_AT_ONE_PLACE {
        match save(options, log, cut, &path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                let mut next = first.clone().into_os_string();
                next.push(format!("-{n}"));
                path = next.into();
            }
            result => return result.map(|()| path),
        }
    }
    save(options, log, cut, &path).map(|()| path)
}

/// Copies what is to be cut to `path`. Returns once the copy and its name are on the disk.
pub(crate) fn save(
    options: &Options,
    (log, log_path): (&dyn DiskFile, &Path),
    cut: Cut,
    path: &Path,
) -> Result<()> {
    let error = |e| Error::io("save what is cut to", path, e);
    let disk = &*options.disk;
    let copy: Arc<dyn DiskFile> = match disk.open(path, OpenMode::Create) {
        Ok(copy) => copy,
        // A process that was stopped has left it, or an earlier cut at the same place: the copy may be continued, but bytes
        // that differ are not overwritten.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.open(path, OpenMode::Write).map_err(error)?
        }
        Err(e) => return Err(error(e)),
    };
    let there = copy.len().map_err(error)?;
    if there > cut.bytes {
        return Err(error(taken()));
    }
    let (mut piece, mut saved) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut done = 0;
    while done < cut.bytes {
        let n = usize::try_from(cut.bytes - done)
            .unwrap_or(usize::MAX)
            .min(PIECE_BYTES);
        disk::read_exact(log, &mut piece[..n], cut.offset + done)
            .map_err(|e| Error::io("read", log_path, e))?;
        let have = disk::read_up_to(&*copy, &mut saved[..n], done).map_err(error)?;
        if saved[..have] != piece[..have] {
            return Err(error(taken()));
        }
        // Bytes that are there are written again, too: a sync of them may have failed.
        disk::write_all(&*copy, &piece[..n], done).map_err(error)?;
        done += n as u64;
    }
    copy.sync_data()
        .and_then(|()| disk.sync_dir(&options.logs_dir))
        .map_err(error)
}

fn taken() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "it holds other bytes already (move it away, and try again)",
    )
}
