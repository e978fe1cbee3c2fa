//! `immuta top`: shows live what the namespaces of a mount do.
//!
//! `status` reads the status of the mount, `model` keeps the last minute, `table` lays out the columns, `screen` shows them
//! and handles keys.

mod model;
mod screen;
mod status;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::Failure;
use model::Model;
use screen::{Message, Pen, Screen};

/// How long a mount may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Reading the status more often would cost more than it shows.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Show, live, the activity of each namespace of a mount
///
/// Each line shows the number of records, records and bytes a second, readers that wait for the next record, how
/// long records have been waiting for the disk, how long ago the last record came, and a chart of the last minute.
///
/// Keys: q ends it, arrows and page keys scroll, n c r b w l a s sort by a column, i reverses the order. If
/// standard output is no terminal, one plain table is printed.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        immuta top /mnt/log\n  \
        immuta top /mnt/log --once | sort -k3 -n")]
pub(crate) struct Top {
    /// The mount point
    #[arg(value_hint = ValueHint::DirPath)]
    mountpoint: PathBuf,
    /// Interval between updates: 500ms, 2s, or seconds
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// Print one plain table, measured over one interval, and end
    #[arg(long)]
    once: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    match seconds.or_else(|| humantime::parse_duration(text).ok()) {
        Some(interval) if interval >= SHORTEST_INTERVAL => Ok(interval),
        Some(_) => Err("shorter than 100ms".to_owned()),
        None => Err("not a time such as 500ms or 2s".to_owned()),
    }
}

impl Top {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let plain = self.once || !io::stdout().is_terminal() || is_dumb();
        let shown = self.mountpoint.display();
        let pen = Pen::default();
        if !plain {
            // Before the first thread: it blocks signals.
            pen.restore_on_signal().map_err(|e| cannot(&e))?;
        }
        let (send, messages) = mpsc::channel();
        let looks = send.clone();
        let take = move |look| looks.send(Message::Look(look)).is_ok();
        status::watch(&self.mountpoint, self.interval, take).map_err(|e| cannot(&e))?;
        let look = |timeout| match messages.recv_timeout(timeout) {
            Ok(Message::Look(look)) => Some(look),
            Ok(Message::Input(_)) | Err(_) => None,
        };
        let mut model = Model::default();
        let (at, first) = look(ANSWER).ok_or_else(|| {
            Failure::Other(format!(
                "'{shown}' does not answer (immuta doctor '{shown}' tells more)"
            ))
        })?;
        let first = first.map_err(|e| {
            let way_out = match e.kind() {
                io::ErrorKind::PermissionDenied => {
                    "it is for the owner of the mount, and its group"
                }
                _ => "give the mount point of an immuta-fs that runs",
            };
            let path = status::path(&self.mountpoint);
            Failure::Other(format!("cannot read '{}': {e} ({way_out})", path.display()))
        })?;
        model.update(at, first);
        if !plain {
            return Screen::new(model, &self.mountpoint, self.interval, pen).run(&send, &messages);
        }
        // A rate needs two looks.
        if let Some((at, Ok(second))) = look(self.interval + ANSWER) {
            model.update(at, second);
        }
        let mut out = io::stdout().lock();
        for line in table::plain(&model) {
            writeln!(out, "{line}")?;
        }
        for trouble in model.troubles() {
            writeln!(out, "! {trouble}")?;
        }
        Ok(out.flush()?)
    }
}

fn cannot(e: &io::Error) -> Failure {
    Failure::Other(format!("cannot start: {e}"))
}

/// Whether the terminal can only print lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}
