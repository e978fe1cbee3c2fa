//! Going along a log record by record, to decide what of it is kept. Nothing is written here.
//!
//! `Walk::next_record` decides on the record that should come next. The first row that fits decides, in `docs/format.md`
//! ("Opening") as here:
//!
//! ```text
//! the record                                                           then
//! -------------------------------------------------------------------  ----------------------------------------------
//! is not counted, and the file ends here, or the log is only read      the log ends here: an append that was under way
//! has a size that does not fit, is counted, and is not unsynced        the log is refused as damaged
//! has a size that does not fit                                         the log ends here: torn
//! has no entry, and is not counted                                     the log ends here: an append that was under way
//! has no entry, and may be lost                                        the log ends here: nothing vouches for it
//! has no entry                                                         it is kept, and an entry is made (`rebuild`)
//! has an entry, is counted, and is before the last sync                it is kept, unread (`keep_unread`)
//! has an entry, and its payload matches (`compare`)                    it is kept
//! has an entry, does not match, and is not counted or may be lost      the log ends here: it did not reach the disk
//! has an entry, and its payload does not match                         it is kept, and reading it says: damaged
//! ```
//!
//! If the log would end in the middle of a batch, it ends where the batch began.

use super::evidence::refused;
use super::records::{checksum_of, last_byte, size_at};
use crate::disk::{DiskFile, WINDOW_BYTES, Window};
use crate::error::Result;
use crate::format::{Format, IndexEntry, SIZE_FIELD_BYTES, text_bytes};
use crate::ids::RecordNo;
use crate::segment::{LogEnd, Segment};

/// What a walk along the log believes.
#[derive(Clone, Copy)]
pub(crate) struct Trust {
    /// The length of the log file.
    pub(crate) length: u64,
    /// How many records are counted: by the header of the log; in a `bare` log, by the index.
    pub(crate) count: u64,
    /// Behind those, every whole record is counted, too: the log is `bare`, and other programs may have appended to it.
    pub(crate) trust_whole_records: bool,
    /// How many records were on the disk at the last sync that the index knows of; 0 without an index.
    pub(crate) synced: u64,
    /// Our own writer was stopped before it closed the log, so the records behind `synced` are unsynced.
    pub(crate) was_stopped: bool,
    /// The machine has rebooted since the last write, so unsynced records may be missing. Only where `was_stopped`.
    pub(crate) rebooted: bool,
    /// The log is opened for reading only, perhaps beside its writer, which may still take back what is not counted.
    pub(crate) only_read: bool,
    /// What would be refused as damaged ends the log instead.
    pub(crate) repair: bool,
}

impl Trust {
    /// Whether record `n` was not known to be on the disk when the writer was stopped.
    fn is_unsynced(&self, n: u64) -> bool {
        self.was_stopped && n >= self.synced
    }

    /// Whether the disk may have lost a part of record `n`, or of its entry.
    fn may_be_lost(&self, n: u64) -> bool {
        self.rebooted && self.is_unsynced(n)
    }
}

/// Where a walk along the log ended.
#[derive(Clone, Copy)]
pub(crate) struct Walked {
    pub(crate) end: LogEnd,
    /// The end before the first record whose entry has to be written; `None`: all entries are right.
    pub(crate) stale: Option<LogEnd>,
    pub(crate) rebuilt_from: Option<RecordNo>,
    pub(crate) rebuilt: u64,
    pub(crate) damaged: u64,
    /// Why it ended: what the bytes behind the end are.
    pub(crate) what: &'static str,
}

