//! The way out for a log that is refused as damaged: what is whole is kept, and what is cut is kept beside
//! it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::create::pick_id;
use super::disk::{self, DiskFile, OpenMode};
use super::files::Files;
use super::index::Overlay;
use super::lock::take_lock;
use super::recovery;
use super::survey::Survey;
use super::{Cut, Error, Format, Namespace, Options, Recovery, Result};

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What [`repair`] has done to a log, or would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The log's format.
    pub format: Format,
    /// How many bytes the log has after it.
    pub bytes: u64,
    /// What is kept and what is cut. [`Recovery::clean`]: the log is in order, and nothing is done.
    pub recovery: Recovery,
    /// The file, beside the log, that holds what was cut, or would.
    pub saved: Option<PathBuf>,
}

/// Opens the log of `namespace` as with [`Options::repair`], but first writes what is cut off to the file
/// `<namespace>.cut-<offset>` beside it, so that nothing is ever lost. With `dry_run` no byte is written, and
/// no lock is needed.
///
/// It can be stopped at any moment, and be started again.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Locked`] if somebody writes to the directory; [`Error::UnclearFormat`];
/// [`Error::Io`], also when the file to save to is there already with other bytes.
///
/// ```
/// use immuta::{Namespace, Options, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let logs_dir = dir.path();
/// Storage::open(Options::new(logs_dir).namespaces(["events"]))?.close()?;
/// let plan = immuta::repair(&Options::new(logs_dir), &Namespace::new("events")?, true)?;
/// assert!(plan.recovery.clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(options: &Options, namespace: &Namespace, dry_run: bool) -> Result<Repair> {
    let options = options.clone().repair(true).read_only(dry_run);
    let lock = if dry_run {
        None
    } else {
        Some(take_lock(&options.logs_dir)?)
    };
    let files = Files::open(&options, namespace, OpenMode::Read).map_err(|e| match e {
        Error::Io { source, path, .. }
            if source.kind() == io::ErrorKind::NotFound
                && path == namespace.log_path(&options.logs_dir) =>
        {
            Error::NotFound {
                namespace: namespace.to_string(),
            }
        }
        e => e,
    })?;
    let index = Overlay::new(files.index.clone());
    let survey = Survey {
        namespace,
        log_path: &files.log_path,
        index_path: &files.index_path,
        log: &*files.log,
        index: &index,
        slot: files.slot,
        format: files.format,
        boot: options.disk.boot_id(),
        // As one who writes sees it: a tail that nobody counts is to be cut.
        read_only: false,
        repair: true,
    };
    let decision = survey.decide(true)?;
    let saved = decision.recovery.cut.map(|cut| {
        options
            .logs_dir
            .join(format!("{namespace}.cut-{}", cut.offset))
    });
    let plan = Repair {
        format: files.format,
        bytes: decision.tail.log_end,
        recovery: decision.recovery,
        saved,
    };
    if !dry_run && !plan.recovery.clean {
        if let (Some(cut), Some(to)) = (plan.recovery.cut, &plan.saved) {
            save(&options, &files, cut, to)?;
        }
        drop(files);
        let none = std::collections::BTreeMap::new();
        recovery::open(
            &options,
            namespace,
            &|has| has.unwrap_or_else(|| pick_id(namespace, &none)),
            None,
        )?;
    }
    drop(lock);
    Ok(plan)
}

/// Copies what is to be cut, and returns when the copy and its name are on the disk.
fn save(options: &Options, files: &Files, cut: Cut, path: &Path) -> Result<()> {
    let error = |e| Error::io("save what is cut to", path, e);
    let disk = &*options.disk;
    let copy: Arc<dyn DiskFile> = match disk.open(path, OpenMode::Create) {
        Ok(copy) => copy,
        // Left by a repair that was stopped, or by one of the same place before: it may be gone on with, not
        // written over.
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
        disk::read_exact(&*files.log, &mut piece[..n], cut.offset + done)
            .map_err(|e| Error::io("read", &files.log_path, e))?;
        let have = disk::read_up_to(&*copy, &mut saved[..n], done).map_err(error)?;
        if saved[..have] != piece[..have] {
            return Err(error(taken()));
        }
        disk::write_all(&*copy, &piece[have..n], done + have as u64).map_err(error)?;
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
