//! How much of a log is kept. Nothing is written here.
//!
//! The first row that fits decides, in `docs/format.md` ("Opening") as here:
//!
//! ```text
//! the log                                                                 then
//! ----------------------------------------------------------------------  -------------------------------------------
//! ends inside its header, but its index knows of records                  it is refused as damaged
//! was closed in order, and nobody has changed it since (`clean_end`)      it is kept as it is
//! has none of the records that its index knows, and is of another format  it is refused: the index is another log's
//! none of these (`base`, `trust`, and the table in `walk`)                it is kept up to where the walk ends
//! ```
//!
//! With `repair`, no row refuses: the walk ends at the damage.

use super::detect::{Verdict, detect};
use super::evidence::{Evidence, Purpose, refused};
use super::records::{checksum_of, last_byte, size_at};
use super::report::{Cut, Recovery};
use super::walk::{Trust, Walked, walk};
use crate::disk::{WINDOW_BYTES, Window};
use crate::error::{Error, Result, WayOut};
use crate::format::{
    ENTRY_BYTES, Format, INDEX_HEADER_BYTES, MAX_HEADER_BYTES, SIZE_FIELD_BYTES, Slot,
    encode_length, entry_offset,
};
use crate::segment::LogEnd;

/// What is to become of a log.
pub(crate) struct Decision {
    /// Where the log is to end.
    pub(crate) end: LogEnd,
    /// What is kept and what is cut. `clean`: the log is in order, and nothing is to be written.
    pub(crate) recovery: Recovery,
    pub(crate) stale: Option<Stale>,
}

/// The index entries that have to be written: all from one record on.
pub(crate) struct Stale {
    /// The end before that record.
    pub(crate) from: LogEnd,
    /// What the walk believed that has found them. Another walk gives them again.
    pub(crate) trust: Trust,
}

/// Decides what of a log is kept. Looks at the log as far as it has to. `keeps_id`: the log keeps the id that its index says.
/// `repair`: damage ends the log in place of having it refused.
///
/// # Errors
/// [`Error::Damaged`] refuses the log; [`Error::Io`].
pub(crate) fn decide(evidence: &Evidence, keeps_id: bool, repair: bool) -> Result<Decision> {
    let format = evidence.segment.format;
    if !repair && evidence.length < format.header_bytes() && evidence.synced() > 0 {
        let what = "the file ends inside its header, but its index knows of records";
        return Err(refused(&evidence.segment, None, evidence.length, what));
    }
    if keeps_id && let Some(end) = evidence.clean_end()? {
        return Ok(Decision {
            end,
            recovery: Recovery {
                clean: true,
                records: end.count,
                ..Recovery::default()
            },
            stale: None,
        });
    }
    let base = evidence.base()?;
    if !repair {
        evidence.check_index_is_of_this_log(&base)?;
    }
    let trust = evidence.trust(&base, repair)?;
    let (segment, log) = (&evidence.segment, &*evidence.log);
    let walked = walk(segment, log, &trust, base, |_, _| Ok(()))?;
    let end = walked.end;
    if !repair {
        evidence.check_second_witness(&trust, &end)?;
    }
    let header_count = evidence.header.count();
    let wrong_count = format != Format::Bare && header_count != end.count.cast_signed();
    let stale = if keeps_id {
        walked.stale
    } else {
        Some(LogEnd::empty(format))
    };
    Ok(Decision {
        end,
        recovery: Recovery {
            clean: false,
            records: end.count,
            rebuilt_from: walked.rebuilt_from,
            rebuilt: walked.rebuilt,
            damaged: walked.damaged,
            cut: evidence.cut_behind(&trust, &walked)?,
            saved: None,
            claimed: wrong_count.then_some(header_count),
        },
        stale: stale.map(|from| Stale { from, trust }),
    })
}

impl Evidence {
    /// The end of a log that was closed in order and not touched since; `None` if it is not such a log. Looks at nothing but the
    /// end of the log.
    fn clean_end(&self) -> Result<Option<LogEnd>> {
        let Some(slot) = self.slot.filter(|slot| slot.clean) else {
            return Ok(None);
        };
        if self.length != slot.log_end || entry_offset(slot.synced_count) != Some(self.index_length)
        {
            return Ok(None);
        }
        let format = self.segment.format;
        let agrees = |end: &LogEnd| format.header(end.count, end.last_index) == self.header;
        Ok(self.end_at(&slot)?.filter(agrees))
    }

