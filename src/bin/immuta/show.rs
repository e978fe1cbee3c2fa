//! `immuta stat` and `immuta cat`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use humantime::format_rfc3339_seconds as utc;
use immuta::Storage;

use crate::Failure;
use crate::logs::{Assume, log_of};
use crate::render::{Form, Printer};

/// Show how many records and bytes a log holds, and from when
///
/// Works beside a running immuta-fs.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        $ immuta stat /var/lib/immuta orders\n  \
        orders: 3 records, 45 bytes, format count8, from 2026-11-21T10:00:00Z to 2026-11-21T10:00:07Z")]
pub(crate) struct Stat {
    /// The directory that holds the logs
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Only this one
    namespace: Option<String>,
    #[command(flatten)]
    assume: Assume,
}

impl Stat {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut options = self.assume.options(&self.dir)?;
        if let Some(namespace) = &self.namespace {
            options = options.only([namespace]);
        }
        let storage = Storage::open(options.read_only(true))?;
        let mut out = io::stdout().lock();
        let namespaces = match &self.namespace {
            Some(name) => vec![log_of(&storage, name)?.namespace().clone()],
            None => storage.namespaces(),
        };
        for namespace in namespaces {
            let details = storage.details(namespace.as_str())?;
            write!(
                out,
                "{namespace}: {} records, {} bytes, format {}",
                details.records, details.bytes, details.format
            )?;
            if let (Some(first), Some(last)) = (details.first_time, details.last_time) {
                write!(out, ", from {} to {}", utc(first), utc(last))?;
            }
            if details.rebuilt > 0 {
                write!(out, ", {} indexed later", details.rebuilt)?;
            }
            writeln!(out)?;
        }
        out.flush()?;
        let failed = storage.failed();
        for (_, why) in &failed {
            crate::say(why);
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::Said)
        }
    }
}

/// Print a log as text: each record, and a newline unless it ends in one
///
/// Works beside a running immuta-fs. `immuta tail` prints the last records, `immuta export` other forms.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        immuta cat /var/lib/immuta orders | grep paid")]
pub(crate) struct Cat {
    /// The directory that holds the logs
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The log to print
    namespace: String,
    /// Start at this record instead of the first, which is 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    assume: Assume,
}

impl Cat {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let log = self.assume.read(&self.dir, &self.namespace)?;
        let mut printer = Printer::new(&log, Form::Lines, io::stdout().lock());
        let mut next = self.from;
        printer.print(&mut next, log.state().count, |_| ())?;
        Ok(printer.flush()?)
    }
}
