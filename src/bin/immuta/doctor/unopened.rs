//! The logs of a directory that cannot be opened. Another process looks at them (see `place`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use immuta::{Error, Namespace, Next, Opening, Options, Storage};
use serde::{Deserialize, Serialize};

use super::Finding;
use super::place::ask_another;

/// What this program is called with, and a path, by itself, to look at the logs.
pub(super) const LOOK_AT_LOGS: &str = "--look-at-logs";
/// The other process does not answer for so long: the disk hangs.
const DEADLINE: Duration = Duration::from_secs(20);
/// It begins no further check of a log after so long.
const LONGEST: Duration = Duration::from_secs(5);
/// A log that needs more than this to be read, in bytes, is left out: it was not closed in order, and is no worse for it.
const MOST_BYTES: u64 = 32 << 20;

/// A log that cannot be opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Unopened {
    namespace: String,
    why: String,
}

/// Leaves out what takes long.
#[derive(Debug)]
struct Briefly {
    began: Instant,
}

impl Opening for Briefly {
    fn goes_on(&self, _: &Namespace, read: u64, _: u64) -> Next {
        match read > MOST_BYTES || self.began.elapsed() > LONGEST {
            true => Next::Postpone,
            false => Next::Check,
        }
    }
}

/// Opens the logs, for reading, beside whoever writes them. What cannot even be listed is told elsewhere.
pub(super) fn look(logs_dir: &Path) -> Vec<Unopened> {
    let briefly = Arc::new(Briefly {
        began: Instant::now(),
    });
    let options = Options::new(logs_dir).read_only(true).opening(briefly);
    let failed = Storage::open(options).map_or_else(|_| Vec::new(), |storage| storage.failed());
    failed
        .into_iter()
        .filter(|(_, why)| !matches!(**why, Error::BeingChecked { .. }))
        .map(|(namespace, why)| Unopened {
            namespace: namespace.to_string(),
            why: why.to_string(),
        })
        .collect()
}

/// A line for each log in `logs_dir` that cannot be opened, with the command that mends it.
pub(super) fn findings(logs_dir: &Path, is_written: bool) -> Vec<Finding> {
    let Some(json) = ask_another(LOOK_AT_LOGS, logs_dir, DEADLINE) else {
        return vec![Finding::warn(
            format!("logs in '{}'", logs_dir.display()),
            format!("they were not opened within {} s", DEADLINE.as_secs()),
            "look at the disk that they are on",
        )];
    };
    let unopened: Vec<Unopened> = serde_json::from_slice(&json).unwrap_or_default();
    unopened
        .iter()
        .map(|it| {
            let (what, todo) = split(&it.why);
            let todo = match is_written {
                true => format!("unmount, or end the program that writes there; {todo}"),
                false => todo.to_owned(),
            };
            Finding::fail(
                format!("namespace '{}' cannot be opened", it.namespace),
                what,
                todo,
            )
        })
        .collect()
}

/// A message of the engine, and the way out that it has at its end in parentheses.
fn split(why: &str) -> (&str, &str) {
    const WAY_OUT: &str = " (no byte was changed; ";
    let parts = why
        .strip_suffix(')')
        .and_then(|why| why.split_once(WAY_OUT));
    parts.unwrap_or((
        why,
        "let the user of immuta-fs read and write it, or restore it from a backup",
    ))
}
