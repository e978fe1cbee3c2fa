//! A log that is being opened, or followed, as it is found: how far it goes, and what of it is kept. Nothing is written
//! here.

use std::io;
use std::path::Path;

use super::detect::{Verdict, detect};
use super::report::{Cut, Recovery};
use super::walk::{Claims, WINDOW_BYTES};
use crate::disk::DiskFile;
use crate::disk::Window;
use crate::error::{Error, Result, WayOut, repair_command};
use crate::format::Format;
use crate::format::{
    ENTRY_BYTES, Header, INDEX_HEADER_BYTES, MAX_HEADER_BYTES, SIZE_FIELD_BYTES, Slot,
    decode_length, encode_length, entry_offset, u64_at,
};
use crate::ids::RecordNo;
use crate::namespace::Namespace;
use crate::segment::{LogEnd, read_header};

/// A log and its index as they are found.
pub(crate) struct Survey<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) log_path: &'a Path,
    pub(crate) index_path: &'a Path,
    pub(crate) log: &'a dyn DiskFile,
    pub(crate) index: &'a dyn DiskFile,
    pub(crate) slot: Option<Slot>,
    pub(crate) format: Format,
    pub(crate) boot: u64,
    pub(crate) read_only: bool,
    pub(crate) repair: bool,
}

/// What is to become of a log: decided before anything is written.
pub(crate) struct Decision {
    pub(crate) tail: LogEnd,
    pub(crate) recovery: Recovery,
    pub(crate) claims: Claims,
    /// The first record whose entry has to be written, and the tail before it.
    pub(crate) stale: Option<LogEnd>,
    pub(crate) index_length: u64,
}

