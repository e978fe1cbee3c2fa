//! `immuta import`: from one format to another, record by record, and never a record twice.

use std::path::{Path, PathBuf};

use immuta::{
    Entry, Format, Log, MAX_RUN_BYTES, Namespace, Options, RecordNo, Run, Scratch, Storage, Sync,
};

use crate::{Assume, Failure, log_of, only, progress_bar};

pub(crate) fn import(
    source: &Path,
    dir: PathBuf,
    namespace: Option<String>,
    format: Format,
    assume: &Assume,
) -> Result<(), Failure> {
    let (source_dir, source_name, name) = names(source, namespace)?;
    if same_place(&source_dir, &dir) && source_name == name.as_str() {
        return Err(Failure::Other(format!(
            "cannot import '{name}' into itself (give another directory or name)"
        )));
    }
    let options = only(assume.options(source_dir), Some(&source_name)).read_only(true);
    let from_storage = Storage::open(options)?;
    let from = log_of(&from_storage, &source_name)?;
    // The copy is as large as its largest record needs it, and that is on a disk already.
    let options = Options::new(dir)
        .only([name.as_str()])
        .namespaces([name.as_str()])
        .format(format)
        .sync(Sync::Never)
        .max_record_bytes(u64::MAX);
    let into_storage = Storage::open(options)?;
    let into = log_of(&into_storage, name.as_str())?;
    if into.format() != format {
        return Err(Failure::Other(format!(
            "'{name}' is there already, in the format {} (import to another name, or with --format {})",
            into.format(),
            into.format()
        )));
    }
    let done = into.state().count;
    let total = from.state();
    check_same(&from, &into, done)?;
    let bar = progress_bar(name.as_str(), total.log_end);
    let mut next = done;
    let mut scratch = Scratch::default();
    while next < total.count {
        match from.read_run(RecordNo(next), MAX_RUN_BYTES, &mut scratch)? {
            Run::Records(records) => {
                let left = usize::try_from(total.count - next).unwrap_or(usize::MAX);
                let payloads: Vec<&[u8]> = records.take(left).map(|(_, payload)| payload).collect();
                into.append_batch(&payloads)?;
                next += payloads.len() as u64;
            }
            Run::Large(entry) => {
                from.verify_record(&entry)?;
                into.append_from(&mut Payload::new(&from, entry))?;
                next += 1;
            }
        }
        bar.set_position(from.entry(RecordNo(next - 1))?.index.0);
    }
    bar.finish_and_clear();
    into_storage.close()?;
    let went_on = match done {
        0 => String::new(),
        done => format!(" ({done} were there already)"),
    };
    println!("{name}: {next} records in {format}{went_on}");
    Ok(())
}

/// Directory and namespace of the source, and the name of the copy.
fn names(
    source: &Path,
    namespace: Option<String>,
) -> Result<(PathBuf, String, Namespace), Failure> {
    if source.is_dir() {
        let Some(namespace) = namespace else {
            return Err(Failure::Other(format!(
                "'{}' is a directory: name the log in it to import",
                source.display()
            )));
        };
        let name = Namespace::new(&namespace)?;
        return Ok((source.to_owned(), namespace, name));
    }
    let stem = source.file_stem().and_then(|stem| stem.to_str());
    let (Some(stem), true) = (stem, source.extension().is_some_and(|e| e == "log")) else {
        return Err(Failure::Other(format!(
            "cannot import '{}': not a directory, and not a file NAME.log",
            source.display()
        )));
    };
    let dir = match source.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = Namespace::new(namespace.as_deref().unwrap_or(stem))?;
    Ok((dir, stem.to_owned(), name))
}

fn same_place(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// What is there has to be the beginning of what is imported: as many records at the most, and the last of
/// them the same.
fn check_same(from: &Log, into: &Log, done: u64) -> Result<(), Failure> {
    let Some(last) = done.checked_sub(1).map(RecordNo) else {
        return Ok(());
    };
    let name = into.namespace();
    let theirs = from.state().count;
    if done > theirs {
        return Err(Failure::Other(format!(
            "cannot go on importing to '{name}': it has {done} records, and the source has {theirs}"
        )));
    }
    let (here, there) = (into.entry(last)?, from.entry(last)?);
    into.verify_record(&here)?;
    from.verify_record(&there)?;
    if (here.size, here.checksum) != (there.size, there.checksum) {
        return Err(Failure::Other(format!(
            "cannot go on importing to '{name}': its last record, {last}, is not record {last} of the source"
        )));
    }
    Ok(())
}

/// A large record, read piece by piece.
struct Payload<'a> {
    log: &'a Log,
    entry: Entry,
    done: u64,
}

impl<'a> Payload<'a> {
    fn new(log: &'a Log, entry: Entry) -> Self {
        Payload {
            log,
            entry,
            done: 0,
        }
    }
}

impl std::io::Read for Payload<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self
            .log
            .read_part(&self.entry, self.done, buf)
            .map_err(std::io::Error::other)?;
        self.done += n as u64;
        Ok(n)
    }
}
