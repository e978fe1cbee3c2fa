//! Messages for people, as single lines.

use std::borrow::Cow;

/// A message as one line, without the error numbers that Rust adds to messages of the system.
pub fn message(text: &str) -> String {
    without_error_numbers(&one_line(text))
}

/// Leaves ` (os error 2)` out.
fn without_error_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut rest = text;
    let mut left = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(BEFORE) {
        left.push_str(before);
        let behind = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = match behind.strip_prefix(')') {
            Some(behind) if behind.len() + 1 < after.len() => behind,
            _ => {
                left.push_str(BEFORE);
                after
            }
        };
    }
    left.push_str(rest);
    left
}

/// A text as one line: control characters, such as a line break or an escape sequence in a name, are escaped as in Rust
/// (`\n`, `\u{1b}`), and so are characters that end a line or change the direction of a text.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_has_no_numbers_of_errors() {
        for (text, expected) in [
            ("all is well", "all is well"),
            (
                "no 'a': No such file or directory (os error 2) (make it)",
                "no 'a': No such file or directory (make it)",
            ),
            ("x (os error 13)", "x"),
            ("a (os error 1) b (os error 22)", "a b"),
            (
                "a (os error ) (os error x) (os error 5",
                "a (os error ) (os error x) (os error 5",
            ),
            ("a\nb (os error 2)", "a\\nb"),
        ] {
            assert_eq!(message(text), expected);
        }
    }
}
