//! `immuta verify` and `immuta repair`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use immuta::{Damage, Error, Log, Namespace, Options, Recovery, Report, Storage};

use crate::Failure;
use crate::logs::{
    Assume, Place, Which, all_or_some, cannot_write, log_of, no_logs, not_found, progress_bar,
};

/// Read every byte of the logs and say what is damaged; exit status 1 if anything is
///
/// Works beside a running immuta-fs. The payload is what was appended, as far as it is whole; on the disk each record has 8 bytes more, and
/// the log a header.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        $ immuta verify /var/lib/immuta\n  \
        orders: 3 records, 21 bytes of payload, 53 on disk, no damage")]
pub(crate) struct Verify {
    /// The directory that holds the logs, or where they are mounted; left away, the one that immuta-fs takes
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Only these
    namespaces: Vec<String>,
    /// One JSON object a line for each log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    assume: Assume,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (dir, names) = all_or_some(self.dir.as_deref(), &self.namespaces)?;
        verify(self.assume.options(&dir), &names, self.json)
    }
}

/// Mend a log that cannot be opened: keep what is whole, cut what is behind it
///
/// What is cut is written to NAMESPACE.cut-OFFSET beside the log first. A log that can be opened is read through: its damaged
/// records are told, which no repair can mend, and the exit status is 1.
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

/// Verifies the named logs, or all.
fn verify(options: Options, names: &[String], json: bool) -> Result<(), Failure> {
    let options = match names {
        [] => options,
        names => options.only(names),
    };
    let storage = Storage::open(options.read_only(true))?;
    let failed = storage.failed();
    let mut all: Vec<Namespace> = storage.namespaces();
    all.extend(failed.iter().map(|(name, _)| name.clone()));
    all.sort();
    for name in names {
        if !all.iter().any(|there| there.as_str() == name) {
            log_of(&storage, name)?;
        }
    }
    if all.is_empty() {
        return no_logs(storage.logs_dir());
    }
    let mut out = io::stdout().lock();
    let mut sound = true;
    for name in all {
        if let Some((_, why)) = failed.iter().find(|(failed, _)| *failed == name) {
            sound = false;
            if json {
                let why = quoted(&why.to_string());
                writeln!(out, "{{\"namespace\":\"{name}\",\"error\":{why}}}")?;
            } else {
                out.flush()?;
                crate::say(why);
            }
            continue;
        }
        let log = storage.log(name.as_str())?;
        let report = read_through(&log)?;
        sound &= report.is_clean();
        let rebuilt = log.state().rebuilt.min(report.records);
        if json {
            write_json(&mut out, &report, &log, rebuilt)?;
        } else {
            write_damages(&mut out, &report)?;
            write_sum(&mut out, &report, &log, rebuilt)?;
        }
    }
    out.flush()?;
    if sound { Ok(()) } else { Err(Failure::Said) }
}

/// Reads every byte of a log.
fn read_through(log: &Log) -> Result<Report, Failure> {
    let bar = progress_bar(log.namespace().as_str(), log.state().log_end);
    let report = log.verify_with(&mut |at| bar.set_position(at))?;
    bar.finish_and_clear();
    Ok(report)
}

/// A line for each place that is damaged.
fn write_damages(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let name = &report.namespace;
    for damage in &report.damaged {
        match damage.record {
            Some(n) => write!(out, "{name}: record {n} at byte {}", damage.offset)?,
            None => write!(out, "{name}: the header, at byte {}", damage.offset)?,
        }
        writeln!(out, ": {}", damage.what)?;
    }
    if report.unlisted > 0 {
        writeln!(out, "{name}: and {} more", report.unlisted)?;
    }
    Ok(())
}

fn write_sum(out: &mut impl Write, report: &Report, log: &Log, rebuilt: u64) -> io::Result<()> {
    write!(
        out,
        "{}: {} records, {} bytes of payload, {} on disk, ",
        report.namespace,
        report.records,
        report.bytes,
        log.state().log_end
    )?;
    match damages(report) {
        0 => write!(out, "no damage")?,
        damaged => write!(out, "{damaged} damaged")?,
    }
    if rebuilt > 0 {
        write!(
            out,
            " ({rebuilt} compared with what was found when the index was made, not with what was written)"
        )?;
    }
    writeln!(out)
}

fn damages(report: &Report) -> u64 {
    report.damaged.len() as u64 + report.unlisted
}

fn write_json(out: &mut impl Write, report: &Report, log: &Log, rebuilt: u64) -> io::Result<()> {
    write!(
        out,
        "{{\"namespace\":\"{}\",\"format\":\"{}\",\"records\":{},\"bytes\":{},\"disk_bytes\":{},\"checksummed\":{},\
         \"rebuilt\":{rebuilt},\"damaged\":[",
        report.namespace,
        log.format(),
        report.records,
        report.bytes,
        log.state().log_end,
        report.records - rebuilt,
    )?;
    for (n, damage) in report.damaged.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let record = damage
            .record
            .map_or("null".to_owned(), |record| record.to_string());
        let what = quoted(&damage.what);
        write!(
            out,
            "{comma}{{\"record\":{record},\"offset\":{},\"what\":{what}}}",
            damage.offset
        )?;
    }
    writeln!(out, "],\"unlisted\":{}}}", report.unlisted)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Mends a log, or says what that would be.
fn repair(options: &Options, dir: &Path, name: &str, dry_run: bool) -> Result<(), Failure> {
    let namespace = Namespace::new(name)?;
    // Before the lock is taken: its file would stay, in a directory that holds no logs.
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
        return look_for_damage(options, name);
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
        Some(opening) => say_opening(&mut out, name, opening, recovery),
        None => Ok(()),
    }
}

/// Says of a log that can be opened which of its records cannot be read. No repair brings their bytes back.
fn look_for_damage(options: &Options, name: &str) -> Result<(), Failure> {
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
    // The bytes of the record may be whole: the damage says what mends its entry.
    let is_in_index = |damage: &Damage| damage.what.starts_with("its index entry");
    let fate = match report.damaged.iter().any(is_in_index) {
        true => "of which those in the index are mended as is said above",
        false => "which cannot be mended",
    };
    writeln!(out, "{one_or_more}, {fate}; all others are readable")?;
    out.flush()?;
    Err(Failure::Said)
}

/// What opening a log, without repairing it, would do.
fn say_opening(
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
