//! `immuta append`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use immuta::{Format, Storage};

use crate::Failure;
use crate::open::{Assume, cannot_write, follow, format_parser, log_of};
use crate::source::{FromFile, Input, STDIN, Source};

/// Append each TEXT as a record; without TEXT, standard input as one record
///
/// A directory has one writer: while it is mounted, append through the mount.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        immuta append ./logs orders 'order 17 paid' 'order 18 paid'\n  \
        immuta append ./logs reports < report.pdf\n  \
        immuta append ./logs app --input lines < app.log")]
pub(crate) struct Append {
    /// The directory that holds the logs; made if missing
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The log to append to; created if missing
    namespace: String,
    /// The records, stored without a newline
    text: Vec<String>,
    /// Split standard input into records of this form
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "text")]
    input: Option<Input>,
    /// The format of the log, if it has to be created
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = format_parser())]
    format: Format,
    #[command(flatten)]
    assume: Assume,
}

impl Append {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let namespace = &*self.namespace;
        let options = self.assume.options(&follow(&self.dir)?).only([namespace]);
        let mut options = options.format(self.format).namespaces([namespace]);
        if self.input.is_some() {
            options = options.max_record_bytes(u64::MAX);
        }
        let storage = Storage::open(options).map_err(|e| {
            cannot_write(e, |mount| {
                format!(
                    "append through its mount: '{}/{namespace}/append'",
                    mount.display()
                )
            })
        })?;
        let log = log_of(&storage, namespace)?;
        if let Some(input) = self.input {
            let mut source = FromFile::open(Path::new(STDIN), input)?;
            while source.append_to(&log)? > 0 {}
        } else if self.text.is_empty() {
            storage.append(namespace, io::stdin().lock())?;
        } else {
            storage.append_batch(namespace, &self.text)?;
        }
        Ok(storage.close()?)
    }
}
