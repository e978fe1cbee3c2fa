//! Reads the records of a file: frames, JSON lines, or lines.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use immuta::{Log, MAX_RUN_BYTES};
use serde::Deserialize;

use super::{Fingerprint, Source};
use crate::Failure;

/// The name that stands for standard input.
pub(crate) const STDIN: &str = "-";
/// The longest line, in bytes: a line is in memory as a whole.
const MAX_LINE_BYTES: u64 = 1 << 30;
/// How many bytes of a file are read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How many records are appended at once at most.
const MAX_BATCH_RECORDS: usize = 4096;

/// The form of the records in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// [8-byte little-endian size][payload], as `immuta export --format frames` writes it
    Frames,
    /// JSON lines with text or base64, as log.jsonl has them and `immuta export --format jsonl` writes them
    Jsonl,
    /// Each line is a record, with its newline
    Lines,
}

/// A file, or standard input.
pub(crate) struct FromFile {
    reader: BufReader<Box<dyn Read>>,
    input: Input,
    /// Its name in messages.
    name: String,
    /// How many records have been read.
    records: u64,
    position: u64,
    total: Option<u64>,
    /// The payloads that have been read and not been appended, one after the other.
    bytes: Vec<u8>,
    /// Where each record in `bytes` ends, and its time.
    batch: Vec<(usize, Option<SystemTime>)>,
    /// The last line; its memory is used again.
    line: Vec<u8>,
}

/// What comes next in a file.
enum Next {
    /// A record, added to the others in memory.
    Record,
    /// A record of this many bytes, which are still to be read.
    Large(u64),
    End,
}

impl FromFile {
    /// Opens a file, or [`STDIN`].
    pub(crate) fn open(path: &Path, input: Input) -> Result<Self, Failure> {
        let (reader, name, total): (Box<dyn Read>, _, _) = if path == Path::new(STDIN) {
            (Box::new(io::stdin()), "standard input".to_owned(), None)
        } else {
            let name = format!("'{}'", path.display());
            let cannot = |e| {
                Failure::Other(format!(
                    "cannot read {name}: {e} (name a file that you may read, or - for standard input)"
                ))
            };
            let file = File::open(path).map_err(cannot)?;
            let there = file.metadata().map_err(cannot)?;
            (Box::new(file), name, there.is_file().then_some(there.len()))
        };
        Ok(FromFile {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            input,
            name,
            records: 0,
            position: 0,
            total,
            bytes: Vec::new(),
            batch: Vec::new(),
            line: Vec::new(),
        })
    }

    /// The error that the next record is wrong.
    fn wrong(&self, why: impl std::fmt::Display) -> Failure {
        let what = match self.input {
            Input::Frames => "frame",
            Input::Jsonl | Input::Lines => "line",
        };
        Failure::Other(format!(
            "{what} {} of {}, at byte {}: {why} (those before it are appended)",
            self.records + 1,
            self.name,
            self.position
        ))
    }

    fn next(&mut self) -> Result<Next, Failure> {
        let read = match self.input {
            Input::Frames => return self.next_frame(),
            Input::Jsonl | Input::Lines => self.read_line()?,
        };
        if !read {
            return Ok(Next::End);
        }
        if self.input == Input::Lines {
            self.bytes.extend_from_slice(&self.line);
            self.keep(None);
            return Ok(Next::Record);
        }
        let line = std::mem::take(&mut self.line);
        let time = parse(&line, &mut self.bytes).map_err(|why| {
            self.position -= line.len() as u64;
            self.wrong(why)
        })?;
        self.line = line;
        self.keep(time);
        Ok(Next::Record)
    }

    /// Counts one more record that is in memory.
    fn keep(&mut self, time: Option<SystemTime>) {
        self.records += 1;
        self.batch.push((self.bytes.len(), time));
    }

