//! Checks the logs of a directory, in another process (see `probe`): a disk may hang.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use immuta::{Error, Namespace, Next, Opening, Options, Storage};
use serde::{Deserialize, Serialize};

use super::Finding;
use super::probe::ask_another;

/// The argument that this program starts itself with, before a path, to open the logs there.
pub(super) const LOOK_AT_LOGS: &str = "--look-at-logs";
/// If the other process has not answered by then, the disk hangs.
const DEADLINE: Duration = Duration::from_secs(20);
/// After this time the other process begins no further check of a log.
const LONGEST: Duration = Duration::from_secs(5);
/// A log whose check has to read more than this, in bytes, is left out. It was not closed in order, which is no fault.
const MOST_BYTES: u64 = 32 << 20;

/// What to do about a log that cannot be read at all.
const UNREADABLE_TODO: &str =
    "let the user of immuta-fs read and write it, or restore it from a backup";

/// A log that cannot be opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Unopened {
    namespace: String,
    why: String,
    /// What makes it open.
    todo: String,
}

/// Leaves out checks that take long.
#[derive(Debug)]
struct Briefly {
    began: Instant,
}

impl Opening for Briefly {
    fn goes_on(&self, _: &Namespace, read: u64, _: u64) -> Next {
        if read > MOST_BYTES || self.began.elapsed() > LONGEST {
            Next::Postpone
        } else {
            Next::Check
        }
    }
}

/// Opens the logs for reading, also while another program writes them. Returns those that cannot be opened. A directory
/// that cannot be listed is reported by another check.
pub(super) fn look(logs_dir: &Path) -> Vec<Unopened> {
    let briefly = Arc::new(Briefly {
        began: Instant::now(),
    });
    let options = Options::new(logs_dir).read_only(true).opening(briefly);
    let failed = Storage::open(options).map_or_else(|_| Vec::new(), |storage| storage.failed());
    failed
        .into_iter()
        .filter(|(_, why)| !matches!(**why, Error::BeingChecked { .. }))
        .map(|(namespace, why)| {
            let refusal = why.refusal();
            let (why, todo) =
                refusal.unwrap_or_else(|| (why.to_string(), UNREADABLE_TODO.to_owned()));
            Unopened {
                namespace: namespace.to_string(),
                why,
                todo,
            }
        })
        .collect()
}

/// A finding for each log in `logs_dir` that cannot be opened, with the command that repairs it. `is_written`: a program
/// writes there now.
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
            let todo = if is_written {
                format!("unmount, or end the program that writes there; {}", it.todo)
            } else {
                it.todo.clone()
            };
            Finding::fail(
                format!("namespace '{}' cannot be opened", it.namespace),
                it.why.clone(),
                todo,
            )
        })
        .collect()
}
