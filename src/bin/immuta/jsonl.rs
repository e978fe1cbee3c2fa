//! A record as a line of JSON:
//!
//! ```text
//! {"record":0,"index":8,"time":"2026-11-21T10:00:00.000000000Z","size":4,"text":"text"}
//! {"record":1,"index":20,"time":null,"size":2,"base64":"//4="}
//! ```

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use immuta::Entry;

/// The line, with its newline. `text` where the payload is UTF-8, else `base64`.
pub(crate) fn line(entry: &Entry, payload: &[u8]) -> Vec<u8> {
    let time = entry.time.map_or("null".to_owned(), |time| {
        format!("\"{}\"", humantime::format_rfc3339_nanos(time))
    });
    let mut line = format!(
        "{{\"record\":{},\"index\":{},\"time\":{time},\"size\":{},",
        entry.record, entry.index, entry.size
    )
    .into_bytes();
    match std::str::from_utf8(payload) {
        Ok(text) => {
            line.extend_from_slice(b"\"text\":");
            string(text, &mut line);
        }
        Err(_) => {
            line.extend_from_slice(b"\"base64\":\"");
            line.extend_from_slice(STANDARD.encode(payload).as_bytes());
            line.push(b'"');
        }
    }
    line.extend_from_slice(b"}\n");
    line
}

/// A JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            // To a vector it cannot fail.
            0..=0x1f => drop(write!(out, "\\u{byte:04x}")),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}