/// What was decided on one record.
enum Step {
    Keep(Kept),
    End(&'static str),
}

/// A record that is kept.
struct Kept {
    entry: IndexEntry,
    size: u64,
    /// The last byte of its payload.
    last: Option<u8>,
    /// Its entry was made from the log.
    rebuilt: bool,
    /// Its entry is not the one on the disk.
    stale: bool,
    damaged: bool,
}

/// Goes along the log from `base` to where it ends, and gives each record's entry to `each`. `log` is the log file of
/// `segment`, perhaps with reads that are watched.
pub(crate) fn walk(
    segment: &Segment,
    log: &dyn DiskFile,
    trust: &Trust,
    base: LogEnd,
    mut each: impl FnMut(u64, &IndexEntry) -> Result<()>,
) -> Result<Walked> {
    let mut walk = Walk {
        segment,
        trust,
        log: Window::new(log, WINDOW_BYTES),
        index: Window::new(&*segment.index.file, WINDOW_BYTES),
    };
    let mut walked = Walked {
        end: base,
        stale: None,
        rebuilt_from: None,
        rebuilt: 0,
        damaged: 0,
        what: "",
    };
    // Where the last whole batch ended, and what was found up to there.
    let mut whole = walked;
    loop {
        let end = walked.end;
        let kept = match walk.next_record(&end)? {
            Step::Keep(kept) => kept,
            // A crash has left a part of a batch. Its writer was not told that any of it is there.
            Step::End(_) if whole.end.count < end.count && !trust.repair => {
                whole.what = "a batch that was not appended whole";
                return Ok(whole);
            }
            Step::End(what) => {
                walked.what = what;
                return Ok(walked);
            }
        };
        let Kept { entry, size, .. } = kept;
        let Some(next) = end.after_record(size, kept.last, entry.time_ns, !entry.time_unknown)
        else {
            walked.what = "more than a log can hold";
            return Ok(walked);
        };
        if kept.stale {
            walked.stale.get_or_insert(end);
        }
        if kept.rebuilt {
            walked.rebuilt_from.get_or_insert(RecordNo(end.count));
        }
        walked.rebuilt += u64::from(kept.rebuilt);
        walked.damaged += u64::from(kept.damaged);
        each(end.count, &entry)?;
        walked.end = next;
        if !entry.batch_goes_on {
            whole = walked;
        }
    }
}

struct Walk<'a> {
    segment: &'a Segment,
    trust: &'a Trust,
    log: Window<'a>,
    index: Window<'a>,
}

