//! `immuta export`.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::{Args, ValueHint};
use immuta::{Log, RecordNo};
use tempfile::NamedTempFile;

use crate::Failure;
use crate::on_signal::on_signal;
use crate::open::{Assume, Place, Which, progress_bar};
use crate::render::{Form, Printer};

/// The name that stands for standard output.
const STDOUT: &str = "-";
/// The mode of new files, before the umask.
const FILE_MODE: u32 = 0o666;

/// Write a log, or a part of it, in a form that other programs read
///
/// `immuta import` reads the forms frames and jsonl back, byte for byte; jsonl keeps the times, too. An output file gets
/// its name when it is complete and on the disk. Works beside a running immuta-fs.
#[derive(Args)]
#[command(
    override_usage = "immuta export [OPTIONS] [DIR] NAMESPACE",
    after_help = "Examples:\n  \
        immuta export ./logs orders --format jsonl -o orders.jsonl\n  \
        immuta export ./logs orders --format frames | ssh host immuta import - ./logs orders --input frames"
)]
pub(crate) struct Export {
    #[command(flatten)]
    which: Which,
    /// The form of the records
    #[arg(long, value_enum, value_name = "FORM", default_value = "lines")]
    format: Form,
    /// The first record to export; the first one of the log is 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// The last record to export; by default the last one of the log when the export begins
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// The file to write; - is standard output, the default
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    assume: Assume,
}

impl Export {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if let Some(to) = self.to.filter(|to| *to < self.from) {
            return Err(Failure::Usage(format!(
                "--to {to} comes before --from {} (immuta export --help tells how)",
                self.from
            )));
        }
        let Place { dir, namespace } = self.which.place()?;
        let log = self.assume.read(&dir, &namespace)?;
        let count = log.state().count;
        if self.from > 0 && self.from >= count {
            return Err(Failure::Other(format!(
                "'{namespace}' has no record {}: it has {count}, and the first one is 0",
                self.from
            )));
        }
        let end = self.to.map_or(count, |to| count.min(to.saturating_add(1)));
        match &self.output {
            Some(path) if path != Path::new(STDOUT) => self.to_file(&log, &dir, end, path),
            _ => {
                let stdout = io::stdout();
                // On a terminal, a progress bar would mix with the records.
                let bar = !stdout.is_terminal();
                self.write(&log, end, stdout.lock(), bar)?.flush()?;
                Ok(())
            }
        }
    }

    /// Writes the records to `out`, and returns it.
    fn write<W: Write>(&self, log: &Log, end: u64, out: W, show_bar: bool) -> Result<W, Failure> {
        let mut printer = Printer::new(log, self.format, out);
        if end > 0 {
            // Only for the bar: printing reports the records that cannot be read.
            let place = |n| log.entry(RecordNo(n)).map_or(0, |entry| entry.index.0);
            let begin = place(self.from);
            let bar = if show_bar {
                progress_bar(
                    log.namespace().as_str(),
                    place(end - 1).saturating_sub(begin),
                )
            } else {
                indicatif::ProgressBar::hidden()
            };
            let shown =
                |next: u64| bar.set_position(place(next.saturating_sub(1)).saturating_sub(begin));
            let mut next = self.from;
            let printed = printer.print(&mut next, end, shown);
            bar.finish_and_clear();
            printed?;
        }
        Ok(printer.into_inner()?)
    }

    fn to_file(&self, log: &Log, logs_dir: &Path, end: u64, path: &Path) -> Result<(), Failure> {
        let cannot = |e: &dyn std::fmt::Display| {
            Failure::Other(format!("cannot write '{}': {e}", path.display()))
        };
        let path = self.target(path, logs_dir)?;
        let dir = dir_of(&path);
        let mut prefix = path.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        if !dir.is_dir() {
            return Err(cannot(&format!(
                "there is no directory '{}' (make it, or name another file)",
                dir.display()
            )));
        }
        // Locked while the file is made, so that a signal finds either no file or its name.
        let partial: Arc<Mutex<Option<PathBuf>>> = Arc::default();
        let to_remove = partial.clone();
        let remove = move || {
            if let Some(partial) = lock(&to_remove).take() {
                let _ = fs::remove_file(partial);
            }
        };
        on_signal(remove).map_err(|e| cannot(&e))?;
        let file = {
            let mut partial = lock(&partial);
            let file = tempfile::Builder::new()
                .prefix(&prefix)
                .suffix(".part")
                .permissions(Permissions::from_mode(FILE_MODE))
                .tempfile_in(dir)
                .map_err(|e| cannot(&e.kind()))?;
            *partial = Some(file.path().to_owned());
            file
        };

        let file = self.write(log, end, file, true).map_err(|e| match e {
            Failure::Output(e) => cannot(&e),
            e => e,
        })?;
        file.as_file().sync_all().map_err(|e| cannot(&e))?;
        self.persist(file, &path)?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| cannot(&e))
    }

    /// Gives the complete file its name.
    fn persist(&self, file: NamedTempFile, path: &Path) -> Result<(), Failure> {
        let named = if self.force {
            file.persist(path)
        } else {
            file.persist_noclobber(path)
        };
        match named {
            Ok(_) => Ok(()),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
            Err(e) => Err(Failure::Other(format!(
                "cannot write '{}': {}",
                path.display(),
                e.error
            ))),
        }
    }

    /// The path to write to.
    ///
    /// # Errors
    /// When there is a file that is not to be replaced.
    fn target(&self, path: &Path, logs_dir: &Path) -> Result<PathBuf, Failure> {
        let target = match path.symlink_metadata() {
            Err(_) => path.to_owned(), // It does not exist; or writing will report the error.
            Ok(_) if !self.force => return Err(exists(path)),
            Ok(_) => match path.canonicalize() {
                Ok(target) if target.is_file() => target,
                Ok(_) => {
                    return Err(Failure::Other(format!(
                        "cannot replace '{}': not an ordinary file (leave -o away, and use > or a pipe)",
                        path.display()
                    )));
                }
                Err(e) => {
                    return Err(Failure::Other(format!(
                        "cannot replace '{}': {e}",
                        path.display()
                    )));
                }
            },
        };
        let is_log = target.extension().is_some_and(|e| e == "log" || e == "idx");
        if is_log && dir_of(&target).canonicalize().ok() == logs_dir.canonicalize().ok() {
            return Err(Failure::Other(format!(
                "cannot write '{}': that is the name of a log (name another file)",
                path.display()
            )));
        }
        Ok(target)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Other(format!(
        "'{}' is there already (name another file, or say --force to replace it)",
        path.display()
    ))
}
