//! Writes records in the forms of `cat`, `tail` and `export`.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use immuta::{Entry, Log, MAX_RUN_BYTES, RecordNo, Run, Scratch};
use immuta_fs::fs::JsonLines;

use crate::Failure;

/// How many bytes are written at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How many bytes of a large record are in memory at a time.
const PIECE_BYTES: usize = 1 << 20;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The payloads as they are, nothing between them
    Raw,
    /// Each payload, and a newline unless it ends in one
    Lines,
    /// One line of JSON for each record, with number, time and payload
    Jsonl,
    /// [8-byte little-endian size][payload], safe for any bytes
    Frames,
}

/// Writes records of a log.
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

    /// Writes the records from `next` up to, not including, `end`. Moves `next` behind the written records, and calls
    /// `shown` with it now and then. Each record is checked before a byte of it is written.
    ///
    /// # Errors
    /// The error of the record `next`, which cannot be read.
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

    /// Flushes the buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes the buffer, and returns the writer.
    ///
    /// # Errors
    /// When the buffer cannot be written.
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
