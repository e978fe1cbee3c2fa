//! Opening the logs that a command line names.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use immuta::programs::mounts::{FS_TYPE, mounts};
use immuta::{Format, Log, Options, Storage};

use crate::Failure;

/// The option of all that open a log.
#[derive(Args)]
pub(crate) struct Assume {
    /// The format of a log that has no index and whose bytes do not tell
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) assume_format: Option<Format>,
}

impl Assume {
    /// For the logs in `dir`.
    ///
    /// # Errors
    /// When that is where logs are mounted, not where they are kept.
    pub(crate) fn options(&self, dir: &Path) -> Result<Options, Failure> {
        not_a_mount(dir)?;
        let options = Options::new(dir);
        Ok(match self.assume_format {
            Some(format) => options.assume_format(format),
            None => options,
        })
    }

    /// Opens one log for reading, beside whoever writes it.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn read(&self, dir: &Path, namespace: &str) -> Result<Arc<Log>, Failure> {
        let options = self.options(dir)?.only([namespace]).read_only(true);
        log_of(&Storage::open(options)?, namespace)
    }
}

/// Reads a format, and knows all there are, for the help and for completions.
pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["bare", "count8", "count16"]).try_map(|name| name.parse::<Format>())
}

/// The log; or why it could not be opened, in the words of that error.
pub(crate) fn log_of(storage: &Storage, namespace: &str) -> Result<Arc<Log>, Failure> {
    let failed = storage.failed();
    match failed.iter().find(|(name, _)| name.as_str() == namespace) {
        Some((_, why)) => Err(Failure::Other(why.to_string())),
        None => Ok(storage.log(namespace)?),
    }
}

fn not_a_mount(dir: &Path) -> Result<(), Failure> {
    let Ok(path) = dir.canonicalize() else {
        return Ok(()); // Opening it will say why.
    };
    let mounts = mounts();
    let Some(mount) = mounts
        .iter()
        .rfind(|m| m.fs_type == FS_TYPE && path.starts_with(&m.mountpoint))
    else {
        return Ok(());
    };
    let kept = if mount.source.is_absolute() {
        format!(": '{}'", mount.source.display())
    } else {
        String::new()
    };
    Err(Failure::Other(format!(
        "'{}' is where logs are mounted (give the directory that keeps them{kept}; or use the files of the mount)",
        dir.display()
    )))
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