    /// Where the walk starts: at the last sync, if index and log agree there, else at the beginning.
    fn base(&self) -> Result<LogEnd> {
        if let Some(slot) = self.slot
            && slot.log_end <= self.length
            && let Some(end) = self.end_at(&slot)?
        {
            return Ok(end);
        }
        Ok(LogEnd::empty(self.segment.format))
    }

    /// The end at the slot's count, if the last record before it is where the slot says.
    fn end_at(&self, slot: &Slot) -> Result<Option<LogEnd>> {
        let log_error = |e| self.segment.log_error(e);
        let empty = LogEnd::empty(self.segment.format);
        let Some(n) = slot.synced_count.checked_sub(1) else {
            return Ok((slot.log_end == empty.log_end).then_some(empty));
        };
        let mut index = Window::new(&*self.segment.index.file, ENTRY_BYTES);
        let Some(entry) = self.entry(&mut index, n)? else {
            return Ok(None);
        };
        let Some(size) = slot
            .log_end
            .checked_sub(entry.log_offset)
            .and_then(|record| record.checked_sub(SIZE_FIELD_BYTES))
        else {
            return Ok(None);
        };
        let payload = entry.log_offset + SIZE_FIELD_BYTES;
        let mut log = Window::new(&*self.log, SIZE_FIELD_BYTES as usize);
        if log.get(entry.log_offset, 8).map_err(log_error)? != encode_length(size) {
            // A flipped bit in the size field, or an index that is not this log's: the payload tells.
            let mut large = Window::new(&*self.log, WINDOW_BYTES);
            let (crc, _) = checksum_of(&mut large, payload, size).map_err(log_error)?;
            if crc != entry.checksum {
                return Ok(None);
            }
        }
        let mut last = last_byte(&mut log, payload, size).map_err(log_error)?;
        // The last byte may be damaged. The next entry, if there is one, tells whether it was a newline.
        if let Some(next) = self.entry(&mut index, n + 1)?
            && next.log_offset == slot.log_end
        {
            let text = next.text_offset.checked_sub(entry.text_offset);
            last = (size > 0 && text == Some(size)).then_some(b'\n');
        }
        let before = LogEnd {
            count: n,
            log_end: entry.log_offset,
            text_end: entry.text_offset,
            last_index: 0,
            time_ns: entry.time_ns,
            time_known: false,
            rebuilt: slot.rebuilt.saturating_sub(u64::from(entry.time_unknown)),
        };
        Ok(before.after_record(size, last, entry.time_ns, !entry.time_unknown))
    }

    /// Refuses an index that knows of records, of which the log has none, if the log is a whole one of another format: the
    /// index is that of another log.
    fn check_index_is_of_this_log(&self, base: &LogEnd) -> Result<()> {
        let format = self.segment.format;
        if self.synced() == 0 || base.count > 0 || self.knows_first_record()? {
            return Ok(());
        }
        let verdict = detect(&*self.log, self.length).map_err(|e| self.segment.log_error(e))?;
        let Verdict::Is {
            format: found,
            outweighed,
        } = verdict
        else {
            return Ok(());
        };
        let fits = found == format || outweighed.contains(&format);
        if fits || self.length <= MAX_HEADER_BYTES as u64 {
            return Ok(());
        }
        Err(Error::Damaged {
            namespace: self.segment.namespace.to_string(),
            record: None,
            offset: 0,
            what: format!("it is a whole {found} log, but its index is that of a {format} one"),
            way_out: Some(WayOut::Refused(format!(
                "remove '{}' if it belongs to another log",
                self.segment.index_path.display()
            ))),
        })
    }

    /// Whether the first record of the log has bytes, and is the one that the index has. Then the index is this log's, and only
    /// the end of the log is missing.
    fn knows_first_record(&self) -> Result<bool> {
        let log_error = |e| self.segment.log_error(e);
        let at = self.segment.format.header_bytes();
        let mut index = Window::new(&*self.segment.index.file, ENTRY_BYTES);
        let entry = self.entry(&mut index, 0)?;
        let Some(entry) = entry.filter(|entry| entry.log_offset == at) else {
            return Ok(false);
        };
        let mut log = Window::new(&*self.log, WINDOW_BYTES);
        match size_at(&mut log, at, self.length).map_err(log_error)? {
            Some(size) if size > 0 => {
                let (crc, _) =
                    checksum_of(&mut log, at + SIZE_FIELD_BYTES, size).map_err(log_error)?;
                Ok(crc == entry.checksum)
            }
            _ => Ok(false),
        }
    }