    /// Reads a line, with its newline if it has one. Returns `false` at the end.
    fn read_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let read = (&mut self.reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.line)
            .map_err(|e| self.wrong(e))? as u64;
        if read == MAX_LINE_BYTES {
            return Err(self.wrong("longer than 1 GiB (use frames for such records)"));
        }
        self.position += read;
        Ok(read > 0)
    }

    fn next_frame(&mut self) -> Result<Next, Failure> {
        let mut field = [0; 8];
        let mut have = 0;
        while have < field.len() {
            match self.reader.read(&mut field[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.wrong(e)),
            }
        }
        if have == 0 {
            return Ok(Next::End);
        }
        let size = u64::from_le_bytes(field);
        let left = self
            .total
            .map(|total| total.saturating_sub(self.position + 8));
        if have < field.len() || left.is_some_and(|left| size > left) {
            return Err(self.wrong("it is cut off, or these are no frames"));
        }
        if i64::try_from(size).is_err() {
            return Err(self.wrong("its size is negative: these are no frames"));
        }
        if size > MAX_RUN_BYTES as u64 {
            return Ok(Next::Large(size));
        }
        let start = self.bytes.len();
        self.bytes.resize(start + size as usize, 0);
        if let Err(e) = self.reader.read_exact(&mut self.bytes[start..]) {
            self.bytes.truncate(start);
            return Err(self.wrong(cut_off(e)));
        }
        self.position += 8 + size;
        self.keep(None);
        Ok(Next::Record)
    }

    /// Whether the next record is in the buffer as a whole, so that it can be read without waiting.
    fn has_next(&self) -> bool {
        let there = self.reader.buffer();
        match self.input {
            Input::Jsonl | Input::Lines => memchr::memchr(b'\n', there).is_some(),
            Input::Frames => there
                .split_first_chunk()
                .is_some_and(|(size, payload)| u64::from_le_bytes(*size) <= payload.len() as u64),
        }
    }

    fn append_batch(&mut self, into: &Log) -> Result<u64, Failure> {
        let mut start = 0;
        let records: Vec<(&[u8], Option<SystemTime>)> = self
            .batch
            .iter()
            .map(|(end, time)| {
                let payload = &self.bytes[start..*end];
                start = *end;
                (payload, *time)
            })
            .collect();
        if self.input == Input::Jsonl {
            into.append_copies(&records)?;
        } else {
            // These forms have no times: the records get the time of the import.
            let payloads: Vec<&[u8]> = records.iter().map(|(payload, _)| *payload).collect();
            into.append_batch(&payloads)?;
        }
        let done = self.batch.len() as u64;
        self.batch.clear();
        self.bytes.clear();
        Ok(done)
    }

    fn append_large(&mut self, into: &Log, size: u64) -> Result<(), Failure> {
        let mut frame = Frame {
            reader: &mut self.reader,
            left: size,
        };
        let appended = into.append_from(&mut frame);
        appended.map_err(|e| match e {
            immuta::Error::Input { source } => self.wrong(cut_off(source)),
            e => e.into(),
        })?;
        self.records += 1;
        self.position += 8 + size;
        Ok(())
    }
}

impl Source for FromFile {
    fn skip(&mut self, count: u64) -> Result<Result<Fingerprint, u64>, Failure> {
        let mut last = Fingerprint {
            size: 0,
            checksum: 0,
        };
        while self.records < count {
            last = match self.next()? {
                Next::Record => Fingerprint {
                    size: self.bytes.len() as u64,
                    checksum: crc32c::crc32c(&self.bytes),
                },
                Next::Large(size) => {
                    let mut frame = Frame {
                        reader: &mut self.reader,
                        left: size,
                    };
                    let checksum = checksum(&mut frame).map_err(|e| self.wrong(cut_off(e)))?;
                    self.records += 1;
                    self.position += 8 + size;
                    Fingerprint { size, checksum }
                }
                Next::End => return Ok(Err(self.records)),
            };
            self.batch.clear();
            self.bytes.clear();
        }
        Ok(Ok(last))
    }

    fn append_to(&mut self, into: &Log) -> Result<u64, Failure> {
        // A pipe may be silent for long: records that have come are not held back.
        while self.batch.is_empty()
            || (self.has_next()
                && self.bytes.len() < MAX_RUN_BYTES
                && self.batch.len() < MAX_BATCH_RECORDS)
        {
            match self.next() {
                Ok(Next::Record) => {}
                Ok(Next::Large(size)) => {
                    let done = self.append_batch(into)?;
                    self.append_large(into, size)?;
                    return Ok(done + 1);
                }
                Ok(Next::End) => break,
                Err(e) => {
                    // The records before it are good.
                    self.append_batch(into)?;
                    return Err(e);
                }
            }
        }
        self.append_batch(into)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn total(&self) -> Option<u64> {
        self.total
    }
}

/// The payload of a large frame. If the file ends before it does, that is an error.
struct Frame<'a, R> {
    reader: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Frame<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let n = self.reader.read(&mut buf[..wanted])?;
        if n == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn checksum(reader: &mut impl Read) -> io::Result<u32> {
    let mut piece = vec![0; BUFFER_BYTES];
    let mut crc = 0;
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(crc),
            Ok(n) => crc = crc32c::crc32c_append(crc, &piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn cut_off(e: io::Error) -> String {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
        _ => e.to_string(),
    }
}

/// A line of `jsonl`. Its other fields are ignored: the record gets a new number and a new place.
#[derive(Deserialize)]
struct Line<'a> {
    size: Option<u64>,
    time: Option<String>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
}

/// Adds the payload of a line to `bytes`, and returns the record's time.
fn parse(line: &[u8], bytes: &mut Vec<u8>) -> Result<Option<SystemTime>, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|e| format!("no record: {e}"))?;
    let time = match &line.time {
        Some(time) => Some(
            humantime::parse_rfc3339(time)
                .map_err(|_| format!("'{}' is no time", time.escape_debug()))?,
        ),
        None => None,
    };
    let start = bytes.len();
    match (&line.text, &line.base64) {
        (Some(text), None) => bytes.extend_from_slice(text.as_bytes()),
        (None, Some(base64)) => STANDARD
            .decode_vec(base64.as_bytes(), bytes)
            .map_err(|e| format!("its base64 is none: {e}"))?,
        _ => return Err("it has not one of text and base64".to_owned()),
    }
    let size = (bytes.len() - start) as u64;
    match line.size {
        Some(said) if said != size => {
            bytes.truncate(start);
            Err(format!("it says {said} bytes, and has {size}"))
        }
        _ => Ok(time),
    }
}
