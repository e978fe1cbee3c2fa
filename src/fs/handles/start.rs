//! Files that begin somewhere: `from/N`, `from/-N`, `from/end`, `since/TIME`.
//!
//! Any valid name is there. A name that always means the same place (`from/7`, a point in time) keeps its
//! inode as long as somebody knows it. One that is relative (`from/-10`, `since/2h`) is worked out at each
//! lookup and has an inode of its own each time, so that what an open file shows, and the size that it is
//! said to have, begin at the same record, however the log grows.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::fs::errno::Errno;
use crate::fs::forms::{View, time};
use crate::fs::tree::{Shows, parse_record};
use immuta::{Log, RecordNo};

/// Where a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With this record, also when it is not written yet.
    Record(u64),
    /// With the first record at this time or after.
    Time(SystemTime),
}

impl Start {
    /// Reads a name in a directory of starts. Returns the place, and whether the name always means it.
    ///
    /// # Errors
    /// `ENOENT` for what is no start.
    pub(crate) fn parse(directory: Shows, name: &str, log: &Log) -> Result<(Start, bool), Errno> {
        let start = match directory {
            Shows::FromRecord => from(name, log),
            _ => since(name),
        };
        start.ok_or(Errno::ENOENT)
    }

    /// The offset in the view at which the file begins; `None` as long as that record is not there.
    ///
    /// # Errors
    /// Those of the index.
    pub(crate) fn offset(self, view: View, log: &Log) -> Result<Option<u64>, Errno> {
        let state = log.state();
        let record = match self {
            Start::Record(n) => n,
            Start::Time(time) => match log.find_time(time)?.0 {
                // The next record may still come before that time.
                n if n >= state.count => return Ok(None),
                n => n,
            },
        };
        if record == 0 {
            return Ok(Some(0));
        }
        if record == state.count {
            return Ok(Some(view.end(log, &state)));
        }
        if record > state.count {
            return Ok(None);
        }
        Ok(Some(view.start_of(log, &log.entry(RecordNo(record))?)))
    }
}

fn from(name: &str, log: &Log) -> Option<(Start, bool)> {
    let count = log.state().count;
    if name == "end" {
        return Some((Start::Record(count), false));
    }
    match name.strip_prefix('-') {
        Some(back) => Some((
            Start::Record(count.saturating_sub(parse_record(back)?)),
            false,
        )),
        None => Some((Start::Record(parse_record(name)?), true)),
    }
}

fn since(name: &str) -> Option<(Start, bool)> {
    let (time, absolute) = time(name)?;
    Some((Start::Time(time), absolute))
}

/// The starts that the kernel knows, by the number that each was given.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    last: u32,
    known: HashMap<u32, LookedUp>,
    /// Those whose names always mean the same.
    by_name: HashMap<(u32, String), u32>,
}

#[derive(Debug)]
struct LookedUp {
    namespace: u32,
    start: Start,
    /// Its path in the namespace, if it always means the same.
    path: Option<String>,
    lookups: u64,
}

impl Starts {
    /// Notes one lookup of a start. Returns the number of its node.
    pub(crate) fn look_up(&mut self, namespace: u32, start: Start, path: Option<String>) -> u32 {
        let name = path.clone().map(|path| (namespace, path));
        if let Some(name) = &name
            && let Some(id) = self.by_name.get(name)
            && let Some(known) = self.known.get_mut(id)
        {
            known.lookups += 1;
            return *id;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.known.contains_key(&self.last) {
                break;
            }
        }
        self.known.insert(
            self.last,
            LookedUp {
                namespace,
                start,
                path,
                lookups: 1,
            },
        );
        if let Some(name) = name {
            self.by_name.insert(name, self.last);
        }
        self.last
    }

    /// The kernel has forgotten this number of lookups.
    pub(crate) fn forget(&mut self, id: u32, lookups: u64) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0
            && let Some(LookedUp {
                namespace,
                path: Some(path),
                ..
            }) = self.known.remove(&id)
        {
            self.by_name.remove(&(namespace, path));
        }
    }

    /// A start that was looked up, and its path in the namespace if that always means it.
    ///
    /// # Errors
    /// `ESTALE` for one that was forgotten.
    pub(crate) fn get(&self, id: u32) -> Result<(Start, Option<String>), Errno> {
        self.known
            .get(&id)
            .map(|known| (known.start, known.path.clone()))
            .ok_or(Errno::ESTALE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_known_until_each_of_its_lookups_is_forgotten() {
        let mut starts = Starts::default();
        let five = |starts: &mut Starts| starts.look_up(1, Start::Record(5), Some("from/5".into()));
        let id = five(&mut starts);
        assert_eq!(five(&mut starts), id);
        assert_ne!(
            starts.look_up(2, Start::Record(5), Some("from/5".into())),
            id
        );
        assert_ne!(
            starts.look_up(1, Start::Record(5), None),
            starts.look_up(1, Start::Record(5), None)
        );
        starts.forget(id, 1);
        assert_eq!(
            starts.get(id),
            Ok((Start::Record(5), Some("from/5".into())))
        );
        starts.forget(id, 1);
        starts.forget(id, 1);
        assert_eq!(starts.get(id), Err(Errno::ESTALE));
        assert_ne!(five(&mut starts), id);
    }

    #[test]
    fn what_is_no_time_is_no_name() {
        for name in [
            "",
            "x",
            "10",
            "-1h",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "99999999999999999999y",
        ] {
            assert_eq!(since(name), None, "{name:?}");
        }
        assert!(matches!(
            since("2026-11-21T10:00:00Z"),
            Some((Start::Time(_), true))
        ));
        assert!(matches!(since("3d"), Some((Start::Time(_), false))));
        assert_eq!(
            since("9999years"),
            Some((Start::Time(SystemTime::UNIX_EPOCH), false))
        );
    }
}
