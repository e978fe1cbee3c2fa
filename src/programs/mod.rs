//! What the two programs share: the command line of `immuta-fs`, which `immuta` writes completions and manual
//! pages of, with the options of mounts in it; mounts of ours, in the list that the kernel keeps; the kernel's device; and changes in a
//! directory of logs.

pub mod cli;
pub mod device;
pub mod mounts;
pub mod options;
pub mod watch;

use std::borrow::Cow;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with a command line, in one line, with the command whose `--help` tells how it is done right.
pub fn usage_error(error: &clap::Error, command: &str) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut what = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let said = |kind| error.get(kind);
    if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), said(ContextKind::InvalidArg))
    {
        what = format!("{} is not given", missing.join(" "));
    }
    if let Some(ContextValue::Strings(possible)) = said(ContextKind::ValidValue)
        && !possible.is_empty()
    {
        what = format!("{what}: none of {}", possible.join(", "));
    }
    if let Some(ContextValue::Strings(near)) = said(ContextKind::SuggestedSubcommand)
        && !near.is_empty()
    {
        return format!("{what} (do you mean '{}'?)", near.join("' or '"));
    }
    format!("{what} ({command} --help tells how)")
}

/// A message for people, in one line and without the numbers that Rust adds to the words of the system.
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

/// A text as one line: control characters in it, a line break or an escape sequence in a name, say, are written as
/// Rust writes them (`\n`, `\u{1b}`), and so are the characters that change the direction or the line of a text.
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
        match is_unsafe(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
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
