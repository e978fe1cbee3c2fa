//! Opens the logs that a command line names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use immuta::{Error, Format, LOCK_FILE, Log, Namespace, Options, Storage, system_words};
use immuta_fs::cli::default_logs_dir;
use immuta_fs::host::{FS_TYPE, mountpoint_of, mounts};

use crate::Failure;

/// How many logs a list of them names. Of the others only the number is told.
const MOST_LISTED: usize = 10;

/// The arguments that name one log.
#[derive(Args)]
pub(crate) struct Which {
    /// The directory that holds the logs, or its mount point. By default the one that immuta-fs takes: /var/lib/immuta for
    /// root, $XDG_DATA_HOME/immuta or ~/.local/share/immuta for a user
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// The log
    namespace: Option<String>,
}

/// A log, by its directory and its name.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) namespace: String,
}

impl Which {
    /// The log that the command line names.
    ///
    /// # Errors
    /// When it names no log, or the directory cannot be read.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let (dir, namespace) = match (self.dir.as_deref(), &self.namespace) {
            (dir, Some(namespace)) => (dir, namespace.clone()),
            (None, None) => {
                return Err(Failure::Usage(
                    "no log is named (give NAMESPACE, or DIR NAMESPACE)".to_owned(),
                ));
            }
            (Some(dir), None) if is_directory(dir) => {
                let there = to_read(Some(dir))?;
                return Err(Failure::Usage(format!(
                    "name the log in '{}' ({})",
                    dir.display(),
                    there_are(&there)
                )));
            }
            (Some(name), None) => (None, name.to_string_lossy().into_owned()),
        };
        Ok(Place {
            dir: to_read(dir)?,
            namespace,
        })
    }
}

/// The directory and the named logs, for commands that work on all logs by default. The first word may be a log, too, if
/// it is no directory.
pub(crate) fn all_or_some(
    first: Option<&Path>,
    names: &[String],
) -> Result<(PathBuf, Vec<String>), Failure> {
    let is_name = |path: &&Path| !is_directory(path);
    let (dir, mut named) = match first.filter(is_name) {
        Some(name) => (None, vec![name.to_string_lossy().into_owned()]),
        None => (first, Vec::new()),
    };
    named.extend_from_slice(names);
    Ok((to_read(dir)?, named))
}

/// Whether a word stands for a directory, existing or not: names of logs have no slash.
fn is_directory(word: &Path) -> bool {
    word.as_os_str().as_encoded_bytes().contains(&b'/') || word.is_dir()
}

/// The directory of logs to read; the default one if none is given.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn to_read(dir: Option<&Path>) -> Result<PathBuf, Failure> {
    let dir = match dir {
        Some(dir) => dir.to_owned(),
        None => default_logs_dir().map_err(Failure::Other)?,
    };
    let followed = follow(&dir)?;
    let shown = followed.display();
    let why = match fs::read_dir(&followed) {
        Ok(_) => return Ok(followed),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
            format!("no directory '{shown}' (give the directory that holds the logs)")
        }
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => {
            format!("'{shown}' is not a directory (give the one that holds the logs)")
        }
        Err(e) => format!(
            "cannot list '{shown}': {} (be root, or the user that the logs belong to)",
            system_words(&e)
        ),
    };
    Err(Failure::Other(why))
}

/// The directory of logs that a path stands for: for a mount point, the directory that is mounted there, otherwise the
/// path itself. The mount is not touched: it may be dead, or hang.
///
/// # Errors
/// When the path is in a mount, and does not stand for a directory of logs.
pub(crate) fn follow(dir: &Path) -> Result<PathBuf, Failure> {
    let mounts = mounts();
    let top = |path: &Path| mounts.iter().rfind(|m| m.mountpoint == path);
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let real = match top(&absolute) {
        Some(_) => absolute,
        // If it does not exist, opening it will report that.
        None => dir.canonicalize().unwrap_or(absolute),
    };
    let Some(mount) = real.ancestors().find_map(top) else {
        return Ok(dir.to_owned());
    };
    if mount.fs_type != FS_TYPE {
        return Ok(dir.to_owned());
    }
    let (place, shown) = (mount.mountpoint.display(), dir.display());
    if mount.mountpoint != real {
        return Err(Failure::Other(format!(
            "'{shown}' is in the mount '{place}' (give the mount, and the name of the log; or use the files there)"
        )));
    }
    if !mount.source.is_absolute() {
        return Err(Failure::Other(format!(
            "'{shown}' is where logs are mounted, and the mount does not tell which directory keeps them (give that one; or \
             use the files of the mount)"
        )));
    }
    Ok(mount.source.clone())
}

