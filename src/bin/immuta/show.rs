//! `immuta stat` and `immuta cat`.

use std::io::{self, Write};

use humantime::format_rfc3339_seconds as utc;
use immuta::{Entry, Log, RecordNo, Run, Scratch, Storage};

use crate::{Failure, log_of};

pub(crate) fn stat(storage: &Storage, only: Option<&str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let namespaces = match only {
        Some(name) => vec![log_of(storage, name)?.namespace().clone()],
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
        eprintln!("immuta: {why}");
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

pub(crate) fn cat(log: &Log, from: u64) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut scratch = Scratch::default();
    let mut next = from;
    while next < log.state().count {
        match log.read_run(RecordNo(next), immuta::MAX_RUN_BYTES, &mut scratch)? {
            Run::Records(records) => {
                for (entry, payload) in records {
                    out.write_all(payload)?;
                    end_line(&mut out, &entry)?;
                    next += 1;
                }
            }
            Run::Large(entry) => {
                log.verify_record(&entry)?;
                let mut piece = vec![0; 1 << 20];
                let mut done = 0;
                while done < entry.size {
                    let n = log.read_part(&entry, done, &mut piece)?;
                    out.write_all(&piece[..n])?;
                    done += n as u64;
                }
                end_line(&mut out, &entry)?;
                next += 1;
            }
        }
    }
    Ok(out.flush()?)
}

fn end_line(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    if entry.adds_newline() {
        out.write_all(b"\n")
    } else {
        Ok(())
    }
}
