//! `immuta repair`.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use immuta::{Damage, Error, Namespace, Options, Recovery, Storage, WayOut};

use crate::Failure;
use crate::open::{Assume, Place, Which, cannot_write, log_of, not_found};
use crate::verify::{damages, read_through, write_damages};

/// Repair a log that cannot be opened: keep what is whole, cut off the rest
///
/// What is cut off is saved as NAMESPACE.cut-OFFSET beside the log first. A log that can be opened is read through instead. Its
/// damaged records, which no repair can mend, are listed, and the exit status is 1 if there are any.
#[derive(Args)]
#[command(
    override_usage = "immuta repair [OPTIONS] [DIR] NAMESPACE",
    after_help = "Example:\n  \
        immuta repair --dry-run /var/lib/immuta orders     what would be done\n  \
        immuta repair /var/lib/immuta orders"
)]
pub(crate) struct Repair {
    #[command(flatten)]
    which: Which,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    assume: Assume,
}

impl Repair {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let Place { dir, namespace } = self.which.place()?;
        repair(&self.assume.options(&dir), &dir, &namespace, self.dry_run)
    }
}

/// Repairs a log, or says what that would do.
fn repair(options: &Options, dir: &Path, name: &str, dry_run: bool) -> Result<(), Failure> {
    let namespace = Namespace::new(name)?;
    // Before the lock is taken: the lock's file would stay behind in a directory that holds no logs.
    if !dir.join(format!("{namespace}.log")).exists() {
        return Err(not_found(
            dir,
            Error::NotFound {
                namespace: namespace.to_string(),
            },
        ));
    }
    let repair = immuta::repair(options, &namespace, dry_run).map_err(|e| match e {
        e @ Error::Locked { .. } => {
            cannot_write(e, |mount| format!("unmount '{}' first", mount.display()))
        }
        e => not_found(dir, e),
    })?;
    if repair.recovery.clean {
        return report_damage(options, name);
    }
    let mut out = io::stdout().lock();
    let (recovery, bytes) = (&repair.recovery, repair.bytes);
    let records = recovery.records;
    let (keep, cut, save, make, set) = if dry_run {
        (
            "would keep",
            "would cut",
            "to be saved in",
            "would make",
            "would set",
        )
    } else {
        ("kept", "cut", "saved in", "made", "set")
    };
    writeln!(
        out,
        "{name}: {keep} {records} records, bytes 0 to {bytes}, format {}",
        repair.format
    )?;
    if let (Some(it), Some(path)) = (recovery.cut, &repair.saved) {
        writeln!(
            out,
            "{name}: {cut} {} bytes, {} to {}: {}; {save} '{}'",
            it.bytes,
            it.offset,
            it.offset + it.bytes,
            it.what,
            path.display()
        )?;
    }
    if let Some(claimed) = recovery.claimed {
        writeln!(
            out,
            "{name}: {set} the count, which was {claimed}, to {records}"
        )?;
    }
    if let Some(from) = recovery.rebuilt_from {
        writeln!(
            out,
            "{name}: {make} the index again for {} records from record {from} on; their times are not known",
            recovery.rebuilt
        )?;
    }
    if recovery.damaged > 0 {
        writeln!(
            out,
            "{name}: {} of them are damaged, and reading them is an error: 'immuta verify' lists them",
            recovery.damaged
        )?;
    }
    match &repair.opening {
        Some(opening) => report_opening(&mut out, name, opening, recovery),
        None => Ok(()),
    }
}

/// Lists the records of an openable log that cannot be read. No repair brings their bytes back.
fn report_damage(options: &Options, name: &str) -> Result<(), Failure> {
    let storage = Storage::open(options.clone().only([name]).read_only(true))?;
    let log = log_of(&storage, name)?;
    let report = read_through(&log)?;
    let mut out = io::stdout().lock();
    write_damages(&mut out, &report)?;
    let (records, bytes) = (report.records, log.state().log_end);
    write!(out, "{name}: {records} records, {bytes} bytes on disk, ")?;
    let one_or_more = match damages(&report) {
        0 => {
            writeln!(out, "in order: nothing to repair")?;
            return Ok(out.flush()?);
        }
        1 => "1 damaged record".to_owned(),
        n => format!("{n} damaged records"),
    };
    // Of damage in the index, the message says how to mend it: the record itself may be whole.
    let is_in_index = |damage: &Damage| damage.way_out == Some(WayOut::DeleteIndex);
    let fate = if report.damaged.iter().any(is_in_index) {
        "of which those in the index are mended as is said above"
    } else {
        "which cannot be mended"
    };
    writeln!(out, "{one_or_more}, {fate}; all others are readable")?;
    out.flush()?;
    Err(Failure::Reported)
}

/// Says what opening the log without a repair would do.
fn report_opening(
    out: &mut dyn io::Write,
    name: &str,
    opening: &Result<Recovery, String>,
    repair: &Recovery,
) -> Result<(), Failure> {
    let opening = match opening {
        Ok(opening) => opening,
        Err(why) => return Ok(writeln!(out, "{name}: opening it is refused: {why}")?),
    };
    write!(
        out,
        "{name}: opening it would keep {} records",
        opening.records
    )?;
    if let Some(cut) = opening.cut {
        let to = cut.offset + cut.bytes;
        write!(
            out,
            " and cut {} bytes, {} to {to}: {}",
            cut.bytes, cut.offset, cut.what
        )?;
    }
    if let Some(path) = &opening.saved {
        write!(out, "; to be saved in '{}'", path.display())?;
    }
    writeln!(out)?;
    if opening.records < repair.records {
        writeln!(
            out,
            "{name}: repair keeps more: if this is a copy whose index is older than its log, repair it before it is opened"
        )?;
    }
    Ok(())
}
