//! The files of a namespace, as one table.

/// What a fixed file of a namespace does with a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One write is one record.
    Append,
    /// One line is one record.
    AppendLines,
    /// The whole log as text; waits at the end.
    Follow,
    /// The whole log as text; ends.
    Log,
    /// The number of records and a newline.
    Count,
    /// The whole log as frames; ends.
    Frames,
    /// The whole log as frames; waits at the end.
    FollowFrames,
    /// A directory of the text from any record on.
    From,
    /// A directory of the text from any time on.
    Since,
    /// What is known of the log, as JSON.
    Stats,
    /// One frame is one record.
    AppendFrames,
    /// What is written between open and close is one record.
    AppendFile,
    /// The whole log as lines of JSON; ends.
    JsonLog,
    /// The whole log as lines of JSON; waits at the end.
    JsonFollow,
}

impl Kind {
    /// Whether a read at its end waits for the next record.
    pub fn waits(self) -> bool {
        matches!(self, Kind::Follow | Kind::FollowFrames | Kind::JsonFollow)
    }

    /// Whether it is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, Kind::From | Kind::Since)
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
    /// The permission bits of a file of this direction in a namespace with these.
    pub fn mode(self, namespace: u16) -> u16 {
        let (read, write) = (namespace & 0o444, namespace & 0o222);
        match self {
            // Who may append may also read what became of it, if he may read at all. Alone, the right to
            // read is of no use there.
            Direction::In => write | (read & write << 1),
            Direction::Out => read,
            Direction::Both => read | write,
        }
    }
}

/// A fixed file that every namespace has.
#[derive(Debug)]
pub struct File {
    /// Its name in the namespace's directory.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Which way its bytes go.
    pub direction: Direction,
}

impl PartialEq for File {
    fn eq(&self, other: &File) -> bool {
        self.kind == other.kind
    }
}

impl Eq for File {}

/// The fixed files of a namespace, in the order in which a directory lists them. The position is part of the
/// inode number: add at the end.
pub const FILES: &[File] = &[
    File {
        name: "append",
        kind: Kind::Append,
        direction: Direction::In,
    },
    File {
        name: "append-lines",
        kind: Kind::AppendLines,
        direction: Direction::In,
    },
    File {
        name: "follow",
        kind: Kind::Follow,
        direction: Direction::Out,
    },
    File {
        name: "log",
        kind: Kind::Log,
        direction: Direction::Both,
    },
    File {
        name: "count",
        kind: Kind::Count,
        direction: Direction::Out,
    },
    File {
        name: "frames",
        kind: Kind::Frames,
        direction: Direction::Out,
    },
    File {
        name: "follow-frames",
        kind: Kind::FollowFrames,
        direction: Direction::Out,
    },
    File {
        name: "from",
        kind: Kind::From,
        direction: Direction::Out,
    },
    File {
        name: "since",
        kind: Kind::Since,
        direction: Direction::Out,
    },
    File {
        name: "stats",
        kind: Kind::Stats,
        direction: Direction::Out,
    },
    File {
        name: "append-frames",
        kind: Kind::AppendFrames,
        direction: Direction::In,
    },
    File {
        name: "append-file",
        kind: Kind::AppendFile,
        direction: Direction::In,
    },
    File {
        name: "log.jsonl",
        kind: Kind::JsonLog,
        direction: Direction::Out,
    },
    File {
        name: "follow.jsonl",
        kind: Kind::JsonFollow,
        direction: Direction::Out,
    },
];

/// The directory in the root that tells of the whole mount. No namespace can have this name.
pub const ABOUT: &str = ".immuta";

/// What a file in [`ABOUT`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Counters and gauges, in the text format of Prometheus.
    Metrics,
    /// What is known of the mount and of each namespace, as JSON.
    Status,
}

/// The files in [`ABOUT`], in the order in which it lists them. The position is part of the inode number: add
/// at the end.
pub const ABOUT_FILES: &[(&str, About)] = &[("metrics", About::Metrics), ("status", About::Status)];

/// Finds a fixed file by its name.
pub fn file_named(name: &str) -> Option<&'static File> {
    FILES.iter().find(|f| f.name == name)
}

/// Reads a record number the way the directory writes it: decimal, no sign, no leading zero. Anything else is
/// no record's name, so that each record has exactly one.
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
