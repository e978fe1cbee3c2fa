//! Opening the logs that a command line names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use immuta::{Error, Format, LOCK_FILE, Log, Namespace, Options, Storage, system_words};
use immuta_fs::cli::default_logs_dir;
use immuta_fs::host::{FS_TYPE, mountpoint_of, mounts};

use crate::Failure;

/// Of more logs than this the number is told, where they are listed.
const MOST_LISTED: usize = 10;

/// One log, of the commands that read one, or mend it.
#[derive(Args)]
pub(crate) struct Which {
    /// The directory that holds the logs, or where they are mounted. Left away, the log is in the one that immuta-fs
    /// takes: /var/lib/immuta for root, $XDG_DATA_HOME/immuta or ~/.local/share/immuta for a user
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
    /// When it names none, or its directory is none.
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

/// The directory, and the logs in it, of the commands that look at all: the first word is a log, too, where it is no
/// directory.
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

/// Whether a word stands for a directory, there or not: no name of a log has a slash.
fn is_directory(word: &Path) -> bool {
    word.as_os_str().as_encoded_bytes().contains(&b'/') || word.is_dir()
}

/// The directory of logs to read, the default one if none is given.
///
/// # Errors
/// When it is none that can be read.
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

/// The directory that a path stands for: itself; of a mount point, the directory of the logs that are mounted there. A
/// mount is not looked at: it may be dead, or hang.
///
/// # Errors
/// When it is in a mount, and no directory of logs can be told.
pub(crate) fn follow(dir: &Path) -> Result<PathBuf, Failure> {
    let mounts = mounts();
    let top = |path: &Path| mounts.iter().rfind(|m| m.mountpoint == path);
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let real = match top(&absolute) {
        Some(_) => absolute,
        // One that is not there: opening it will say so.
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

/// The option of all that open a log.
#[derive(Args)]
pub(crate) struct Assume {
    /// The format of a log that has no index and whose bytes do not tell
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) assume_format: Option<Format>,
}

impl Assume {
    /// For the logs in `dir`.
    pub(crate) fn options(&self, dir: &Path) -> Options {
        let options = Options::new(dir);
        match self.assume_format {
            Some(format) => options.assume_format(format),
            None => options,
        }
    }

    /// Opens one log for reading, beside whoever writes it.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn read(&self, dir: &Path, namespace: &str) -> Result<Arc<Log>, Failure> {
        let options = self.options(dir).only([namespace]).read_only(true);
        log_of(&Storage::open(options)?, namespace)
    }
}

/// Reads a format, and knows all there are, for the help and for completions.
pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["bare", "count8", "count16"]).try_map(|name| name.parse::<Format>())
}

/// The log; or why it could not be opened, in the words of that error.
pub(crate) fn log_of(storage: &Storage, namespace: &str) -> Result<Arc<Log>, Failure> {
    match storage.log(namespace) {
        Ok(log) => Ok(log),
        Err(Error::Unopened { why, .. }) => Err(Failure::Other(why.to_string())),
        Err(e) => Err(not_found(storage.logs_dir(), e)),
    }
}

/// Of a log that is not there, says which ones are.
pub(crate) fn not_found(dir: &Path, error: Error) -> Failure {
    let Error::NotFound { namespace } = error else {
        return error.into();
    };
    // One that can be none has a message of its own.
    match Namespace::new(&namespace) {
        Err(e) => e.into(),
        Ok(_) => Failure::Other(format!(
            "no namespace '{namespace}' in '{}' ({})",
            dir.display(),
            there_are(dir)
        )),
    }
}

/// What there is to say of a directory without logs: an error, unless a program that writes logs has been there.
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

/// Which logs there are in a directory.
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

/// Why a directory cannot be written to. `instead` says what to do where its logs are mounted at a place.
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
