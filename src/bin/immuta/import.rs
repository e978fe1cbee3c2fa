//! `immuta import`: copies the records of a log or a file. Run again, it goes on where it stopped.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use immuta::{Durability, Format, Log, Namespace, Storage};

use crate::Failure;
use crate::open::{Assume, cannot_write, follow, format_parser, log_of, progress_bar, to_read};
use crate::source::{Fingerprint, FromFile, FromLog, Input, STDIN, Source};

/// Copy a log, or the records of a file, into a log of any format
///
/// If an import was stopped, run it again: it goes on where it was. The existing records have to be the beginning of
/// what is imported. Records of a log, and of jsonl, keep their times; those of frames and lines get the time of the
/// import.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        immuta import ./app-logs/events.log /var/lib/immuta --format count16\n  \
        immuta import orders.jsonl /var/lib/immuta\n  \
        immuta import /var/log/app.log /var/lib/immuta app --input lines")]
pub(crate) struct Import {
    /// A file NAME.log, NAME.frames or NAME.jsonl, or a directory of logs; - is standard input
    #[arg(value_hint = ValueHint::AnyPath)]
    source: PathBuf,
    /// The directory to import into; it must not be mounted
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The log in a directory of logs; for a file, the name of the copy, by default that of the file
    namespace: Option<String>,
    /// The form of the records in a file or on standard input; not needed where the file's name ends in .frames or
    /// .jsonl
    #[arg(long, value_enum, value_name = "FORM")]
    input: Option<Input>,
    /// The format of the copy
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = format_parser())]
    format: Format,
    #[command(flatten)]
    assume: Assume,
}

impl Import {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (mut source, name) = self.open()?;
        // No limit: the source's records fit on a disk, and so they fit into the copy.
        let options = Assume {
            assume_format: None,
        }
        .options(&follow(&self.dir)?)
        .only([name.as_str()])
        .namespaces([name.as_str()])
        .format(self.format)
        .sync(Durability::Never)
        .max_record_bytes(u64::MAX);
        let storage = Storage::open(options)
            .map_err(|e| cannot_write(e, |mount| format!("unmount '{}' first", mount.display())))?;
        let into = log_of(&storage, name.as_str())?;
        let (is, wanted) = (into.format(), self.format);
        if is != wanted {
            return Err(Failure::Other(format!(
                "'{name}' is there already, in the format {is} (import to another name, or with --format {is})"
            )));
        }
        let done = into.state().count;
        resume(&mut *source, &into, done)?;
        let bar = match source.total() {
            Some(total) => progress_bar(name.as_str(), total),
            None => indicatif::ProgressBar::hidden(),
        };
        let imported = loop {
            match source.append_to(&into) {
                Ok(0) => break Ok(()),
                Ok(_) => bar.set_position(source.position()),
                Err(e) => break Err(e),
            }
        };
        bar.finish_and_clear();
        let records = into.state().count;
        storage.close()?;
        imported?;
        let went_on = match done {
            0 => String::new(),
            done => format!(" ({done} were there already)"),
        };
        println!("{name}: {records} records in {wanted}{went_on}");
        Ok(())
    }

    /// The source, and the name of the copy.
    fn open(&self) -> Result<(Box<dyn Source>, Namespace), Failure> {
        let source = &*self.source;
        let input = match self.input {
            Some(input) => Some(input),
            None => input_by_name(source)?,
        };
        let Some(input) = input else {
            let (dir, theirs, name) = log_names(source, self.namespace.as_deref())?;
            let dir = to_read(Some(&dir))?;
            if same_place(&dir, &self.dir) && theirs == name.as_str() {
                return Err(Failure::Other(format!(
                    "cannot import '{name}' into itself (give another directory or name)"
                )));
            }
            let log = self.assume.read(&dir, &theirs)?;
            return Ok((Box::new(FromLog::new(log)), name));
        };
        let stem = match source.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) if source != Path::new(STDIN) => Some(stem),
            _ => None,
        };
        let name = self.namespace.as_deref().or(stem).ok_or_else(|| {
            Failure::Usage(
                "standard input has no name: give NAMESPACE (immuta import --help tells how)"
                    .to_owned(),
            )
        })?;
        let name = Namespace::new(name)?;
        Ok((Box::new(FromFile::open(source, input)?), name))
    }
}

/// The form of a file, by its name; `None` for a log.
fn input_by_name(source: &Path) -> Result<Option<Input>, Failure> {
    if source == Path::new(STDIN) {
        return Err(Failure::Usage(
            "standard input does not tell what it is: say --input frames, jsonl or lines \
             (immuta import --help tells how)"
                .to_owned(),
        ));
    }
    let extension = source.extension().and_then(|e| e.to_str());
    match extension {
        _ if source.is_dir() => Ok(None),
        _ if !source.exists() => Err(Failure::Other(format!(
            "cannot import '{}': it is not there (name a file, or a directory of logs)",
            source.display()
        ))),
        Some("log") => Ok(None),
        Some("frames") => Ok(Some(Input::Frames)),
        Some("jsonl") => Ok(Some(Input::Jsonl)),
        _ => Err(Failure::Other(format!(
            "cannot import '{}': its name ends in none of .log, .frames, .jsonl (say --input frames, jsonl or lines)",
            source.display()
        ))),
    }
}

/// The directory and the namespace of a log to import, and the name of the copy.
fn log_names(
    source: &Path,
    namespace: Option<&str>,
) -> Result<(PathBuf, String, Namespace), Failure> {
    if source.is_dir() {
        let Some(namespace) = namespace else {
            return Err(Failure::Other(format!(
                "'{}' is a directory (name the log in it behind DIR)",
                source.display()
            )));
        };
        let name = Namespace::new(namespace)?;
        return Ok((source.to_owned(), namespace.to_owned(), name));
    }
    let stem = source.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.unwrap_or_default();
    let dir = match source.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = Namespace::new(namespace.unwrap_or(stem))?;
    Ok((dir, stem.to_owned(), name))
}

fn same_place(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Skips the first `done` records of the source, which the log has already. The source has to have that many, and the
/// last of them has to be the same in both.
fn resume(source: &mut dyn Source, into: &Log, done: u64) -> Result<(), Failure> {
    let Some(last) = done.checked_sub(1) else {
        return Ok(());
    };
    let name = into.namespace();
    let here = Fingerprint::of(into, last)?;
    match source.skip(done)? {
        Err(theirs) => Err(Failure::Other(format!(
            "cannot go on importing to '{name}': it has {done} records, and the source has {theirs}"
        ))),
        Ok(there) if there != here => Err(Failure::Other(format!(
            "cannot go on importing to '{name}': its last record, {last}, is not record {last} of the source"
        ))),
        Ok(_) => Ok(()),
    }
}
