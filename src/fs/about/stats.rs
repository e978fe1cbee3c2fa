//! The file `stats`: what is known of a log, as one JSON object.

use std::time::SystemTime;

use immuta::Details;
use serde::Serialize;

use super::status::sync_option;
use crate::fs::forms::json;

#[derive(Serialize)]
struct Stats<'a> {
    namespace: &'a str,
    records: u64,
    bytes: u64,
    text_bytes: u64,
    #[serde(with = "json::time")]
    first_time: Option<SystemTime>,
    #[serde(with = "json::time")]
    last_time: Option<SystemTime>,
    format: String,
    sync: String,
    /// How many records have a checksum that their writer has made. Writers in Go make none.
    checksummed: u64,
    /// How many have a checksum that was made later, of what was found.
    rebuilt: u64,
    blocked_readers: usize,
    /// Why the log takes no more records.
    failed: Option<&'a str>,
}

/// The object and a newline. Times are in UTC, `null` when not known; `"failed"` is `null` or says why the
/// log takes no more records.
pub(crate) fn json(details: &Details, blocked_readers: usize) -> String {
    json::line(&Stats {
        namespace: details.namespace.as_str(),
        records: details.records,
        bytes: details.bytes,
        text_bytes: details.text_bytes,
        first_time: details.first_time,
        last_time: details.last_time,
        format: details.format.to_string(),
        sync: sync_option(details.sync),
        checksummed: details.checksummed,
        rebuilt: details.rebuilt,
        blocked_readers,
        failed: details.failed.as_deref(),
    }) + "\n"
}
