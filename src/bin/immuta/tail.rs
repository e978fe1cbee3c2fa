//! `immuta tail`: prints the last records of a log, and with `-f` each new one.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use immuta::{Error, Log, RecordNo, Storage};
use immuta_fs::fs::parse_time;
use immuta_fs::host::Watch;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::Failure;
use crate::open::{Assume, Place, Which, log_of};
use crate::render::{Form, Printer};

/// How many records are printed without `-n`.
const DEFAULT_RECORDS: u64 = 10;

/// Print the last records of a log; with -f, each new one as it comes
///
/// Ten records, unless -n says otherwise. Works beside a running immuta-fs or a Go program that writes the log: it takes no
/// lock and needs no mount. A damaged record is reported on standard error and skipped; the exit status is then 1. With -f,
/// a log that is replaced, or removed and made again, is reported on standard error, and followed from its beginning.
#[derive(Args)]
#[command(
    override_usage = "immuta tail [OPTIONS] [DIR] NAMESPACE",
    after_help = "Examples:\n  \
        immuta tail /var/lib/immuta orders                     the last ten records\n  \
        immuta tail orders                                     the same, for root\n  \
        immuta tail -n 0 -f ./app-logs events                  only what comes from now on\n  \
        immuta tail --since 2h --format jsonl ./app-logs events | jq -r .text"
)]
pub(crate) struct Tail {
    #[command(flatten)]
    which: Which,
    /// The last N records; with +N, all from the Nth one on, counted from 1 as in tail(1); `all` is +1
    #[arg(short = 'n', long = "records", value_name = "N", allow_hyphen_values = true, value_parser = parse_count)]
    records: Option<Count>,
    /// Wait for new records, until Ctrl-C or until the output is closed
    #[arg(short, long)]
    follow: bool,
    /// Only records from this time on: 10m, 2h, 3d (ago), or 2026-11-21T10:00:00Z. Prints all of them, unless -n
    /// says otherwise
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// The form to print them in
    #[arg(long, value_enum, value_name = "FORM", default_value = "lines")]
    format: Form,
    #[command(flatten)]
    assume: Assume,
}

/// The first record to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Last(u64),
    /// This record; the first one is 0.
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
        let at = self.which.place()?;
        // Before the log is opened, so that no change is missed.
        let watch = if self.follow {
            Some(Watch::start(&at.dir).map_err(|e| cannot_follow(&at.dir, &e))?)
        } else {
            None
        };
        let directory = identity(&at.dir);
        let options = self.assume.options(&at.dir);
        let storage = Storage::open(options.only([&at.namespace]).read_only(true))?;
        let mut log = log_of(&storage, &at.namespace)?;
        let mut progress = Progress {
            next: self.first(&log)?,
            since: self.since,
            damaged: false,
        };
        let Some(watch) = watch else {
            LogPrinter::new(&log, self.format, &mut progress).print_new()?;
            return if progress.damaged {
                Err(Failure::Reported)
            } else {
                Ok(())
            };
        };
        let following = Following {
            form: self.format,
            at,
            storage,
            watch,
            directory,
        };
        while following.print_until_gone(log, &mut progress)? {
            match following.wait_for_new_log()? {
                Some(new) => log = new,
                None => break,
            }
            progress.next = 0;
        }
        Ok(()) // Nobody reads any more.
    }

    /// The first record to print, before times are looked at.
    fn first(&self, log: &Log) -> Result<u64, Failure> {
        let state = log.state();
        if self.since.is_some() && state.count > 0 && state.rebuilt == state.count {
            return Err(Failure::Other(format!(
                "cannot tell what came when: no record of '{}' has a known time (leave --since away)",
                log.namespace()
            )));
        }
        Ok(match (self.records, self.since) {
            (Some(Count::From(n)), _) => n,
            (Some(Count::Last(n)), _) => state.count.saturating_sub(n),
            (None, Some(_)) => 0,
            (None, None) => state.count.saturating_sub(DEFAULT_RECORDS),
        })
    }
}

fn cannot_follow(dir: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!(
        "cannot follow the logs in '{}': {error}",
        dir.display()
    ))
}

/// Follows a log, and those that are made under its name later.
struct Following {
    form: Form,
    at: Place,
    storage: Storage,
    watch: Watch,
    /// The identity of the watched directory.
    directory: Option<(u64, u64)>,
}

impl Following {
    /// Prints each record of a log as it comes. Returns `true` when the log was removed or replaced, and all of it was
    /// printed; `false` when nobody reads the output any more. Closes the log: as long as its removed files are open, the
    /// kernel keeps their directory, and sends no event when that is removed, too.
    fn print_until_gone(&self, log: Arc<Log>, progress: &mut Progress) -> Result<bool, Failure> {
        let mut printer = LogPrinter::new(&log, self.form, progress);
        loop {
            printer.print_new()?;
            if !self.wait()? {
                return Ok(false);
            }
            let is_gone = !self
                .storage
                .forget_gone(Some(&self.at.namespace))
                .is_empty();
            // A log that is gone may have got its last records just before.
            log.refresh()?;
            if is_gone {
                printer.print_new()?;
                return Ok(true);
            }
        }
    }