    /// What the walk is to believe: the header's count; where the header says nothing, or cannot be right, what the index
    /// knows.
    fn trust(&self, base: &LogEnd, repair: bool) -> Result<Trust> {
        let was_stopped = self.slot.is_some_and(|slot| !slot.clean);
        let same_boot = |slot: Slot| slot.boot != 0 && slot.boot == self.boot;
        let mut trust = Trust {
            length: self.length,
            count: 0,
            trust_whole_records: false,
            synced: self.synced(),
            was_stopped,
            rebooted: was_stopped && !self.slot.is_some_and(same_boot),
            only_read: self.purpose == Purpose::Read,
            repair,
        };
        if self.segment.format == Format::Bare {
            // Unless our own writer was stopped, every whole record was appended, by any program.
            trust.trust_whole_records = !was_stopped;
            // An entry is written after its record. So where nothing can be lost, there are as many records as there are places
            // of entries, also of damaged ones.
            let entries = self.index_length.saturating_sub(INDEX_HEADER_BYTES) / ENTRY_BYTES as u64;
            trust.count = if was_stopped && !trust.rebooted {
                entries.max(self.synced())
            } else {
                self.synced()
            };
            return Ok(trust);
        }
        let synced_is_there = base.count == self.synced();
        trust.count = match (u64::try_from(self.header.count()), self.slot) {
            // Closed in order, and nothing behind it: a count that differs is a damaged count.
            (_, Some(slot)) if slot.clean && synced_is_there && self.length == slot.log_end => {
                self.synced()
            }
            (Ok(count), _) => count,
            // Records behind the last sync are then kept by their checksums alone.
            (Err(_), Some(_)) if synced_is_there => self.synced(),
            (Err(_), _) if repair => {
                trust.trust_whole_records = true;
                0
            }
            (Err(_), _) => {
                let what = "the count is negative";
                return Err(refused(&self.segment, None, 0, what));
            }
        };
        Ok(trust)
    }

    /// Refuses a `count16` log whose count and whose index of the last record do not agree, where bytes would be cut and no
    /// crash of ours can have parted the two.
    fn check_second_witness(&self, trust: &Trust, end: &LogEnd) -> Result<()> {
        let header = &self.header;
        if self.segment.format != Format::Count16
            || trust.was_stopped
            || self.length <= end.log_end
            || u64::try_from(header.count()) != Ok(end.count)
            || header.last_index() == end.last_index
        {
            return Ok(());
        }
        let what = format!(
            "its header counts {} records and says that the last one is at byte {}, but it is at byte {}",
            end.count,
            header.last_index(),
            end.last_index
        );
        Err(refused(&self.segment, None, 0, &what))
    }

    /// What is cut off the log behind the end of the walk.
    fn cut_behind(&self, trust: &Trust, walked: &Walked) -> Result<Option<Cut>> {
        let (length, end) = (self.length, &walked.end);
        Ok(if length > end.log_end {
            Some(Cut {
                offset: end.log_end,
                bytes: length - end.log_end,
                what: walked.what,
                records: self.counted_behind(trust, end)?,
            })
        } else if 0 < length && length < self.segment.format.header_bytes() {
            Some(Cut {
                offset: 0,
                bytes: length,
                what: "a torn header",
                records: 0,
            })
        } else {
            None
        })
    }

    /// How many records behind `end` are whole by their size fields, and counted by the log itself. A `bare` log counts none,
    /// but where the index may be older than the log, all that are whole.
    fn counted_behind(&self, trust: &Trust, end: &LogEnd) -> Result<u64> {
        let counted = match self.segment.format {
            Format::Bare if trust.rebooted => u64::MAX,
            Format::Bare => 0,
            Format::Count8 | Format::Count16 => u64::try_from(self.header.count()).unwrap_or(0),
        };
        let mut log = Window::new(&*self.log, WINDOW_BYTES);
        let (mut at, mut found) = (end.log_end, 0);
        while end.count + found < counted {
            match size_at(&mut log, at, self.length).map_err(|e| self.segment.log_error(e))? {
                Some(size) => (at, found) = (at + SIZE_FIELD_BYTES + size, found + 1),
                None => break,
            }
        }
        Ok(found)
    }
}
