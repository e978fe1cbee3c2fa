//! Keeps callers of the mount from flooding or forging the daemon's messages. Control characters in names are escaped, so
//! that each message is one line; and a message that a caller can provoke as often as they like is written at most ten
//! times in ten seconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use immuta_fs::cli::message;
use log::{Level, Log, Metadata, Record};

/// How often a warning or an error of one kind, about one thing, is written in one [`PERIOD`].
const MOST: u64 = 10;
const PERIOD: Duration = Duration::from_secs(10);
/// How many kinds are told apart. Further ones count as one kind.
const MOST_KINDS: usize = 10_000;

/// The source line that a message comes from, and the first thing that it quotes: nearly always the namespace.
type Kind = (Option<String>, Option<u32>, String);

/// Messages of one kind in the current period, which the first of them began.
struct Seen {
    since: Instant,
    written: u64,
    left_out: u64,
}

/// Counts messages of each kind.
#[derive(Default)]
pub(crate) struct Limiter {
    seen: HashMap<Kind, Seen>,
    /// When the first of the current periods ends; `None` when there are none.
    ends: Option<Instant>,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Write,
    /// Write it, and say that further ones will be left out.
    WriteAsTheLast,
    LeaveOut,
}

impl Limiter {
    /// Decides on a message that comes at `now`.
    pub(crate) fn admit(&mut self, kind: Kind, now: Instant) -> Verdict {
        let kind = if self.seen.len() < MOST_KINDS || self.seen.contains_key(&kind) {
            kind
        } else {
            (None, None, String::new())
        };
        let seen = self.seen.entry(kind).or_insert(Seen {
            since: now,
            written: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(seen.since) >= PERIOD {
            *seen = Seen {
                since: now,
                written: 0,
                left_out: 0,
            };
        }
        self.ends.get_or_insert(now + PERIOD);
        if seen.written == MOST {
            seen.left_out += 1;
            return Verdict::LeaveOut;
        }
        seen.written += 1;
        match seen.written {
            MOST => Verdict::WriteAsTheLast,
            _ => Verdict::Write,
        }
    }

    /// Forgets the kinds whose period has ended by `now`; all kinds when `now` is `None`. Returns what they quote, and how
    /// many of their messages were left out.
    pub(crate) fn ended(&mut self, now: Option<Instant>) -> Vec<(String, u64)> {
        if self
            .ends
            .is_none_or(|ends| now.is_some_and(|now| now < ends))
        {
            return Vec::new();
        }
        let mut left_out = Vec::new();
        self.seen.retain(|(_, _, about), seen| {
            let goes_on = now.is_some_and(|now| now.saturating_duration_since(seen.since) < PERIOD);
            if !goes_on && seen.left_out > 0 {
                left_out.push((about.clone(), seen.left_out));
            }
            goes_on
        });
        self.ends = self.seen.values().map(|seen| seen.since + PERIOD).min();
        left_out.sort();
        left_out
    }
}

/// A logger that passes messages on as single lines, and not too many of one kind.
pub(crate) struct Bounded<L> {
    log: L,
    now: fn() -> Instant,
    limiter: Mutex<Limiter>,
}

impl<L: Log> Bounded<L> {
    pub(crate) fn new(log: L, now: fn() -> Instant) -> Self {
        Bounded {
            log,
            now,
            limiter: Mutex::default(),
        }
    }

    fn write(&self, like: &Record<'_>, text: impl fmt::Display) {
        self.log.log(
            &Record::builder()
                .level(like.level())
                .target(like.target())
                .module_path(like.module_path())
                .file(like.file())
                .line(like.line())
                .args(format_args!("{text}"))
                .build(),
        );
    }

    fn tell_ended(&self, now: Option<Instant>) {
        let ended = {
            let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.ended(now)
        };
        for (about, left_out) in ended {
            let text = match about.as_str() {
                "" => format!("{left_out} more messages of one kind were left out"),
                about => {
                    format!("{left_out} more messages of one kind about '{about}' were left out")
                }
            };
            self.log.log(
                &Record::builder()
                    .level(Level::Warn)
                    .target(module_path!())
                    .args(format_args!("{text}"))
                    .build(),
            );
        }
    }
}

impl<L: Log> Log for Bounded<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.log.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.log.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let text = message(&text);
        let now = (self.now)();
        self.tell_ended(Some(now));
        // Callers can only provoke warnings and errors. Messages of lower levels are about the daemon's own life.
        if record.level() > Level::Warn {
            return self.write(record, text);
        }
        let kind = (
            record.file().map(str::to_owned),
            record.line(),
            text.split('\'').nth(1).unwrap_or_default().to_owned(),
        );
        let verdict = {
            let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.admit(kind, now)
        };
        match verdict {
            Verdict::Write => self.write(record, text),
            Verdict::WriteAsTheLast => self.write(
                record,
                format_args!("{text} [more messages like this one are left out for up to 10s]"),
            ),
            Verdict::LeaveOut => {}
        }
    }

    /// At the end: says what was left out.
    fn flush(&self) {
        self.tell_ended(None);
        self.log.flush();
    }
}
