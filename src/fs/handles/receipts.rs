//! What an append file that is open for reading, too, gives back: a line for each record that was appended
//! through it.
//!
//! ```text
//! RECORD INDEX SIZE\n      its number, the byte index of its size field in the log, its payload's bytes
//! ```
//!
//! Only record numbers are kept, and consecutive ones as one run: the rest is asked of the log when somebody
//! reads. A program that opens an append file for reading and never reads costs no more than [`MAX_RUNS`].

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::fs::errno::Errno;
use immuta::{Appended, RecordNo};

/// How many runs one open file keeps: 256 KiB. Each write makes one at most, and none when the record before
/// it in the log came through the same open file.
const MAX_RUNS: usize = 16 << 10;

/// The records that were appended through an open file and have not been read back.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    runs: VecDeque<Run>,
    /// How many bytes of the next line have been read.
    taken: usize,
    /// There were too many runs: the oldest are gone, and the next read has to say so.
    lost: bool,
}

/// Records that follow each other: `first`, and `count - 1` more. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    count: u64,
}

impl Receipts {
    /// Notes that `count` records, at least one, were appended from `first` on.
    pub(crate) fn add(&mut self, first: u64, count: u64) {
        // Almost always the end: only calls that race with each other can come out of order.
        let at = self.runs.partition_point(|run| run.first < first);
        let at = at.max(usize::from(self.taken > 0)); // A line is not torn.
        if let Some(before) = at.checked_sub(1).and_then(|at| self.runs.get_mut(at))
            && before.first + before.count == first
        {
            before.count += count;
            return;
        }
        self.runs.insert(at, Run { first, count });
        if self.runs.len() > MAX_RUNS {
            self.runs.pop_front();
            self.taken = 0;
            self.lost = true;
        }
    }

    /// Whether a read would give anything when `committed` records are committed.
    pub(crate) fn is_ready(&self, committed: u64) -> bool {
        self.lost || self.runs.front().is_some_and(|run| run.first < committed)
    }

    /// Appends to `out` the lines that have not been read, up to `size` bytes: all that fits of those whose
    /// records are `committed`. What it gives counts as read; nothing when there is nothing.
    ///
    /// # Errors
    /// `ENOBUFS`, once, when lines are lost: the next read goes on behind them. Those of `entry`, unless there
    /// are lines before it.
    pub(crate) fn read(
        &mut self,
        committed: u64,
        size: usize,
        out: &mut Vec<u8>,
        mut entry: impl FnMut(RecordNo) -> Result<Appended, Errno>,
    ) -> Result<(), Errno> {
        if std::mem::take(&mut self.lost) {
            return Err(Errno::ENOBUFS);
        }
        let mut line = String::new();
        while out.len() < size
            && let Some(run) = self.runs.front_mut()
            && run.first < committed
        {
            let entry = match entry(RecordNo(run.first)) {
                Ok(entry) => entry,
                Err(_) if !out.is_empty() => break,
                Err(errno) => return Err(errno),
            };
            line.clear();
            // Writing to a string cannot fail.
            let _ = writeln!(line, "{} {} {}", entry.record, entry.index, entry.size);
            let rest = &line.as_bytes()[self.taken..];
            let fits = rest.len().min(size - out.len());
            out.extend_from_slice(&rest[..fits]);
            self.taken += fits;
            if self.taken < line.len() {
                break;
            }
            self.taken = 0;
            run.first += 1;
            run.count -= 1;
            if run.count == 0 {
                self.runs.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use immuta::ByteIndex;
    use proptest::prelude::*;

    fn entry(record: RecordNo) -> Result<Appended, Errno> {
        Ok(Appended {
            record,
            index: ByteIndex(8 + 100 * record.0),
            size: 92,
        })
    }

    fn read(receipts: &mut Receipts, committed: u64, size: usize) -> Result<String, Errno> {
        let mut out = Vec::new();
        receipts.read(committed, size, &mut out, entry)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn line(record: u64) -> String {
        format!("{record} {} 92\n", 8 + 100 * record)
    }

    proptest! {
        #[test]
        fn each_record_has_its_line_once_and_in_order_however_it_is_read(
            steps in proptest::collection::vec((0u64..3, 1u64..4, 0usize..30), 0..60),
        ) {
            let mut receipts = Receipts::default();
            let (mut next, mut expected, mut got) = (0, String::new(), String::new());
            for (of_others, ours, size) in steps {
                next += of_others;
                receipts.add(next, ours);
                expected.extend((next..next + ours).map(line));
                next += ours;
                got += &read(&mut receipts, next, size).unwrap();
                prop_assert!(expected.starts_with(&got));
                prop_assert_eq!(receipts.is_ready(next), got.len() < expected.len());
            }
            got += &read(&mut receipts, next, usize::MAX).unwrap();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn consecutive_records_cost_nothing() {
        let mut receipts = Receipts::default();
        for n in 0..100_000 {
            receipts.add(3 * n, 3);
        }
        assert_eq!(receipts.runs.len(), 1);
        assert_eq!(read(&mut receipts, 2, 1000), Ok(line(0) + &line(1)));
    }

    #[test]
    fn what_is_not_committed_is_not_given() {
        let mut receipts = Receipts::default();
        receipts.add(5, 2);
        assert!(!receipts.is_ready(5));
        assert_eq!(read(&mut receipts, 5, 1000), Ok(String::new()));
        assert_eq!(read(&mut receipts, 6, 1000), Ok(line(5)));
        assert_eq!(read(&mut receipts, 7, 1000), Ok(line(6)));
    }

    #[test]
    fn calls_that_race_do_not_change_the_order_and_do_not_tear_a_line() {
        let mut receipts = Receipts::default();
        for n in [4, 2, 6, 0] {
            receipts.add(n, 1);
        }
        assert_eq!(read(&mut receipts, 9, 8), Ok(line(0) + &line(2)[..1]));
        receipts.add(1, 1);
        let rest = [&line(2)[1..], &line(1), &line(4), &line(6)].concat();
        assert_eq!(read(&mut receipts, 9, 1000), Ok(rest));
    }

    #[test]
    fn a_reader_that_comes_too_late_is_told_once_and_reads_on_with_whole_lines() {
        let mut receipts = Receipts::default();
        let records: Vec<u64> = (0..=MAX_RUNS as u64).map(|n| 2 * n).collect();
        receipts.add(records[0], 1);
        assert_eq!(read(&mut receipts, u64::MAX, 2).unwrap(), line(0)[..2]);
        for n in &records[1..] {
            receipts.add(*n, 1);
        }
        assert!(receipts.is_ready(0));
        assert_eq!(read(&mut receipts, u64::MAX, 100), Err(Errno::ENOBUFS));
        let rest: String = records[1..].iter().map(|n| line(*n)).collect();
        assert_eq!(read(&mut receipts, u64::MAX, usize::MAX), Ok(rest));
        assert!(receipts.runs.len() <= MAX_RUNS);
    }

    #[test]
    fn a_line_that_cannot_be_told_is_an_error_behind_those_that_can() {
        let mut receipts = Receipts::default();
        receipts.add(0, 2);
        let mut out = Vec::new();
        let bad = |n: RecordNo| match n.0 {
            0 => entry(n),
            _ => Err(Errno::EIO),
        };
        receipts.read(2, 1000, &mut out, bad).unwrap();
        assert_eq!(out, line(0).as_bytes());
        out.clear();
        assert_eq!(receipts.read(2, 1000, &mut out, bad), Err(Errno::EIO));
    }
}