impl Survey<'_> {
    /// Looks at the log, as far as it has to, and decides what of it is kept. Writes nothing.
    pub(crate) fn decide(&self, same_id: bool) -> Result<Decision> {
        // Before the length: what the header counts is in the file, also beside a writer.
        let header = read_header(self.log, self.format).map_err(|e| self.log_error(e))?;
        let length = self.log.len().map_err(|e| self.log_error(e))?;
        let index_length = self.index.len().map_err(|e| self.index_error(e))?;
        if length < self.format.header_bytes()
            && self.slot.is_some_and(|slot| slot.synced_count > 0)
            && !self.repair
        {
            return Err(self.damaged(
                None,
                length,
                "the file ends inside its header, but its index knows of records",
            ));
        }
        let mut claims = Claims {
            length,
            count: 0,
            every_whole: false,
            unsynced_from: u64::MAX,
            lossy: false,
        };
        if same_id && let Some(tail) = self.clean_tail(length, index_length, &header)? {
            let recovery = Recovery {
                clean: true,
                records: tail.count,
                ..Recovery::default()
            };
            return Ok(Decision {
                tail,
                recovery,
                claims,
                stale: None,
                index_length,
            });
        }

        let base = self.base(length)?;
        self.check_index_is_of_this_log(&base, length)?;
        self.believe(&mut claims, &header, &base, index_length)?;
        let walked = self.walk(&claims, base, |_, _| Ok(()))?;
        let tail = walked.tail;
        let end = tail.log_end;
        if self.format == Format::Count16
            && !self.repair
            && claims.unsynced_from == u64::MAX // else a crash of ours may have parted the two
            && length > end
            && u64::try_from(header.count()) == Ok(tail.count)
            && header.last_index() != tail.last_index
        {
            return Err(self.damaged(
                None,
                0,
                &format!(
                    "its header counts {} records and says that the last one is at byte {}, but it is at byte {}",
                    tail.count,
                    header.last_index(),
                    tail.last_index
                ),
            ));
        }
        let cut = if length > end {
            Some(Cut {
                offset: end,
                bytes: length - end,
                what: walked.what,
                records: self.counted_behind(&tail, &claims, &header)?,
            })
        } else if 0 < length && length < self.format.header_bytes() {
            Some(Cut {
                offset: 0,
                bytes: length,
                what: "a torn header",
                records: 0,
            })
        } else {
            None
        };
        let wrong_count = self.format != Format::Bare && header.count() != tail.count.cast_signed();
        Ok(Decision {
            tail,
            recovery: Recovery {
                clean: false,
                records: tail.count,
                rebuilt_from: walked.rebuilt_from,
                rebuilt: walked.rebuilt,
                damaged: walked.damaged,
                cut,
                saved: None,
                claimed: wrong_count.then_some(header.count()),
            },
            claims,
            stale: walked.stale,
            index_length,
        })
    }

    /// The tail of a log that was closed in order and not touched since, found without looking at anything
    /// but its end.
    fn clean_tail(
        &self,
        length: u64,
        index_length: u64,
        header: &Header,
    ) -> Result<Option<LogEnd>> {
        let Some(slot) = self.slot.filter(|slot| slot.clean) else {
            return Ok(None);
        };
        if length != slot.log_end || entry_offset(slot.synced_count) != Some(index_length) {
            return Ok(None);
        }
        let agrees = |tail: &LogEnd| self.format.header(tail.count, tail.last_index) == *header;
        Ok(self.tail_at(&slot)?.filter(agrees))
    }

    /// The tail at the slot's count, if the last record before it is where the slot says.
    fn tail_at(&self, slot: &Slot) -> Result<Option<LogEnd>> {
        let empty = LogEnd::empty(self.format);
        let Some(n) = slot.synced_count.checked_sub(1) else {
            return Ok((slot.log_end == empty.log_end).then_some(empty));
        };
        let mut entries = Window::new(self.index, ENTRY_BYTES);
        let Some(entry) = self.entry(&mut entries, n)? else {
            return Ok(None);
        };
        let Some(size) = slot
            .log_end
            .checked_sub(entry.log_offset)
            .and_then(|record| record.checked_sub(SIZE_FIELD_BYTES))
        else {
            return Ok(None);
        };
        let mut window = Window::new(self.log, SIZE_FIELD_BYTES as usize);
        let field = window
            .get(entry.log_offset, 8)
            .map_err(|e| self.log_error(e))?;
        if field != encode_length(size) {
            // A flipped bit in the size field, or an index that is not this log's: the payload tells.
            let payload = entry.log_offset + SIZE_FIELD_BYTES;
            let mut large = Window::new(self.log, WINDOW_BYTES);
            let (crc, _) = self.checksum_of(&mut large, payload, size)?;
            if crc != entry.checksum {
                return Ok(None);
            }
        }
        let mut last = self.last_byte(&mut window, entry.log_offset + SIZE_FIELD_BYTES, size)?;
        // The last byte may not be what was written, but the next entry, if there is one, knows whether that
        // was a newline.
        if let Some(next) = self.entry(&mut entries, n + 1)?
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

    /// Where a walk starts: at the last sync, if index and log agree there, else at the beginning.
    fn base(&self, length: u64) -> Result<LogEnd> {
        if let Some(slot) = self.slot
            && slot.log_end <= length
            && let Some(tail) = self.tail_at(&slot)?
        {
            return Ok(tail);
        }
        Ok(LogEnd::empty(self.format))
    }

    /// An index that knows of records, of which the log has none, is that of another log: then the bytes have
    /// a say in the format.
    fn check_index_is_of_this_log(&self, base: &LogEnd, length: u64) -> Result<()> {
        let knows = self.slot.is_some_and(|slot| slot.synced_count > 0);
        if !knows || base.count > 0 || self.repair || self.knows_first_record(length)? {
            return Ok(());
        }
        let (format, others) = match detect(self.log, length).map_err(|e| self.log_error(e))? {
            Verdict::Is(format) => (format, Vec::new()),
            Verdict::Weighed(format, others) => (format, others),
            Verdict::Nothing | Verdict::Unclear(_) => return Ok(()),
        };
        let fits = format == self.format || others.contains(&self.format);
        if fits || length <= MAX_HEADER_BYTES as u64 {
            return Ok(());
        }
        Err(Error::Damaged {
            namespace: self.namespace.to_string(),
            record: None,
            offset: 0,
            what: format!(
                "it is a whole {format} log, but its index is that of a {} one",
                self.format
            ),
            way_out: Some(WayOut::Refused(format!(
                "remove '{}' if it belongs to another log",
                self.index_path.display()
            ))),
        })
    }

    /// Whether the first record of the log, one with bytes, is the one that the index has: then it is this log's, of
    /// which the end is missing.
    fn knows_first_record(&self, length: u64) -> Result<bool> {
        let at = self.format.header_bytes();
        let mut window = Window::new(self.log, WINDOW_BYTES);
        let entry = self.entry(&mut Window::new(self.index, ENTRY_BYTES), 0)?;
        let Some(entry) = entry.filter(|entry| entry.log_offset == at) else {
            return Ok(false);
        };
        let Some(room) = length.checked_sub(at + SIZE_FIELD_BYTES) else {
            return Ok(false);
        };
        let field = window.get(at, 8).map_err(|e| self.log_error(e))?;
        match decode_length(u64_at(field, 0).to_le_bytes()) {
            Some(size) if 0 < size && size <= room => {
                let (crc, _) = self.checksum_of(&mut window, at + SIZE_FIELD_BYTES, size)?;
                Ok(crc == entry.checksum)
            }
            _ => Ok(false),
        }
    }

    /// What the walk is to believe: the header's count, or what the index knows where the header says
    /// nothing, or cannot be right.
    fn believe(
        &self,
        claims: &mut Claims,
        header: &Header,
        base: &LogEnd,
        index_length: u64,
    ) -> Result<()> {
        if let Some(slot) = self.slot.filter(|slot| !slot.clean) {
            claims.unsynced_from = slot.synced_count;
            claims.lossy = slot.boot == 0 || slot.boot != self.boot;
        }
        let synced = self.slot.map_or(0, |slot| slot.synced_count);
        if self.format == Format::Bare {
            // While our own writer is not known to have been stopped, what is whole was appended, by whom
            // ever.
            claims.every_whole = self.slot.is_none_or(|slot| slot.clean);
            // An entry is written behind its record: where nothing can have been lost, there are as many
            // records as there are places of entries, also of damaged ones.
            let killed = self.slot.is_some_and(|slot| !slot.clean) && !claims.lossy;
            let entries = index_length.saturating_sub(INDEX_HEADER_BYTES) / ENTRY_BYTES as u64;
            claims.count = if killed { entries.max(synced) } else { synced };
            return Ok(());
        }
        claims.count = match (u64::try_from(header.count()), self.slot) {
            // Closed in order and nothing behind it: a count that differs is a damaged count.
            (_, Some(slot))
                if slot.clean && base.count == synced && claims.length == slot.log_end =>
            {
                synced
            }
            (Ok(count), _) => count,
            // Records behind the last sync are then kept by their checksums alone.
            (Err(_), Some(_)) if base.count == synced => synced,
            (Err(_), _) if self.repair => {
                claims.every_whole = true;
                0
            }
            (Err(_), _) => return Err(self.damaged(None, 0, "the count is negative")),
        };
        Ok(())
    }

    /// How many records behind `tail` are whole by their size fields and counted by the log itself. A `bare` log counts
    /// none: where the index may be older than the log, all that are whole.
    fn counted_behind(&self, tail: &LogEnd, claims: &Claims, header: &Header) -> Result<u64> {
        let counted = match self.format {
            Format::Bare if claims.lossy => u64::MAX,
            Format::Bare => 0,
            Format::Count8 | Format::Count16 => u64::try_from(header.count()).unwrap_or(0),
        };
        let mut window = Window::new(self.log, WINDOW_BYTES);
        let (mut at, mut found) = (tail.log_end, 0);
        while tail.count + found < counted && claims.length.saturating_sub(at) >= SIZE_FIELD_BYTES {
            let field = window.get(at, 8).map_err(|e| self.log_error(e))?;
            let room = claims.length - at - SIZE_FIELD_BYTES;
            match decode_length(u64_at(field, 0).to_le_bytes()).filter(|size| *size <= room) {
                Some(size) => (at, found) = (at + SIZE_FIELD_BYTES + size, found + 1),
                None => break,
            }
        }
        Ok(found)
    }

    pub(crate) fn damaged(&self, record: Option<RecordNo>, offset: u64, what: &str) -> Error {
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record,
            offset,
            what: what.to_owned(),
            way_out: Some(WayOut::Refused(format!(
                "{} keeps the {} before that, and saves what it cuts off",
                repair_command(
                    self.log_path.parent().unwrap_or(self.log_path),
                    self.namespace
                ),
                match record {
                    None => "records".to_owned(),
                    Some(RecordNo(1)) => "record".to_owned(),
                    Some(n) => format!("{n} records"),
                }
            ))),
        }
    }

    pub(crate) fn log_error(&self, e: io::Error) -> Error {
        Error::io("read", self.log_path, e)
    }

    pub(crate) fn index_error(&self, e: io::Error) -> Error {
        Error::io("read", self.index_path, e)
    }
}