    /// Waits until a log is made under the name of the one that is gone. Returns it; `None` when nobody reads the output
    /// any more.
    fn wait_for_new_log(&self) -> Result<Option<Arc<Log>>, Failure> {
        let name = &self.at.namespace;
        let (mut had_gone, mut said) = (false, String::new());
        loop {
            let found = self.storage.rescan();
            self.check_directory()?;
            if let Some(log) = found?.pop() {
                let how = if had_gone {
                    "is there again"
                } else {
                    "was replaced"
                };
                crate::report(&format!(
                    "'{name}' {how}: following the new one from its beginning"
                ));
                return Ok(Some(log));
            }
            if !had_gone {
                had_gone = true;
                crate::report(&format!(
                    "'{name}' was removed: waiting until it is made again"
                ));
            }
            if let Some((_, why)) = self.storage.failed().pop()
                && said != why.to_string()
            {
                said = why.to_string();
                crate::report(&said);
            }
            if !self.wait()? {
                return Ok(None);
            }
            // A log that could not be opened may be gone, too.
            self.storage.forget_gone(Some(name));
        }
    }

    /// Makes sure that the path still names the watched directory.
    fn check_directory(&self) -> Result<(), Failure> {
        if identity(&self.at.dir) == self.directory {
            return Ok(());
        }
        Err(Failure::Other(format!(
            "the directory '{}' was removed or replaced: nothing more will come",
            self.at.dir.display()
        )))
    }

    /// Waits until the log may have changed. Returns `false` when nobody reads the output any more.
    fn wait(&self) -> Result<bool, Failure> {
        loop {
            match wait(&self.watch, self.storage.looks_again_in())? {
                WaitEnd::Change => {}
                WaitEnd::TimeIsUp => return Ok(true),
                WaitEnd::NobodyReads => return Ok(false),
            }
            let changes = self.watch.changes();
            let changes = changes.map_err(|e| cannot_follow(&self.at.dir, &e))?;
            if changes.any {
                self.check_directory()?;
            }
            if changes.of(&self.at.namespace) {
                return Ok(true);
            }
        }
    }
}

/// How far a log has been printed.
struct Progress {
    /// The next record.
    next: u64,
    /// Records before this time are left out. `None` once the first record at or after it has been found.
    since: Option<SystemTime>,
    damaged: bool,
}

/// Prints a log.
struct LogPrinter<'a> {
    log: &'a Log,
    printer: Printer<'a, io::StdoutLock<'static>>,
    progress: &'a mut Progress,
}

impl<'a> LogPrinter<'a> {
    fn new(log: &'a Log, form: Form, progress: &'a mut Progress) -> Self {
        LogPrinter {
            log,
            printer: Printer::new(log, form, io::stdout().lock()),
            progress,
        }
    }

    /// Prints all committed records that were not printed yet.
    fn print_new(&mut self) -> Result<(), Failure> {
        let (end, progress) = (self.log.state().count, &mut *self.progress);
        if let Some(time) = progress.since {
            let RecordNo(first) = self.log.find_time(time)?;
            progress.next = progress.next.max(first);
            if first < end {
                progress.since = None;
            }
        }
        while progress.next < end {
            match self.printer.print(&mut progress.next, end, |_| ()) {
                Err(Failure::Engine(e @ Error::Damaged { .. })) => {
                    self.printer.flush()?;
                    crate::report(&e);
                    progress.damaged = true;
                    progress.next += 1;
                }
                result => result?,
            }
        }
        Ok(self.printer.flush()?)
    }
}

/// Why a wait has ended.
enum WaitEnd {
    /// Something has changed.
    Change,
    /// The time is up.
    TimeIsUp,
    /// Nobody reads the output any more.
    NobodyReads,
}

/// Waits until something has changed, `limit` has passed, or nobody reads the output any more.
fn wait(watch: &Watch, limit: Option<Duration>) -> Result<WaitEnd, Failure> {
    // Rounded up: what is due at `limit` is due when this returns.
    let limit = limit.map(|limit| limit + Duration::from_millis(1));
    let timeout = limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
    });
    let stdout = io::stdout();
    loop {
        let mut fds = [
            PollFd::new(watch.as_fd(), PollFlags::POLLIN),
            // No event is asked for: POLLERR and POLLHUP, that the other end is closed, come unasked.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(WaitEnd::TimeIsUp),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(Failure::Other(format!("cannot wait: {e}"))),
        }
        let came = |i: usize| fds[i].revents().is_some_and(|r| !r.is_empty());
        if came(1) {
            return Ok(WaitEnd::NobodyReads);
        }
        if came(0) {
            return Ok(WaitEnd::Change);
        }
    }
}

/// The identity of the directory that a path names now.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let there = fs::metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}
