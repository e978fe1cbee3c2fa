//! Writes JSON: for `stats`, `.immuta/status` and the lines of `log.jsonl`.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::ser::Formatter;

/// Writes a value on one line, without a newline.
pub(crate) fn line(value: &impl Serialize) -> String {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, OneLine);
    // Only a map with keys that are no strings would fail, or a value that refuses.
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&json).into_owned()
}

/// A space behind each colon and comma; numbers as Rust prints them.
struct OneLine;

impl Formatter for OneLine {
    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        write!(out, "{value}")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Times as JSON has them: in UTC, `null` when not known.
pub(crate) mod time {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let known = time.filter(|time| *time >= UNIX_EPOCH);
        let text = known.map(|time| humantime::format_rfc3339_nanos(time).to_string());
        text.serialize(serializer)
    }

    /// A text that is no time is as one that is not known.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(text.and_then(|text| humantime::parse_rfc3339(&text).ok()))
    }
}

/// Writes times in the order of a log: within one second, only the nanoseconds are formatted anew.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The last second, since 1970, and its text.
    second: Option<(u64, String)>,
}

impl Clock {
    /// Appends a time as [`time`] has it.
    pub(crate) fn push(&mut self, time: Option<SystemTime>, json: &mut Vec<u8>) {
        let Some(since) = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else {
            return json.extend_from_slice(b"null");
        };
        let text = match &mut self.second {
            Some((second, text)) if *second == since.as_secs() => text,
            second => {
                let whole = UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs());
                let mut text = humantime::format_rfc3339_seconds(whole).to_string();
                text.pop(); // the Z
                &mut second.insert((since.as_secs(), text)).1
            }
        };
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        let mut nanos = *b".000000000Z\"";
        let mut left = since.subsec_nanos();
        for digit in nanos[1..=9].iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        json.extend_from_slice(&nanos);
    }
}

const WORD: usize = size_of::<u64>();
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;
/// The most bytes that one byte of a text becomes: `\u0000`.
pub(crate) const MAX_ESCAPE_BYTES: usize = 6;

/// How one byte stands in a string.
#[derive(Clone, Copy)]
struct Escape {
    /// The first `length` bytes of this word: a whole word is copied faster.
    word: [u8; WORD],
    length: u8,
}

/// The escape of every byte. Only ASCII is escaped, so a text can be cut between any two bytes.
static ESCAPES: [Escape; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut escapes = [Escape {
        word: [0; WORD],
        length: 1,
    }; 256];
    let mut byte = 0;
    while byte < 256 {
        let short = match byte as u8 {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => 0,
        };
        let (digit, length): ([u8; WORD], u8) = if short != 0 {
            ([b'\\', short, 0, 0, 0, 0, 0, 0], 2)
        } else if byte < 0x20 {
            let (high, low) = (HEX[byte >> 4], HEX[byte & 15]);
            ([b'\\', b'u', b'0', b'0', high, low, 0, 0], 6)
        } else {
            ([byte as u8, 0, 0, 0, 0, 0, 0, 0], 1)
        };
        escapes[byte] = Escape {
            word: digit,
            length,
        };
        byte += 1;
    }
    escapes
};

/// Returns a byte as it stands in a string: unchanged, or escaped.
pub(crate) fn escaped(byte: u8) -> &'static [u8] {
    let escape = &ESCAPES[usize::from(byte)];
    &escape.word[..usize::from(escape.length)]
}

/// The length of a text in a string, in bytes.
pub(crate) fn escaped_bytes(text: &[u8]) -> usize {
    // The extra bytes of a piece fit into a `u8`, so that the compiler counts many bytes at once.
    const PIECE: usize = u8::MAX as usize / MAX_ESCAPE_BYTES;
    let more = |byte: &u8| {
        let control = *byte < 0x20;
        let short = matches!(*byte, 0x08..=0x0a | 0x0c | 0x0d | b'"' | b'\\');
        u8::from(control | short) + 4 * u8::from(control & !short)
    };
    let pieces = text.chunks(PIECE);
    text.len()
        + pieces
            .map(|piece| usize::from(piece.iter().map(more).sum::<u8>()))
            .sum::<usize>()
}

