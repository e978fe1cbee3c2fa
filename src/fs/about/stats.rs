//! The file `stats`: what is known of a log, as one JSON object.

use crate::fs::forms::json;
use immuta::Details;

/// The object and a newline. Times are in UTC, `null` when not known; `"failed"` is `null` or says why the
/// log takes no more records.
pub(crate) fn json(details: &Details, blocked_readers: usize) -> String {
    let fields = [
        ("namespace", json::string(details.namespace.as_str())),
        ("records", details.records.to_string()),
        ("bytes", details.bytes.to_string()),
        ("text_bytes", details.text_bytes.to_string()),
        ("first_time", json::time(details.first_time)),
        ("last_time", json::time(details.last_time)),
        ("format", json::string(&details.format.to_string())),
        ("sync", json::string(&json::sync(details.sync))),
        // Of the writer's own making, and made later from what was found: a foreign writer keeps none.
        ("checksummed", details.checksummed.to_string()),
        ("rebuilt", details.rebuilt.to_string()),
        ("blocked_readers", blocked_readers.to_string()),
        ("failed", json::string_or_null(details.failed.as_deref())),
    ];
    json::object(&fields) + "\n"
}
