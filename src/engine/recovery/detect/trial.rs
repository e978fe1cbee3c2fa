//! A file, tried as a log of one format.

use std::io;

use crate::disk::{DiskFile, WINDOW_BYTES, Window};
use crate::format::{Format, Header, SIZE_FIELD_BYTES};
use crate::recovery::records::size_at;

/// How well a format explains a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// To its last byte, and the header agrees.
    Whole,
    /// All that is counted is there, and whole records that are not counted (yet) follow up to the last byte.
    Uncounted,
    /// All that is counted is there, at least one record, and something else follows: an append that was cut short.
    Torn,
    /// Not at all.
    No,
}

/// A file, tried as a format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) format: Format,
    pub(super) fit: Fit,
    /// The records that count in this format; all whole ones in a `bare` log.
    pub(super) records: u64,
    /// Whole records, counted or not.
    pub(super) whole: u64,
    /// Where the last record that counts ends.
    pub(super) counted_end: u64,
    /// Where the whole records end.
    pub(super) reach: u64,
}

/// Goes along the file as a log of `format`.
pub(super) fn attempt(
    file: &dyn DiskFile,
    length: u64,
    format: Format,
    head: &[u8],
) -> io::Result<Trial> {
    let start = format.header_bytes();
    let mut trial = Trial {
        format,
        fit: Fit::No,
        records: 0,
        whole: 0,
        counted_end: start,
        reach: start.min(length),
    };
    if length < start {
        return Ok(trial);
    }
    let header = Header::of(format, head);
    let claimed = match format {
        Format::Bare => Some(u64::MAX),
        Format::Count8 | Format::Count16 => u64::try_from(header.count()).ok(),
    };
    // Where the last counted record is; the second witness of `count16`.
    let mut last_index = 0;
    let mut window = Window::new(file, WINDOW_BYTES);
    while let Some(size) = size_at(&mut window, trial.reach, length)? {
        let index = trial.reach;
        trial.whole += 1;
        trial.reach += SIZE_FIELD_BYTES + size;
        if claimed.is_some_and(|claimed| trial.whole <= claimed) {
            trial.records = trial.whole;
            trial.counted_end = trial.reach;
            last_index = index;
        }
    }
    let to_the_end = trial.reach == length;
    trial.fit = match claimed {
        _ if format == Format::Bare && to_the_end => Fit::Whole,
        Some(claimed)
            if trial.records == claimed
                && (format != Format::Count16 || header.last_index() == last_index) =>
        {
            if to_the_end && trial.whole == claimed {
                Fit::Whole
            } else if to_the_end {
                Fit::Uncounted
            } else if claimed > 0 {
                Fit::Torn
            } else {
                Fit::No
            }
        }
        _ => Fit::No,
    };
    Ok(trial)
}
