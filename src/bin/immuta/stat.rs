//! `immuta stat`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use humantime::format_rfc3339_seconds as utc;
use immuta::Storage;

use crate::Failure;
use crate::open::{Assume, all_or_some, log_of, no_logs};

/// Show how many records and bytes a log holds, and when they were appended
///
/// Works beside a running immuta-fs. The payload is what was appended. On the disk each record takes 8 bytes more, and the
/// log has a header.
#[derive(Args)]
#[command(after_help = "Example:\n  \
        $ immuta stat /var/lib/immuta orders\n  \
        orders: 3 records, 13 bytes of payload, 45 on disk, format count8, from 2026-11-21T10:00:00Z to 2026-11-21T10:00:07Z")]
pub(crate) struct Stat {
    /// The directory that holds the logs, or its mount point; by default the one that immuta-fs takes
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Only this log
    namespace: Option<String>,
    #[command(flatten)]
    assume: Assume,
}

impl Stat {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let named = self.namespace.as_slice();
        let (dir, names) = all_or_some(self.dir.as_deref(), named)?;
        let mut options = self.assume.options(&dir);
        if !names.is_empty() {
            options = options.only(&names);
        }
        let storage = Storage::open(options.read_only(true))?;
        let mut out = io::stdout().lock();
        let namespaces = match &names[..] {
            [] => storage.namespaces(),
            names => {
                let logs = names.iter().map(|name| log_of(&storage, name));
                let logs = logs.collect::<Result<Vec<_>, _>>()?;
                logs.iter().map(|log| log.namespace().clone()).collect()
            }
        };
        if namespaces.is_empty() && storage.failed().is_empty() {
            return no_logs(&dir);
        }
        for namespace in namespaces {
            let details = storage.details(namespace.as_str())?;
            write!(
                out,
                "{namespace}: {} records, {} bytes of payload, {} on disk, format {}",
                details.records, details.payload_bytes, details.bytes, details.format
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
            crate::report(why);
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::Reported)
        }
    }
}
