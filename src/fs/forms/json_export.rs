//! Makes the lines of JSON of some records, for a program that shows a log without a mount.

use super::json_lines;
use super::json_lines::{Buffers, Large, Place, Window};
use immuta::{Log, Result};

/// Makes lines in pieces, so that a record of any size takes the memory of one piece.
#[derive(Debug, Default)]
pub struct JsonLines {
    place: Place,
    /// Bytes made since `start`.
    made: u64,
    large: Option<Large>,
    buffers: Buffers,
}

impl JsonLines {
    /// Continues with the line of this record.
    pub fn start(&mut self, record: u64) {
        self.place = Place::of_record(record);
        self.made = 0;
        self.large = None;
    }

    /// Appends up to `bytes` bytes of the lines of the records before `end` to `out`: nothing when all of them have been
    /// made. Returns the record whose line comes next, or is cut.
    ///
    /// # Errors
    /// Those of [`Log::read_run`] and [`Log::verify_record`] for the record that comes next. The lines before it are in
    /// `out`, and nothing of a damaged record is.
    pub fn make(&mut self, log: &Log, end: u64, bytes: usize, out: &mut Vec<u8>) -> Result<u64> {
        let before = out.len();
        let until = self.made.saturating_add(bytes as u64);
        let mut window = Window::new(self.made, until, out).before(end);
        let result = json_lines::make(
            log,
            &mut self.place,
            &mut self.large,
            &mut window,
            &mut self.buffers,
        );
        self.made += (out.len() - before) as u64;
        result.map(|()| self.place.record)
    }

    /// The record whose line comes next, or is cut.
    pub fn record(&self) -> u64 {
        self.place.record
    }
}
