//! `immuta`: the logs of a directory from the command line, without a mount.

use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};
use immuta::{Entry, Error, Log, Options, RecordNo, Run, Scratch, Storage};

/// Looks into immuta logs, and appends to them, without a mount.
#[derive(Parser)]
#[command(name = "immuta", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how many records and bytes a log holds, and from when
    ///
    /// Works beside a running immuta-fs.
    Stat {
        /// The directory that holds the logs
        dir: PathBuf,
        /// Only this one
        namespace: Option<String>,
    },
    /// Print a log as text: each record, and a newline unless it ends in one
    ///
    /// Works beside a running immuta-fs.
    Cat {
        /// The directory that holds the logs
        dir: PathBuf,
        /// The log to print
        namespace: String,
        /// Start at this record instead of the first, which is 0
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
    },
    /// Append a record for each TEXT; without any, standard input as one record
    ///
    /// A directory has one writer: while it is mounted, append through the mount.
    Append {
        /// The directory that holds the logs
        dir: PathBuf,
        /// The log to append to; it is created if it is not there
        namespace: String,
        /// The records, each stored without a newline
        text: Vec<String>,
    },
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error"))
        .format(|out, record| writeln!(out, "immuta: {}", record.args()))
        .init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough.
        Err(Failure::Output(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("immuta: {e}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Engine(Error),
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Engine(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Output(e)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Engine(e) => e.fmt(f),
            Failure::Output(e) => write!(f, "cannot write to standard output: {e}"),
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Stat { dir, namespace } => {
            let storage = Storage::open(Options::new(dir).read_only(true))?;
            stat(&storage, namespace.as_deref())
        }
        Command::Cat {
            dir,
            namespace,
            from,
        } => {
            let storage = Storage::open(Options::new(dir).read_only(true))?;
            cat(&*storage.log(&namespace)?, from)
        }
        Command::Append {
            dir,
            namespace,
            text,
        } => {
            let storage = Storage::open(Options::new(dir).namespaces([&*namespace]))?;
            if text.is_empty() {
                storage.append(&namespace, io::stdin().lock().by_ref())?;
            } else {
                storage.append_batch(&namespace, &text)?;
            }
            Ok(storage.close()?)
        }
    }
}

fn stat(storage: &Storage, only: Option<&str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let namespaces = match only {
        Some(name) => vec![storage.log(name)?.namespace().clone()],
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
        writeln!(out)?;
    }
    match storage.failed().into_iter().next() {
        Some((namespace, why)) if only.is_none() => Err(Error::Failed {
            namespace: namespace.to_string(),
            reason: why.to_string(),
        }
        .into()),
        _ => Ok(()),
    }
}

fn cat(log: &Log, from: u64) -> Result<(), Failure> {
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

/// A time as `2026-11-21T10:00:00Z`.
fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date: years begin in March, so that the leap day is the last, and go in eras of 400.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
