//! Repairing a log that is refused as damaged: the records before the damage are kept, and what is cut is saved beside the log.

use std::io;
use std::path::PathBuf;

use super::create::pick_id;
use super::directory_lock::take_lock;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::recovery;
use crate::recovery::{Cut, Purpose, Recovery, cut_path, decide, find, save};

/// What [`repair`] has done to a log; of a dry run, what it would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The log's format.
    pub format: Format,
    /// How many bytes the log has after the repair.
    pub bytes: u64,
    /// What is kept and what is cut. With [`Recovery::clean`], the log is in order and stays as it is.
    pub recovery: Recovery,
    /// The file beside the log for what is cut.
    pub saved: Option<PathBuf>,
    /// Of a dry run: what opening the log without a repair would find and do, or why it would be refused.
    pub opening: Option<Result<Recovery, String>>,
}

/// Opens the log of `namespace` as with [`Options::repair`], but first saves what is cut off in the file
/// `<namespace>.cut-<offset>` beside it, so that nothing is lost. A `dry_run` writes nothing, and needs no lock.
///
/// A repair can be stopped at any moment, and started again.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Locked`] if another writer has the directory; [`Error::UnclearFormat`];
/// [`Error::Io`], also if the file for what is cut holds other bytes.
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
    let evidence = find(&options, namespace, Purpose::Plan, None).map_err(|e| match e {
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
    let decision = decide(&evidence, true, true)?;
    let saved = |cut: &Cut| cut_path(&options, namespace, cut.offset);
    let opening = dry_run.then(|| {
        let as_it_is = decide(&evidence, true, false).map_err(|e| e.to_string())?;
        let mut found = as_it_is.recovery;
        found.saved = found.cut.filter(|cut| cut.records > 0).as_ref().map(saved);
        Ok(found)
    });
    let saved = decision.recovery.cut.as_ref().map(saved);
    let plan = Repair {
        format: evidence.segment.format,
        bytes: decision.end.log_end,
        recovery: decision.recovery,
        saved,
        opening,
    };
    if !dry_run && !plan.recovery.clean {
        if let (Some(cut), Some(to)) = (plan.recovery.cut, &plan.saved) {
            let log = (&*evidence.log, &*evidence.segment.log_path);
            save(&options, log, cut, to)?;
        }
        drop(evidence);
        recovery::open(
            &options,
            namespace,
            &|has| has.unwrap_or_else(|| pick_id(namespace, |_| true)),
            None,
        )?;
    }
    drop(lock);
    Ok(plan)
}
