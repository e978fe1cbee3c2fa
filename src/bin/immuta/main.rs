//! `immuta`: the logs of a directory from the command line, without a mount.

mod check;
mod import;
mod show;

use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use immuta::{Error, Format, Options, Storage};

/// Looks into immuta logs, and appends to them, without a mount.
#[derive(Parser)]
#[command(name = "immuta", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The option of all that open a log.
#[derive(Args)]
struct Assume {
    /// The format of a log that has no index and whose bytes do not tell: bare, count8 or count16
    #[arg(long, value_name = "FORMAT")]
    assume_format: Option<Format>,
}

impl Assume {
    fn options(&self, dir: impl Into<PathBuf>) -> Options {
        let options = Options::new(dir);
        match self.assume_format {
            Some(format) => options.assume_format(format),
            None => options,
        }
    }
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
        #[command(flatten)]
        assume: Assume,
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
        #[command(flatten)]
        assume: Assume,
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
        /// The format of the log if it has to be created: bare, count8 or count16
        #[arg(long, default_value_t)]
        format: Format,
        #[command(flatten)]
        assume: Assume,
    },
    /// Copy a log record by record into another directory, in any format
    ///
    /// Started again after it was stopped, it goes on where it was. The times of the records are those of the
    /// import.
    Import {
        /// A file NAME.log, or a directory of logs
        source: PathBuf,
        /// The directory to import into; not mounted
        dir: PathBuf,
        /// The log; for a file, the name that its copy gets, if that is not its own
        namespace: Option<String>,
        /// The format of the copy: bare, count8 or count16
        #[arg(long, default_value_t)]
        format: Format,
        #[command(flatten)]
        assume: Assume,
    },
    /// Read every byte of the logs and say what is damaged; exit status 1 if anything is
    ///
    /// Works beside a running immuta-fs.
    Verify {
        /// The directory that holds the logs
        dir: PathBuf,
        /// Only these
        namespaces: Vec<String>,
        /// One JSON object a line for each log
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        assume: Assume,
    },
    /// Mend a log that cannot be opened: keep what is whole, cut what is behind it
    ///
    /// What is cut is written to NAMESPACE.cut-OFFSET beside the log first.
    Repair {
        /// The directory that holds the logs; not mounted
        dir: PathBuf,
        /// The log to mend
        namespace: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        assume: Assume,
    },
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off"))
        .format(|out, record| writeln!(out, "immuta: {}", record.args()))
        .init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough.
        Err(Failure::Output(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("immuta: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed.
pub(crate) enum Failure {
    Engine(Error),
    Output(io::Error),
    /// In its own words.
    Other(String),
    /// It has been told already.
    Said,
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
            Failure::Other(what) => f.write_str(what),
            Failure::Said => Ok(()),
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Stat {
            dir,
            namespace,
            assume,
        } => {
            let options = only(assume.options(dir), namespace.as_deref());
            show::stat(
                &Storage::open(options.read_only(true))?,
                namespace.as_deref(),
            )
        }
        Command::Cat {
            dir,
            namespace,
            from,
            assume,
        } => {
            let options = only(assume.options(dir), Some(&namespace));
            let storage = Storage::open(options.read_only(true))?;
            show::cat(&*log_of(&storage, &namespace)?, from)
        }
        Command::Append {
            dir,
            namespace,
            text,
            format,
            assume,
        } => {
            let options = only(assume.options(dir), Some(&namespace)).format(format);
            let storage = Storage::open(options.namespaces([&*namespace]))?;
            log_of(&storage, &namespace)?;
            if text.is_empty() {
                storage.append(&namespace, io::stdin().lock().by_ref())?;
            } else {
                storage.append_batch(&namespace, &text)?;
            }
            Ok(storage.close()?)
        }
        Command::Import {
            source,
            dir,
            namespace,
            format,
            assume,
        } => import::import(&source, dir, namespace, format, &assume),
        Command::Verify {
            dir,
            namespaces,
            json,
            assume,
        } => check::verify(assume.options(dir), &namespaces, json),
        Command::Repair {
            dir,
            namespace,
            dry_run,
            assume,
        } => check::repair(&assume.options(dir), &namespace, dry_run),
    }
}

/// The options for one log alone, if one is named.
pub(crate) fn only(options: Options, namespace: Option<&str>) -> Options {
    match namespace {
        Some(namespace) => options.only([namespace]),
        None => options,
    }
}

/// The log; or why it could not be opened, in the words of that error.
pub(crate) fn log_of(
    storage: &Storage,
    namespace: &str,
) -> Result<std::sync::Arc<immuta::Log>, Failure> {
    let failed = storage.failed();
    match failed.iter().find(|(name, _)| name.as_str() == namespace) {
        Some((_, why)) => Err(Failure::Other(why.to_string())),
        None => Ok(storage.log(namespace)?),
    }
}

/// A bar on the terminal that a person looks at; without one, nothing.
pub(crate) fn progress_bar(what: &str, total_bytes: u64) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(total_bytes);
    let style = indicatif::ProgressStyle::with_template(
        "{prefix} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}
