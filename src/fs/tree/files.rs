//! The files of a namespace, as one table: all that is particular to a file derives from its row. To add a file is to add
//! a row, and its form, if no other file has it.

use AtEnd::{Ends, Waits};
use Shows::{Count, Frames, FromRecord, JsonLines, Receipts, SinceTime, Stats, Text};
use Takes::Nothing;

/// The fixed files of a namespace: name, what a reader gets, and what becomes of a write. A directory lists them in this
/// order. A file's position is part of its inode number: add new ones at the end.
pub const FILES: &[File] = &[
    row("append", Receipts, Takes::Writes),
    row("append-lines", Receipts, Takes::Lines),
    row("follow", Text(Waits), Nothing),
    row("log", Text(Ends), Takes::AppendedLines),
    row("count", Count, Nothing),
    row("frames", Frames(Ends), Nothing),
    row("follow-frames", Frames(Waits), Nothing),
    row("from", FromRecord, Nothing),
    row("since", SinceTime, Nothing),
    row("stats", Stats, Nothing),
    row("append-frames", Receipts, Takes::Frames),
    row("append-file", Receipts, Takes::WholeFiles),
    row("log.jsonl", JsonLines(Ends), Nothing),
    row("follow.jsonl", JsonLines(Waits), Nothing),
];

/// A fixed file that every namespace has.
#[derive(Debug)]
pub struct File {
    /// Its name in the namespace's directory.
    pub name: &'static str,
    /// What a reader gets.
    pub shows: Shows,
    /// What becomes of a write.
    pub takes: Takes,
}

const fn row(name: &'static str, shows: Shows, takes: Takes) -> File {
    File { name, shows, takes }
}

/// What a reader of a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A line `RECORD INDEX SIZE` for each record that was appended through the same open file.
    Receipts,
    /// All records, as text.
    Text(AtEnd),
    /// All records, as frames.
    Frames(AtEnd),
    /// All records, as lines of JSON.
    JsonLines(AtEnd),
    /// The number of records and a newline.
    Count,
    /// What is known of the log, as JSON.
    Stats,
    /// A directory of files that show the text from any record on, and wait at the end.
    FromRecord,
    /// A directory of files that show the text from any time on, and wait at the end.
    SinceTime,
}

/// What a reader gets at the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// End of file.
    Ends,
    /// The next record, for which the read waits.
    Waits,
}

/// How the bytes that are written to a file become records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The file cannot be written to.
    Nothing,
    /// One write is one record.
    Writes,
    /// One line is one record.
    Lines,
    /// The same, only from a program that has opened the file with O_APPEND: the bytes of this file have offsets.
    AppendedLines,
    /// One frame is one record.
    Frames,
    /// All that is written between open and close is one record.
    WholeFiles,
}

impl File {
    /// Which way bytes go through the file.
    pub fn direction(&self) -> Direction {
        match (self.shows, self.takes) {
            (Receipts, _) => Direction::In,
            (_, Nothing) => Direction::Out,
            _ => Direction::Both,
        }
    }
}

impl PartialEq for File {
    fn eq(&self, other: &File) -> bool {
        self.name == other.name
    }
}

impl Eq for File {}

impl Shows {
    /// Whether a read at the end waits for the next record.
    pub fn waits(self) -> bool {
        matches!(self, Text(Waits) | Frames(Waits) | JsonLines(Waits))
    }

    /// Whether the file is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, FromRecord | SinceTime)
    }

    /// Whether the file shows every record.
    pub fn is_whole_log(self) -> bool {
        matches!(self, Text(_) | Frames(_) | JsonLines(_))
    }
}

/// Which way bytes go through a file. Its permission bits follow the namespace's bits of that direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the log.
    In,
    /// Out of the log.
    Out,
    /// Out of the log, and with O_APPEND into it.
    Both,
}

impl Direction {
    /// The permission bits of a file of this direction in a namespace with these bits.
    pub fn mode(self, namespace: u16) -> u16 {
        let (read, write) = (namespace & 0o444, namespace & 0o222);
        match self {
            // An append file is readable only for users who may both write and read in the namespace: all there is
            // to read are receipts of one's own appends.
            Direction::In => write | (read & write << 1),
            Direction::Out => read,
            Direction::Both => read | write,
        }
    }
}

/// The directory in the root with the files about the whole mount. No namespace can have this name.
pub const ABOUT: &str = ".immuta";

/// A file in [`ABOUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Counters and gauges, in the text format of Prometheus.
    Metrics,
    /// What is known of the mount and of each namespace, as JSON.
    Status,
}

/// The files in [`ABOUT`], in the order in which the directory lists them. A file's position is part of its inode number:
/// add new ones at the end.
pub const ABOUT_FILES: &[(&str, About)] = &[("metrics", About::Metrics), ("status", About::Status)];

/// Finds a fixed file by its name.
pub fn file_named(name: &str) -> Option<&'static File> {
    FILES.iter().find(|f| f.name == name)
}

/// Reads a record number the way the directory writes it: decimal, no sign, no leading zero. Anything else is not the name
/// of a record, so that each record has exactly one name.
pub fn parse_record(name: &str) -> Option<u64> {
    let canonical = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_digit())
        && (name.len() == 1 || !name.starts_with('0'));
    if canonical { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_namespaces_bits_of_its_direction() {
        for (namespace, input, output, both) in [
            (0o755, 0o600, 0o444, 0o644),
            (0o777, 0o666, 0o444, 0o666),
            // A group that may append and not read.
            (0o730, 0o620, 0o400, 0o620),
            (0o733, 0o622, 0o400, 0o622),
            (0o575, 0o060, 0o444, 0o464),
            (0o2770, 0o660, 0o440, 0o660),
            (0o111, 0, 0, 0),
        ] {
            let modes = [Direction::In, Direction::Out, Direction::Both].map(|d| d.mode(namespace));
            assert_eq!(modes, [input, output, both], "{namespace:o}");
        }
    }

    #[test]
    fn bytes_go_the_way_that_the_columns_of_a_file_say() {
        for file in FILES {
            let direction = match file.name {
                name if name.starts_with("append") => Direction::In,
                "log" => Direction::Both,
                _ => Direction::Out,
            };
            assert_eq!(file.direction(), direction, "{}", file.name);
        }
    }

    #[test]
    fn a_record_has_exactly_one_name() {
        assert_eq!(parse_record("0"), Some(0));
        assert_eq!(parse_record("18446744073709551615"), Some(u64::MAX));
        for name in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x1",
            "18446744073709551616",
            "١",
        ] {
            assert_eq!(parse_record(name), None, "{name:?}");
        }
    }
}
