//! `immuta tail`: the last records of a log, and with `-f` each new one.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueHint};
use immuta::fs::parse_time;
use immuta::programs::watch::Watch;
use immuta::{Error, Log, RecordNo};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::Failure;
use crate::logs::{Assume, log_file};
use crate::render::{Form, Printer};

/// How many records are shown when nobody says.
const DEFAULT_RECORDS: u64 = 10;

/// Print the last records of a log; with -f, each new one as it comes
///
/// Ten records, unless -n says otherwise. Works beside a running immuta-fs, and beside a Go program that writes the log: no lock, no mount. A
/// damaged record is told on standard error and stepped over; the exit status is then 1.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        immuta tail /var/lib/immuta orders                     the last ten records\n  \
        immuta tail -n 0 -f ./app-logs events                  only what comes from now on\n  \
        immuta tail --since 2h --format jsonl ./app-logs events | jq -r .text")]
pub(crate) struct Tail {
    /// The directory that holds the logs
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The log to print
    namespace: String,
    /// The last N records; with +N, all from the Nth one on, counted from 1 as tail does; `all` is +1
    #[arg(short = 'n', long = "records", value_name = "N", allow_hyphen_values = true, value_parser = parse_count)]
    records: Option<Count>,
    /// Wait for what comes next, until Ctrl-C or until nobody reads
    #[arg(short, long)]
    follow: bool,
    /// Only records from this time on: 10m, 2h, 3d (ago), or 2026-11-21T10:00:00Z. All of them, unless -n
    /// says otherwise
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// The form in which they are printed
    #[arg(long, value_enum, value_name = "FORM", default_value = "lines")]
    format: Form,
    #[command(flatten)]
    assume: Assume,
}

/// Where to begin, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Last(u64),
    /// With this record, the first one being 0.
    From(u64),
}

fn parse_count(text: &str) -> Result<Count, String> {
    let number = |digits: &str| {
        digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let count = match text.as_bytes() {
        b"all" => Some(Count::From(0)),
        [b'+', ..] => number(&text[1..]).map(|n: u64| Count::From(n.saturating_sub(1))),
        [b'-', ..] => number(&text[1..]).map(Count::Last),
        _ => number(text).map(Count::Last),
    };
    count.ok_or_else(|| "not a number such as 10, +1 or all".to_owned())
}

fn parse_since(text: &str) -> Result<SystemTime, String> {
    parse_time(text).ok_or_else(|| {
        "neither a time such as 2026-11-21T10:00:00Z nor a while ago such as 10m, 2h or 3d"
            .to_owned()
    })
}

impl Tail {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Before the log is opened: what is written between the two is not missed.
        let watch = match self.follow {
            true => Some(Watch::start(&self.dir).map_err(|e| self.cannot_follow(&e))?),
            false => None,
        };
        let log = self.assume.read(&self.dir, &self.namespace)?;
        let file = log_file(&self.dir, &self.namespace);
        let identity = identity(&file);
        let stdout = io::stdout();
        let mut shown = Shown {
            log: &log,
            printer: Printer::new(&log, self.format, stdout.lock()),
            next: self.first(&log)?,
            since: self.since,
            damaged: false,
        };
        loop {
            shown.all_there_is()?;
            let Some(watch) = &watch else {
                break;
            };
            loop {
                if !wait(watch, &stdout)? {
                    return Ok(()); // Nobody reads any more.
                }
                let changes = watch.changes().map_err(|e| self.cannot_follow(&e))?;
                if changes.of(&self.namespace) {
                    break;
                }
            }
            log.refresh()?;
            if self::identity(&file) != identity {
                shown.all_there_is()?;
                return Err(Failure::Other(format!(
                    "'{}' was removed or replaced: nothing more will come",
                    self.namespace
                )));
            }
        }
        if shown.damaged {
            return Err(Failure::Said);
        }
        Ok(())
    }

    /// The first record to be shown, as far as its number decides.
    fn first(&self, log: &Log) -> Result<u64, Failure> {
        let state = log.state();
        if self.since.is_some() && state.count > 0 && state.rebuilt == state.count {
            return Err(Failure::Other(format!(
                "cannot tell what came when: no record of '{}' has a known time (leave --since away)",
                self.namespace
            )));
        }
        Ok(match (self.records, self.since) {
            (Some(Count::From(n)), _) => n,
            (Some(Count::Last(n)), _) => state.count.saturating_sub(n),
            (None, Some(_)) => 0,
            (None, None) => state.count.saturating_sub(DEFAULT_RECORDS),
        })
    }

    fn cannot_follow(&self, error: &io::Error) -> Failure {
        Failure::Other(format!(
            "cannot follow the logs in '{}': {error}",
            self.dir.display()
        ))
    }
}

/// What has been shown of a log so far.
struct Shown<'a, W: Write> {
    log: &'a Log,
    printer: Printer<'a, W>,
    /// The next record.
    next: u64,
    /// Records before this time are left out; `None` when the first at or after it has been found.
    since: Option<SystemTime>,
    damaged: bool,
}

impl<W: Write> Shown<'_, W> {
    /// Shows all that is committed and was not shown.
    fn all_there_is(&mut self) -> Result<(), Failure> {
        let end = self.log.state().count;
        if let Some(time) = self.since {
            let RecordNo(first) = self.log.find_time(time)?;
            self.next = self.next.max(first);
            if first < end {
                self.since = None;
            }
        }
        while self.next < end {
            match self.printer.print(&mut self.next, end, |_| ()) {
                Err(Failure::Engine(e @ Error::Damaged { .. })) => {
                    self.printer.flush()?;
                    crate::say(&e);
                    self.damaged = true;
                    self.next += 1;
                }
                result => result?,
            }
        }
        Ok(self.printer.flush()?)
    }
}

/// Waits until something has changed; `false`: until nobody reads what is printed.
fn wait(watch: &Watch, stdout: &io::Stdout) -> Result<bool, Failure> {
    loop {
        let mut fds = [
            PollFd::new(watch.as_fd(), PollFlags::POLLIN),
            // No event is asked for: what is told unasked is that the other end is closed.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(Failure::Other(format!("cannot wait: {e}"))),
        }
        let came = |i: usize| fds[i].revents().is_some_and(|r| !r.is_empty());
        if came(1) {
            return Ok(false);
        }
        if came(0) {
            return Ok(true);
        }
    }
}

/// Which file a path names now.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let there = fs::metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}
