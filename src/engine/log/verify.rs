//! Checking every byte of a log, and what is known about the log without that.

use std::fmt;
use std::time::SystemTime;

use super::log::Log;
use crate::error::{Error, Result, WayOut};
use crate::format::{Format, SIZE_FIELD_BYTES, text_bytes};
use crate::ids::RecordNo;
use crate::namespace::Namespace;
use crate::options::Durability;
use crate::segment::{Entry, MAX_RUN_BYTES, Run, Scratch, State};

/// The most damages that a report lists; the rest is counted.
pub const MAX_LISTED_DAMAGES: usize = 1000;

/// What is known about a log without reading it through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Details {
    /// The name.
    pub namespace: Namespace,
    /// How many records are committed.
    pub records: u64,
    /// The length of the log in bytes: its header, and every record with its size field.
    pub bytes: u64,
    /// How many bytes the records themselves have.
    pub payload_bytes: u64,
    /// The length of the text view in bytes.
    pub text_bytes: u64,
    /// How many of the records have a time and a checksum that their writer made.
    pub checksummed: u64,
    /// How many of the records have a checksum that was made later, from the bytes in the log: their writer keeps
    /// no index, or the index was lost. Such a checksum tells what has changed since then, not before. The times of these
    /// records are not known.
    pub rebuilt: u64,
    /// When the first record was appended, if there is one and it is known.
    pub first_time: Option<SystemTime>,
    /// When the last record was appended, if there is one and it is known.
    pub last_time: Option<SystemTime>,
    /// The format of the log file.
    pub format: Format,
    /// When its records reach the disk.
    pub sync: Durability,
    /// Why it takes no appends, if it has failed.
    pub failed: Option<String>,
}

/// A part of a log that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The record; `None`: the log's header.
    pub record: Option<RecordNo>,
    /// Where it starts, in bytes from the start of the log file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// How it can be mended, if it can.
    pub way_out: Option<WayOut>,
}

impl Damage {
    /// The damage that an error of a read tells of.
    ///
    /// # Errors
    /// The error, if it is none of damage.
    fn told_by(error: Error) -> Result<Self> {
        match error {
            Error::Damaged {
                record,
                offset,
                what,
                way_out,
                ..
            } => Ok(Damage {
                record,
                offset,
                what,
                way_out,
            }),
            e => Err(e),
        }
    }
}

impl fmt::Display for Damage {
    /// What is wrong, and how it can be mended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way_out {
            Some(way_out) => write!(f, "{} ({way_out})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What [`Log::verify`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The name.
    pub namespace: Namespace,
    /// How many records were checked: those that were committed when the check began.
    pub records: u64,
    /// How many bytes their payloads have.
    pub bytes: u64,
    /// What is damaged, in order; at most [`MAX_LISTED_DAMAGES`].
    pub damaged: Vec<Damage>,
    /// How many damages there are beyond those listed.
    pub unlisted: u64,
}

impl Report {
    /// Whether every record is as it was written.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty()
    }

    fn add(&mut self, record: Option<RecordNo>, offset: u64, what: String) {
        self.add_damage(Damage {
            record,
            offset,
            what,
            way_out: None,
        });
    }

    /// Checks that a record starts where the one before it has ended, at `end`, and that its text is as long as the index
    /// says.
    fn check_place(&mut self, entry: &Entry, payload: &[u8], end: u64) {
        let text = text_bytes(entry.size, payload.last().copied());
        let what = if entry.index.0 != end {
            format!("it should start at byte {end}")
        } else if entry.text_size != text {
            format!("its text has {text} bytes")
        } else {
            return;
        };
        self.add(Some(entry.record), entry.index.0, what);
    }

    fn add_damage(&mut self, damage: Damage) {
        if self.damaged.len() < MAX_LISTED_DAMAGES {
            self.damaged.push(damage);
        } else {
            self.unlisted += 1;
        }
    }
}

