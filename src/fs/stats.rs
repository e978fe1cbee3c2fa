//! The file `stats`: what is known of a log, as one JSON object.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::log::{Details, Sync};

/// The object and a newline. Times are in UTC, `null` when not known; `"failed"` is `null` or says why the
/// log takes no more records.
pub(super) fn json(details: &Details, blocked_readers: usize) -> String {
    let time = |time: Option<SystemTime>| match time {
        Some(time) => string(&humantime::format_rfc3339_nanos(time).to_string()),
        None => "null".to_owned(),
    };
    let sync = match details.sync {
        Sync::Always => "always".to_owned(),
        Sync::Every(interval) => humantime::format_duration(interval).to_string(),
        Sync::Never => "never".to_owned(),
    };
    let fields = [
        ("namespace", string(details.namespace.as_str())),
        ("records", details.records.to_string()),
        ("bytes", details.bytes.to_string()),
        ("text_bytes", details.text_bytes.to_string()),
        ("first_time", time(details.first_time)),
        ("last_time", time(details.last_time)),
        ("format", string(&details.format.to_string())),
        ("sync", string(&sync)),
        // Of the writer's own making, and made later from what was found: a foreign writer keeps none.
        ("checksummed", details.checksummed.to_string()),
        ("rebuilt", details.rebuilt.to_string()),
        ("blocked_readers", blocked_readers.to_string()),
        (
            "failed",
            details.failed.as_deref().map_or("null".to_owned(), string),
        ),
    ];
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}\n", fields.join(", "))
}

/// A JSON string.
fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => {
                // To a String it cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_string_is_json_whatever_is_in_it() {
        assert_eq!(
            super::string("a\"b\\c\n\u{1}é"),
            r#""a\"b\\c\u000a\u0001é""#
        );
    }
}
