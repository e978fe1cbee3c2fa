//! The two files of a log as they are found, and the format that they say, before anything is decided.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::detect::{Verdict, detect};
use crate::disk::{DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::{MAX_HEADER_BYTES, Slot};
use crate::namespace::Namespace;
use crate::options::Options;
use crate::progress::{Checking, Watched};
use crate::segment::read_slot;

pub(crate) struct Files {
    pub(crate) log_path: PathBuf,
    pub(crate) index_path: PathBuf,
    pub(crate) log: Arc<dyn DiskFile>,
    /// `None`: there is no such file.
    pub(crate) index: Option<Arc<dyn DiskFile>>,
    /// What the index says, if it is one.
    pub(crate) slot: Option<Slot>,
    pub(crate) format: Format,
}

impl Files {
    /// Opens what is there, and changes nothing.
    pub(crate) fn open(options: &Options, namespace: &Namespace, mode: OpenMode) -> Result<Self> {
        Files::open_watched(options, namespace, mode, None)
    }

    /// As [`Files::open`], while somebody may watch.
    pub(crate) fn open_watched(
        options: &Options,
        namespace: &Namespace,
        mode: OpenMode,
        checking: Option<&Arc<Checking>>,
    ) -> Result<Self> {
        let log_path = namespace.log_path(&options.logs_dir);
        let index_path = namespace.index_path(&options.logs_dir);
        let disk = &*options.disk;
        let log = disk
            .open(&log_path, mode)
            .map_err(|e| Error::io("open", &log_path, e))?;
        let index = match disk.open(&index_path, mode) {
            Ok(index) => Some(index),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &index_path, e)),
        };
        let slot = match &index {
            Some(index) => read_slot(&**index).map_err(|e| Error::io("read", &index_path, e))?,
            None => None,
        };
        let format = match slot {
            Some(slot) => slot.format,
            None => {
                let file = watched(&log, checking).map_err(|e| Error::io("read", &log_path, e))?;
                format_of(options, namespace, &*file)
                    .map_err(|e| Error::io("read", &log_path, e))??
            }
        };
        Ok(Files {
            log_path,
            index_path,
            log,
            index,
            slot,
            format,
        })
    }
}

/// A log's file, as it is read by a check that somebody may watch.
pub(crate) fn watched(
    log: &Arc<dyn DiskFile>,
    checking: Option<&Arc<Checking>>,
) -> io::Result<Arc<dyn DiskFile>> {
    Ok(match checking {
        Some(checking) => Arc::new(Watched::new(log.clone(), checking.clone())?),
        None => log.clone(),
    })
}

/// The format of a log whose index does not say it.
fn format_of(
    options: &Options,
    namespace: &Namespace,
    file: &dyn DiskFile,
) -> io::Result<Result<Format>> {
    let verdict = detect(file, file.len()?)?;
    Ok(match (verdict, options.assume_format) {
        (Verdict::Is(format), None) => Ok(format),
        // A header without records can be a bare log of empty ones, for whoever says so.
        (Verdict::Is(_), Some(Format::Bare)) if file.len()? <= MAX_HEADER_BYTES as u64 => {
            Ok(Format::Bare)
        }
        (Verdict::Is(format), Some(_)) => Ok(format),
        (Verdict::Weighed(_, others), Some(format)) if others.contains(&format) => Ok(format),
        (Verdict::Weighed(format, _), _) => Ok(format),
        (_, Some(format)) => Ok(format),
        (Verdict::Nothing, None) => Ok(options.format),
        (Verdict::Unclear(could_be), None) => Err(Error::UnclearFormat {
            namespace: namespace.to_string(),
            could_be,
        }),
    })
}