impl Log {
    /// What is known about the log without reading it through.
    ///
    /// # Errors
    /// [`Error::Io`]. A damaged index entry only costs the first time.
    pub fn details(&self) -> Result<Details> {
        let state = self.state();
        let first_time = match self.entry(RecordNo(0)) {
            Ok(entry) => entry.time,
            Err(Error::NoSuchRecord { .. } | Error::Damaged { .. }) => None,
            Err(e) => return Err(e),
        };
        Ok(Details {
            namespace: self.segment.namespace.clone(),
            records: state.count,
            bytes: state.log_end,
            payload_bytes: state.log_end.saturating_sub(
                self.segment.format.header_bytes() + state.count * SIZE_FIELD_BYTES,
            ),
            text_bytes: state.text_end,
            checksummed: state.count.saturating_sub(state.rebuilt),
            rebuilt: state.rebuilt,
            first_time,
            last_time: state.last_time,
            format: self.segment.format,
            sync: self.durability,
            failed: self.failure().map(str::to_owned),
        })
    }

    /// Reads every committed record and checks it: payload, size field, place, text and order. Takes as long
    /// as reading the log; appends and other readers go on.
    ///
    /// # Errors
    /// [`Error::Io`]. Damage is no error, but in the report.
    pub fn verify(&self) -> Result<Report> {
        self.verify_with(&mut |_| {})
    }

    /// As [`Log::verify`]. After about each megabyte, calls `progress` with the end of what is checked, in bytes
    /// from the start of the log. The last one is [`State::log_end`].
    ///
    /// # Errors
    /// As [`Log::verify`].
    pub fn verify_with(&self, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        let state = self.state();
        let mut report = Report {
            namespace: self.segment.namespace.clone(),
            records: state.count,
            bytes: 0,
            damaged: Vec::new(),
            unlisted: 0,
        };
        self.verify_header(&state, &mut report)?;
        let mut scratch = Scratch::default();
        let mut next = 0;
        let mut end = self.segment.format.header_bytes();
        while next < state.count {
            match self.read_run(RecordNo(next), MAX_RUN_BYTES, &mut scratch) {
                Ok(Run::Records(records)) => {
                    let committed = |(entry, _): &(Entry, &[u8])| entry.record.0 < state.count;
                    for (entry, payload) in records.take_while(committed) {
                        report.check_place(&entry, payload, end);
                        end = entry.end();
                        report.bytes += entry.size;
                        next += 1;
                    }
                }
                Ok(Run::Large(entry)) => {
                    if let Err(e) = self.verify_record(&entry) {
                        report.add_damage(Damage::told_by(e)?);
                    }
                    end = entry.end();
                    report.bytes += entry.size;
                    next += 1;
                }
                Err(e) => {
                    let mut damage = Damage::told_by(e)?;
                    damage.record.get_or_insert(RecordNo(next));
                    report.add_damage(damage);
                    if let Ok(entry) = self.entry(RecordNo(next)) {
                        end = entry.end();
                    } else if let Ok(entry) = self.entry(RecordNo(next + 1)) {
                        end = entry.index.0;
                    }
                    next += 1;
                }
            }
            progress(end);
        }
        Ok(report)
    }

    /// Compares the header with `state`. A count above the committed one includes records that are being appended.
    fn verify_header(&self, state: &State, report: &mut Report) -> Result<()> {
        if self.segment.format == Format::Bare {
            return Ok(());
        }
        let header = self.segment.read_header()?;
        let (claimed, count) = (header.count(), state.count);
        if u64::try_from(claimed).map_or(true, |claimed| claimed < count) {
            let what = format!("its count is {claimed}, but there are {count} records");
            report.add(None, 0, what);
        }
        if self.segment.format == Format::Count16
            && u64::try_from(claimed) == Ok(count)
            && let Some(last) = count.checked_sub(1)
            && let Ok(last) = self.entry(RecordNo(last))
            && last.index.0 != header.last_index()
        {
            let (said, is) = (header.last_index(), last.index);
            let what = format!("it says that the last record is at byte {said}, but it is at {is}");
            report.add(None, 8, what);
        }
        Ok(())
    }
}
