//! Records as bytes for another program: the forms that `cat`, `tail` and `export` show them in.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use immuta::{Entry, Log, MAX_RUN_BYTES, RecordNo, Run, Scratch};
use immuta_fs::fs::JsonLines;

use crate::Failure;

/// How much is written at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How much of a large record is in memory at a time.
const PIECE_BYTES: usize = 1 << 20;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The payloads as they are, with nothing between them
    Raw,
    /// Each payload, and a newline unless it ends in one
    Lines,
    /// A JSON object a line, with number, time and payload
    Jsonl,
    /// [8-byte little-endian size][payload], safe for any bytes
    Frames,
}

/// Shows records of a log.
pub(crate) struct Printer<'a, W: Write> {
    log: &'a Log,
    form: Form,
    out: BufWriter<W>,
    scratch: Scratch,
    json: JsonLines,
    text: Vec<u8>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(crate) fn new(log: &'a Log, form: Form, out: W) -> Self {
        Printer {
            log,
            form,
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            scratch: Scratch::default(),
            json: JsonLines::default(),
            text: Vec::new(),
        }
    }

    /// Shows the records from `next` up to before `end`, and moves `next` behind those that were shown, calling
    /// `shown` now and then. Each is checked before a byte of it is shown.
    ///
    /// # Errors
    /// That of the record `next`, which cannot be read.
    pub(crate) fn print(
        &mut self,
        next: &mut u64,
        end: u64,
        mut shown: impl FnMut(u64),
    ) -> Result<(), Failure> {
        if self.form == Form::Jsonl {
            return self.print_json(next, end, shown);
        }
        let (log, form) = (self.log, self.form);
        while *next < end {
            match log.read_run(RecordNo(*next), MAX_RUN_BYTES, &mut self.scratch)? {
                Run::Records(records) => {
                    let left = usize::try_from(end - *next).unwrap_or(usize::MAX);
                    for (entry, payload) in records.take(left) {
                        begin(&mut self.out, form, &entry)?;
                        self.out.write_all(payload)?;
                        finish(&mut self.out, form, &entry)?;
                        *next += 1;
                    }
                }
                Run::Large(entry) => {
                    log.verify_record(&entry)?;
                    begin(&mut self.out, form, &entry)?;
                    copy(log, &entry, &mut self.out)?;
                    finish(&mut self.out, form, &entry)?;
                    *next += 1;
                }
            }
            shown(*next);
        }
        Ok(())
    }

    fn print_json(
        &mut self,
        next: &mut u64,
        end: u64,
        mut shown: impl FnMut(u64),
    ) -> Result<(), Failure> {
        self.json.start(*next);
        loop {
            self.text.clear();
            let made = self.json.make(self.log, end, BUFFER_BYTES, &mut self.text);
            self.out.write_all(&self.text)?;
            *next = self.json.record();
            made?;
            if self.text.is_empty() {
                return Ok(());
            }
            shown(*next);
        }
    }

    /// Has everything shown reach its reader.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What was written to, with everything shown.
    ///
    /// # Errors
    /// When the rest of it cannot be written.
    pub(crate) fn into_inner(self) -> io::Result<W> {
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

fn begin(out: &mut impl Write, form: Form, entry: &Entry) -> io::Result<()> {
    match form {
        Form::Frames => out.write_all(&entry.size.to_le_bytes()),
        Form::Raw | Form::Lines | Form::Jsonl => Ok(()),
    }
}

fn finish(out: &mut impl Write, form: Form, entry: &Entry) -> io::Result<()> {
    match form {
        Form::Lines if entry.adds_newline() => out.write_all(b"\n"),
        Form::Raw | Form::Lines | Form::Jsonl | Form::Frames => Ok(()),
    }
}

fn copy(log: &Log, entry: &Entry, out: &mut impl Write) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    while done < entry.size {
        let n = log.read_part(entry, done, &mut piece)?;
        out.write_all(&piece[..n])?;
        done += n as u64;
    }
    Ok(())
}