/// Appends a text as it stands in a string.
pub(crate) fn push_escaped(text: &[u8], json: &mut Vec<u8>) {
    /// Bytes that the compiler checks at once.
    const PLAIN: usize = 32;
    const PIECE: usize = 64;
    let mut made = [0; PIECE * MAX_ESCAPE_BYTES + WORD];
    let mut text = text;
    while !text.is_empty() {
        let plain = text.chunks_exact(PLAIN).take_while(|c| is_plain(c)).count() * PLAIN;
        let (plain, behind) = text.split_at(plain);
        json.extend_from_slice(plain);
        let (mut rest, behind) = behind.split_at(behind.len().min(PIECE));
        text = behind;
        let mut end = 0;
        while let Some((word, behind)) = rest.split_first_chunk::<WORD>() {
            // Copies the whole word; only its plain bytes count.
            made[end..end + WORD].copy_from_slice(word);
            let marked = needs_escape(u64::from_le_bytes(*word));
            let plain = marked.trailing_zeros() as usize / 8;
            end += plain;
            if plain == WORD {
                rest = behind;
                continue;
            }
            let escape = &ESCAPES[usize::from(rest[plain])];
            made[end..end + WORD].copy_from_slice(&escape.word);
            end += usize::from(escape.length);
            rest = &rest[plain + 1..];
        }
        for byte in rest {
            let escape = &ESCAPES[usize::from(*byte)];
            made[end..end + WORD].copy_from_slice(&escape.word);
            end += usize::from(escape.length);
        }
        json.extend_from_slice(&made[..end]);
    }
}

fn is_plain(text: &[u8]) -> bool {
    let needs_escape = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    !text
        .iter()
        .fold(false, |any, byte| any | needs_escape(byte))
}

/// Sets the highest bit of the lowest byte in `word` that needs an escape. Bytes above it may be marked, whether or not
/// they need one.
fn needs_escape(word: u64) -> u64 {
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH_BITS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal(b'"') | equal(b'\\')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_string_is_json_whatever_is_in_it() {
        assert_eq!(
            line(&"a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f} \u{7f}é"),
            "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f \u{7f}é\""
        );
    }

    #[test]
    fn every_byte_is_escaped_alike_wherever_it_is() {
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        for byte in 0..=u8::MAX {
            assert_eq!(escaped(byte) == [byte], plain(byte), "{byte}");
            for length in [1, 8, 20, 131] {
                for at in (0..length).filter(|at| *at < 10 || *at > 125) {
                    let mut text = vec![[b'x', 0xc3, b'"'][at % 3]; length];
                    text[at] = byte;
                    let expected: Vec<u8> =
                        text.iter().flat_map(|b| escaped(*b)).copied().collect();
                    let mut json = Vec::new();
                    push_escaped(&text, &mut json);
                    assert_eq!(json, expected, "{byte} at {at} of {length}");
                    assert_eq!(escaped_bytes(&text), expected.len());
                }
            }
        }
    }

    #[test]
    fn a_clock_writes_what_a_time_is() {
        #[derive(Serialize)]
        #[serde(transparent)]
        struct Time(#[serde(with = "time")] Option<SystemTime>);

        let time = |time| line(&Time(time));
        let mut clock = Clock::default();
        for nanos in [0, 1, 999_999_999, 1_000_000_000, 1_795_255_200_123_456_789] {
            let then = Some(UNIX_EPOCH + Duration::from_nanos(nanos));
            let mut json = Vec::new();
            clock.push(then, &mut json);
            assert_eq!(String::from_utf8_lossy(&json), time(then));
        }
        for unknown in [None, UNIX_EPOCH.checked_sub(Duration::from_nanos(1))] {
            let mut json = Vec::new();
            clock.push(unknown, &mut json);
            assert_eq!(
                (json.as_slice(), time(unknown).as_str()),
                (&b"null"[..], "null")
            );
        }
    }
}