/// The option of all commands that open a log.
#[derive(Args)]
pub(crate) struct Assume {
    /// Format to assume for a log whose format cannot be detected
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) assume_format: Option<Format>,
}

impl Assume {
    /// The options for the logs in `dir`.
    pub(crate) fn options(&self, dir: &Path) -> Options {
        let options = Options::new(dir);
        match self.assume_format {
            Some(format) => options.assume_format(format),
            None => options,
        }
    }

    /// Opens one log for reading, also while another program writes it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn read(&self, dir: &Path, namespace: &str) -> Result<Arc<Log>, Failure> {
        let options = self.options(dir).only([namespace]).read_only(true);
        log_of(&Storage::open(options)?, namespace)
    }
}

/// Parses a format. The help and the completions list all formats from it.
pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["bare", "count8", "count16"]).try_map(|name| name.parse::<Format>())
}

/// The log of this name; or the error that kept it from being opened.
pub(crate) fn log_of(storage: &Storage, namespace: &str) -> Result<Arc<Log>, Failure> {
    match storage.log(namespace) {
        Ok(log) => Ok(log),
        Err(Error::Unopened { why, .. }) => Err(Failure::Other(why.to_string())),
        Err(e) => Err(not_found(storage.logs_dir(), e)),
    }
}

/// Adds the logs that there are to the error that there is no such log.
pub(crate) fn not_found(dir: &Path, error: Error) -> Failure {
    let Error::NotFound { namespace } = error else {
        return error.into();
    };
    // A name that no log can have gets a message of its own.
    match Namespace::new(&namespace) {
        Err(e) => e.into(),
        Ok(_) => Failure::Other(format!(
            "no namespace '{namespace}' in '{}' ({})",
            dir.display(),
            there_are(dir)
        )),
    }
}

/// Reports that a directory has no logs. That is an error, unless a program that writes logs has been there.
pub(crate) fn no_logs(dir: &Path) -> Result<(), Failure> {
    let why = format!("no logs in '{}'", dir.display());
    if dir.join(LOCK_FILE).exists() {
        crate::report(&why);
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{why} (give the directory that holds them)"
    )))
}

/// The logs of a directory, as a list for messages.
fn there_are(dir: &Path) -> String {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut logs: Vec<_> = names
        .filter_map(|name| {
            let name = name.file_name().into_string().ok()?;
            Namespace::new(name.strip_suffix(".log")?).ok()
        })
        .collect();
    logs.sort();
    let listed: Vec<_> = logs.iter().take(MOST_LISTED).map(|n| n.as_str()).collect();
    match logs.len() {
        0 => "it holds no logs: give the directory that does".to_owned(),
        1..=MOST_LISTED => format!("there are: {}", listed.join(", ")),
        n => format!(
            "there are: {}, and {} more",
            listed.join(", "),
            n - MOST_LISTED
        ),
    }
}

/// Why a directory cannot be written to. `instead` says what to do if its logs are mounted at the given place.
pub(crate) fn cannot_write(error: Error, instead: impl FnOnce(&Path) -> String) -> Failure {
    match error {
        Error::Locked { dir, holder } => {
            let way_out = match mountpoint_of(&dir) {
                Some(place) => instead(&place),
                None => "end that program, and try again".to_owned(),
            };
            Failure::Other(format!(
                "'{}' is in use by {holder}: a directory has one writer ({way_out})",
                dir.display()
            ))
        }
        Error::Io { ref path, .. } if path.exists() && !path.is_dir() => Failure::Other(format!(
            "'{}' is not a directory (give one for the logs)",
            path.display()
        )),
        Error::Io { .. } => {
            Failure::Other(format!("{error} (give a directory that you may write to)"))
        }
        error => error.into(),
    }
}

/// A progress bar, shown only if standard error is a terminal.
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
