//! Opening the files of a log, and finding out its format. Nothing is written here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::detect::{Verdict, detect};
use super::evidence::{Evidence, Purpose};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::format::{Format, MAX_HEADER_BYTES};
use crate::namespace::Namespace;
use crate::options::Options;
use crate::progress::{Checking, Watched};
use crate::segment::{Index, Overlay, Segment, read_header, read_slot};

/// Opens the files of the log of `namespace`, and looks at their headers and lengths. Reads more only where the index does not
/// say the format. `checking` watches the reads of the log file, here and later.
///
/// # Errors
/// [`Error::UnclearFormat`], [`Error::Io`].
pub(crate) fn find(
    options: &Options,
    namespace: &Namespace,
    purpose: Purpose,
    checking: Option<&Arc<Checking>>,
) -> Result<Evidence> {
    let log_path = namespace.log_path(&options.logs_dir);
    let index_path = namespace.index_path(&options.logs_dir);
    let disk = &*options.disk;
    let log_error = |e| Error::io("read", &log_path, e);
    let index_error = |e| Error::io("read", &index_path, e);

    let log_file = disk
        .open(&log_path, purpose.open_mode())
        .map_err(|e| Error::io("open", &log_path, e))?;
    let index_file = open_if_there(disk, &index_path, purpose.open_mode())?;
    let has_index_file = index_file.is_some();
    let index_file: Arc<dyn DiskFile> = match index_file {
        Some(index_file) if purpose == Purpose::Write => index_file,
        index_file => Arc::new(Overlay::new(index_file)),
    };
    let slot = read_slot(&*index_file).map_err(index_error)?;
    let log = watched(&log_file, checking).map_err(log_error)?;
    let format = match slot {
        Some(slot) => slot.format,
        None => format_of(options, namespace, &*log).map_err(log_error)??,
    };
    // The header before the length, so that what the header counts is in the file, also beside a writer.
    let header = read_header(&*log, format).map_err(log_error)?;
    let length = log.len().map_err(log_error)?;
    let index_length = index_file.len().map_err(index_error)?;
    Ok(Evidence {
        purpose,
        segment: Segment {
            namespace: namespace.clone(),
            index: Index::found(index_file, slot, format),
            log_file,
            log_path,
            index_path,
            format,
        },
        log,
        has_index_file,
        slot,
        header,
        length,
        index_length,
        boot: disk.boot_id(),
    })
}

fn open_if_there(
    disk: &dyn Disk,
    path: &Path,
    mode: OpenMode,
) -> Result<Option<Arc<dyn DiskFile>>> {
    match disk.open(path, mode) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("open", path, e)),
    }
}

/// The log file, with reads that `checking` counts and can stop.
fn watched(
    log_file: &Arc<dyn DiskFile>,
    checking: Option<&Arc<Checking>>,
) -> io::Result<Arc<dyn DiskFile>> {
    Ok(match checking {
        Some(checking) => Arc::new(Watched::new(log_file.clone(), checking.clone())?),
        None => log_file.clone(),
    })
}

/// The format of a log whose index does not say it: the one that its bytes say, unless they leave a choice, and
/// [`Options::assume_format`] makes it.
fn format_of(
    options: &Options,
    namespace: &Namespace,
    log: &dyn DiskFile,
) -> io::Result<Result<Format>> {
    let length = log.len()?;
    Ok(match (detect(log, length)?, options.assume_format) {
        (Verdict::Is { outweighed, .. }, Some(assumed)) if outweighed.contains(&assumed) => {
            Ok(assumed)
        }
        // A header without records could also be the empty records of a bare log.
        (Verdict::Is { .. }, Some(Format::Bare)) if length <= MAX_HEADER_BYTES as u64 => {
            Ok(Format::Bare)
        }
        (Verdict::Is { format, .. }, _) => Ok(format),
        (Verdict::Nothing | Verdict::Unclear(_), Some(assumed)) => Ok(assumed),
        (Verdict::Nothing, None) => Ok(options.format),
        (Verdict::Unclear(could_be), None) => Err(Error::UnclearFormat {
            namespace: namespace.to_string(),
            could_be,
        }),
    })
}
