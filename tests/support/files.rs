//! The files of a namespace, and the bytes of frames.

/// The files that every namespace has, in the order in which a directory lists them.
pub const FIXED: &[&str] = &[
    "append",
    "append-lines",
    "follow",
    "log",
    "count",
    "frames",
    "follow-frames",
    "from",
    "since",
    "stats",
    "append-frames",
    "append-file",
    "log.jsonl",
    "follow.jsonl",
];

/// Those that take records and show none.
pub const APPEND_FILES: &[&str] = &["append", "append-lines", "append-frames", "append-file"];

/// A record as `frames` shows it and `append-frames` takes it.
pub fn frame(record: impl AsRef<[u8]>) -> Vec<u8> {
    let record = record.as_ref();
    [&(record.len() as u64).to_le_bytes()[..], record].concat()
}

/// Records one after the other.
pub fn frames_of<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Vec<u8> {
    records.into_iter().flat_map(frame).collect()
}
