//! What is wrong with a command line, in one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with a command line, in one line. It ends with the `command` whose `--help` tells more.
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