impl Walk<'_> {
    /// Decides on the record that should come at `end`.
    fn next_record(&mut self, end: &LogEnd) -> Result<Step> {
        let (trust, n, at) = (self.trust, end.count, end.log_end);
        let is_bare = self.segment.format == Format::Bare;
        let claimed = n < trust.count;
        let counted = claimed || (trust.trust_whole_records && at < trust.length);
        if !counted && (at >= trust.length || (trust.only_read && !is_bare)) {
            return Ok(Step::End("an append that was under way"));
        }
        let field = size_at(&mut self.log, at, trust.length);
        let field = field.map_err(|e| self.segment.log_error(e))?;
        let entry = self
            .entry(n)?
            .filter(|entry| entry.log_offset == at && entry.text_offset == end.text_end);
        // Where nothing can be lost, the index knows where the record ends, whatever has become of its size field.
        let known = match &entry {
            Some(entry) if (counted || is_bare) && !trust.may_be_lost(n) => {
                self.known_end(end, entry, field)?
            }
            _ => None,
        };
        let Some(size) = known.map(|(size, _)| size).or(field) else {
            // Beside a writer of a bare log, a record that nothing claims may be the append that is under way.
            let under_way = trust.only_read && !claimed;
            if counted && !trust.is_unsynced(n) && !trust.repair && !under_way {
                let what = "its size is negative or reaches beyond the end of the file";
                return Err(refused(self.segment, Some(RecordNo(n)), at, what));
            }
            return Ok(Step::End("a torn record"));
        };
        match entry {
            None if !counted => Ok(Step::End("an append that was under way")),
            None if trust.may_be_lost(n) && !trust.repair => Ok(Step::End(
                "records that were not synced, and that nothing vouches for",
            )),
            None => self.rebuild(end, size),
            Some(mut entry) => {
                let stale = entry.time_ns < end.time_ns;
                entry.time_ns = entry.time_ns.max(end.time_ns);
                let kept = Kept {
                    entry,
                    size,
                    last: known.and_then(|(_, last)| last),
                    rebuilt: false,
                    stale,
                    damaged: false,
                };
                if counted && n < trust.synced {
                    self.keep_unread(end, kept, known.is_some())
                } else {
                    self.compare(end, kept, counted, field, known.is_some())
                }
            }
        }
    }

    /// Keeps a record that has no entry, with one that is made from the log.
    fn rebuild(&mut self, end: &LogEnd, size: u64) -> Result<Step> {
        let payload = end.log_end + SIZE_FIELD_BYTES;
        let (checksum, last) = self.checksum(payload, size)?;
        Ok(Step::Keep(Kept {
            entry: IndexEntry {
                log_offset: end.log_end,
                time_unknown: true,
                batch_goes_on: false,
                text_offset: end.text_end,
                time_ns: end.time_ns,
                checksum,
            },
            size,
            last,
            rebuilt: true,
            stale: true,
            damaged: false,
        }))
    }

    /// Keeps a record that was on the disk at the last sync. Damage in it is found when it is read.
    fn keep_unread(&mut self, end: &LogEnd, kept: Kept, knows_last: bool) -> Result<Step> {
        let last = if knows_last {
            kept.last
        } else {
            let payload = end.log_end + SIZE_FIELD_BYTES;
            last_byte(&mut self.log, payload, kept.size).map_err(|e| self.segment.log_error(e))?
        };
        Ok(Step::Keep(Kept { last, ..kept }))
    }

    /// Compares the payload of a record with its entry, and decides.
    fn compare(
        &mut self,
        end: &LogEnd,
        kept: Kept,
        counted: bool,
        field: Option<u64>,
        knows_last: bool,
    ) -> Result<Step> {
        let (crc, last) = self.checksum(end.log_end + SIZE_FIELD_BYTES, kept.size)?;
        let damaged = crc != kept.entry.checksum || field != Some(kept.size);
        // The entry is written after the record. So in a bare log the entry counts the record, unless the disk may have lost
        // a part of it.
        let is_bare = self.segment.format == Format::Bare;
        let counted = counted || (is_bare && !self.trust.rebooted);
        if damaged && (!counted || self.trust.may_be_lost(end.count)) {
            return Ok(Step::End("a record that did not reach the disk whole"));
        }
        // A damaged record of which nothing can be lost is no torn end of the log: the records behind it are good.
        Ok(Step::Keep(Kept {
            last: if knows_last { kept.last } else { last },
            damaged,
            ..kept
        }))
    }

    /// Size and last byte (if it is a newline) of the counted record at `end`, without believing its size field: by the next
    /// entry; for the last record by the end of the file, if the checksum of the payload agrees.
    fn known_end(
        &mut self,
        end: &LogEnd,
        entry: &IndexEntry,
        field: Option<u64>,
    ) -> Result<Option<(u64, Option<u8>)>> {
        let payload = end.log_end + SIZE_FIELD_BYTES;
        if let Some(next) = self.entry(end.count + 1)? {
            let size = next.log_offset.checked_sub(payload);
            let text = next.text_offset.checked_sub(end.text_end);
            return Ok(size.zip(text).and_then(|(size, text)| {
                let last = (size > 0 && text == size).then_some(b'\n');
                let fits = next.log_offset <= self.trust.length && text == text_bytes(size, last);
                fits.then_some((size, last))
            }));
        }
        let is_last = end.count + 1 == self.trust.count || self.segment.format == Format::Bare;
        let rest = self.trust.length.checked_sub(payload);
        match rest {
            Some(size) if is_last && field != rest => {
                let (crc, last) = self.checksum(payload, size)?;
                Ok((crc == entry.checksum).then_some((size, last)))
            }
            _ => Ok(None),
        }
    }

    fn entry(&mut self, n: u64) -> Result<Option<IndexEntry>> {
        let entry = self.segment.index.entry_in(&mut self.index, n);
        entry.map_err(|e| self.segment.index_error(e))
    }

    fn checksum(&mut self, at: u64, size: u64) -> Result<(u32, Option<u8>)> {
        checksum_of(&mut self.log, at, size).map_err(|e| self.segment.log_error(e))
    }
}
