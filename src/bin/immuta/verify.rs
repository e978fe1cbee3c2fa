//! `immuta verify`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use immuta::{Log, Namespace, Options, Report, Storage};
use serde::Serialize;

use crate::Failure;
use crate::open::{Assume, all_or_some, log_of, no_logs, progress_bar};

/// Read every byte of the logs and list the damage; exit status 1 if there is any
///
/// Works beside a running immuta-fs. The payload is what was appended, as far as it is undamaged. On the disk each record
/// takes 8 bytes more, and the log has a header.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        $ immuta verify /var/lib/immuta\n  \
        orders: 3 records, 21 bytes of payload, 53 on disk, no damage")]
pub(crate) struct Verify {
    /// The directory that holds the logs, or its mount point; by default the one that immuta-fs takes
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Only these logs
    namespaces: Vec<String>,
    /// Print one line of JSON for each log
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

/// Verifies the named logs; all logs if none is named.
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
                let json = JsonError {
                    namespace: name.as_str(),
                    error: why.to_string(),
                };
                let json = serde_json::to_string(&json).map_err(io::Error::from)?;
                writeln!(out, "{json}")?;
            } else {
                out.flush()?;
                crate::report(why);
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
    if sound {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

/// Reads every byte of a log, with a progress bar.
pub(crate) fn read_through(log: &Log) -> Result<Report, Failure> {
    let bar = progress_bar(log.namespace().as_str(), log.state().log_end);
    let report = log.verify_with(&mut |at| bar.set_position(at))?;
    bar.finish_and_clear();
    Ok(report)
}

/// Writes a line for each damaged place.
pub(crate) fn write_damages(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let name = &report.namespace;
    for damage in &report.damaged {
        match damage.record {
            Some(n) => write!(out, "{name}: record {n} at byte {}", damage.offset)?,
            None => write!(out, "{name}: the header, at byte {}", damage.offset)?,
        }
        writeln!(out, ": {damage}")?;
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

/// How many places are damaged.
pub(crate) fn damages(report: &Report) -> u64 {
    report.damaged.len() as u64 + report.unlisted
}

/// The line of JSON for a log.
#[derive(Serialize)]
struct Json<'a> {
    namespace: &'a str,
    format: String,
    records: u64,
    /// Of payload.
    bytes: u64,
    disk_bytes: u64,
    /// Records whose checksum was made when they were written.
    checksummed: u64,
    /// Records whose checksum was made later.
    rebuilt: u64,
    damaged: Vec<JsonDamage>,
    /// How many further damaged places there are.
    unlisted: u64,
}

#[derive(Serialize)]
struct JsonDamage {
    record: Option<u64>,
    offset: u64,
    what: String,
}

/// The line of JSON for a log that cannot be opened.
#[derive(Serialize)]
struct JsonError<'a> {
    namespace: &'a str,
    error: String,
}

fn write_json(out: &mut impl Write, report: &Report, log: &Log, rebuilt: u64) -> io::Result<()> {
    let damaged = report.damaged.iter().map(|damage| JsonDamage {
        record: damage.record.map(|record| record.0),
        offset: damage.offset,
        what: damage.to_string(),
    });
    let json = Json {
        namespace: report.namespace.as_str(),
        format: log.format().to_string(),
        records: report.records,
        bytes: report.bytes,
        disk_bytes: log.state().log_end,
        checksummed: report.records - rebuilt,
        rebuilt,
        damaged: damaged.collect(),
        unlisted: report.unlisted,
    };
    writeln!(out, "{}", serde_json::to_string(&json)?)
}
