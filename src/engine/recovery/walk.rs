//! Going along a log record by record, to decide what of it is to be kept.

use super::decide::Survey;
use crate::disk;
use crate::disk::Window;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::{
    ENTRY_BYTES, IndexEntry, SIZE_FIELD_BYTES, checksum_append, decode_length, entry_offset,
    text_bytes, u64_at,
};
use crate::ids::RecordNo;
use crate::segment::LogEnd;

/// What is read at a time while a log is walked.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;
/// How many rebuilt entries are written at a time.
const ENTRIES_AT_ONCE: usize = 4096;

/// What a walk along the log is to believe.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    /// The log file's length.
    pub(crate) length: u64,
    /// How many records the log's header counts; for a `bare` log, the index.
    pub(crate) count: u64,
    /// Behind those, every whole record counts: the log is `bare`, and other programs may have appended to
    /// it.
    pub(crate) every_whole: bool,
    /// Records from here on were not known to be on the disk when the log was last written to, which was not
    /// closed in order. `u64::MAX` when it was, or when there is nothing to tell.
    pub(crate) unsynced_from: u64,
    /// What was written and not synced may have been lost since: the machine was started again.
    pub(crate) lossy: bool,
}

/// Where a walk along the log ended.
#[derive(Clone, Copy)]
pub(crate) struct Walked {
    pub(crate) tail: LogEnd,
    /// The first record whose entry has to be written, and the tail before it.
    pub(crate) stale: Option<LogEnd>,
    pub(crate) rebuilt_from: Option<RecordNo>,
    pub(crate) rebuilt: u64,
    pub(crate) damaged: u64,
    /// Why it ended: what the bytes behind the end are.
    pub(crate) what: &'static str,
}

enum Step {
    Record {
        entry: IndexEntry,
        size: u64,
        last: Option<u8>,
        from_log: bool,
        changed: bool,
        damaged: bool,
    },
    End(&'static str),
}

impl Survey<'_> {
    /// Goes along the log from `base` to where it ends, giving each record's entry to `each`. Writes nothing.
    pub(crate) fn walk(
        &self,
        claims: &Claims,
        base: LogEnd,
        mut each: impl FnMut(u64, &IndexEntry) -> Result<()>,
    ) -> Result<Walked> {
        let (mut log, mut index) = (
            Window::new(self.log, WINDOW_BYTES),
            Window::new(self.index, WINDOW_BYTES),
        );
        let mut walked = Walked {
            tail: base,
            stale: None,
            rebuilt_from: None,
            rebuilt: 0,
            damaged: 0,
            what: "",
        };
        // Where the last whole batch ended, and what was found up to there.
        let mut whole = walked;
        loop {
            let tail = walked.tail;
            match self.step(claims, &tail, &mut log, &mut index)? {
                // A crash left a part of a batch: nobody was told that it is there.
                Step::End(_) if whole.tail.count < tail.count && !self.repair => {
                    whole.what = "a batch that was not appended whole";
                    return Ok(whole);
                }
                Step::End(what) => {
                    walked.what = what;
                    return Ok(walked);
                }
                Step::Record {
                    entry,
                    size,
                    last,
                    from_log,
                    changed,
                    damaged,
                } => {
                    let Some(next) =
                        tail.after_record(size, last, entry.time_ns, !entry.time_unknown)
                    else {
                        walked.what = "more than a log can hold";
                        return Ok(walked);
                    };
                    if changed && walked.stale.is_none() {
                        walked.stale = Some(tail);
                    }
                    if from_log {
                        walked.rebuilt_from.get_or_insert(RecordNo(tail.count));
                        walked.rebuilt += 1;
                    }
                    walked.damaged += u64::from(damaged);
                    each(tail.count, &entry)?;
                    walked.tail = next;
                    if !entry.batch_goes_on {
                        whole = walked;
                    }
                }
            }
        }
    }

    /// Decides on the record that should come at `tail`.
    fn step(
        &self,
        claims: &Claims,
        tail: &LogEnd,
        log: &mut Window<'_>,
        index: &mut Window<'_>,
    ) -> Result<Step> {
        let n = tail.count;
        let at = tail.log_end;
        let bare = self.format == Format::Bare;
        let promised = n < claims.count;
        let counted = promised || (claims.every_whole && at < claims.length);
        let unsynced = n >= claims.unsynced_from;
        if !counted && ((self.read_only && !bare) || at >= claims.length) {
            // A reader beside a writer: what is not counted yet may still be taken back.
            return Ok(Step::End("an append that was under way"));
        }
        let payload = at + SIZE_FIELD_BYTES;
        let field = if claims.length.saturating_sub(at) < SIZE_FIELD_BYTES {
            None
        } else {
            let field = log.get(at, 8).map_err(|e| self.log_error(e))?;
            let room = claims.length - payload;
            decode_length(u64_at(field, 0).to_le_bytes()).filter(|size| *size <= room)
        };
        let found = self
            .entry(index, n)?
            .filter(|entry| entry.log_offset == at && entry.text_offset == tail.text_end);
        // Where nothing can have been lost, the index knows the record's end, whatever has become of its size
        // field.
        let known = match &found {
            Some(entry) if (counted || bare) && !(unsynced && claims.lossy) => {
                self.known_end(claims, tail, entry, field, log, index)?
            }
            _ => None,
        };
        let Some(size) = known.map(|(size, _)| size).or(field) else {
            // Beside a writer of a bare log, it may be the append that is under way.
            if counted && !unsynced && !self.repair && (promised || !self.read_only) {
                return Err(self.damaged(
                    Some(RecordNo(n)),
                    at,
                    "its size is negative or reaches beyond the end of the file",
                ));
            }
            return Ok(Step::End("a torn record"));
        };
        let Some(mut entry) = found else {
            if !counted {
                return Ok(Step::End("an append that was under way"));
            }
            if unsynced && claims.lossy && !self.repair {
                return Ok(Step::End(
                    "records that were not synced, and that nothing vouches for",
                ));
            }
            let (checksum, last) = self.checksum_of(log, payload, size)?;
            let entry = IndexEntry {
                log_offset: at,
                time_unknown: true,
                batch_goes_on: false,
                text_offset: tail.text_end,
                time_ns: tail.time_ns,
                checksum,
            };
            return Ok(Step::Record {
                entry,
                size,
                last,
                from_log: true,
                changed: true,
                damaged: false,
            });
        };
        let changed = entry.time_ns < tail.time_ns;
        entry.time_ns = entry.time_ns.max(tail.time_ns);
        if counted && self.slot.is_some_and(|slot| n < slot.synced_count) {
            let last = match known {
                Some((_, last)) => last,
                None => self.last_byte(log, payload, size)?,
            };
            return Ok(Step::Record {
                entry,
                size,
                last,
                from_log: false,
                changed,
                damaged: false,
            });
        }
        let (crc, last) = self.checksum_of(log, payload, size)?;
        let last = known.map_or(last, |(_, last)| last);
        let damaged = crc != entry.checksum || field != Some(size);
        // The entry is written after the record, so that it is what counts one in a bare log, unless the disk
        // may have lost a part.
        let counted = counted || (bare && !claims.lossy);
        if damaged && (!counted || (unsynced && claims.lossy)) {
            return Ok(Step::End("a record that did not reach the disk whole"));
        }
        // Damaged, but nothing can have been lost: then it is not a torn tail, and those behind it are good.
        Ok(Step::Record {
            entry,
            size,
            last,
            from_log: false,
            changed,
            damaged,
        })
    }

    /// Size and last byte (if it is a newline) of the counted record at `tail`, without believing its size
    /// field: by the next entry; for the last record by the end of the file, if its checksum agrees.
    fn known_end(
        &self,
        claims: &Claims,
        tail: &LogEnd,
        entry: &IndexEntry,
        field: Option<u64>,
        log: &mut Window<'_>,
        index: &mut Window<'_>,
    ) -> Result<Option<(u64, Option<u8>)>> {
        let payload = tail.log_end + SIZE_FIELD_BYTES;
        if let Some(next) = self.entry(index, tail.count + 1)? {
            let size = next.log_offset.checked_sub(payload);
            let text = next.text_offset.checked_sub(tail.text_end);
            return Ok(size.zip(text).and_then(|(size, text)| {
                let last = (size > 0 && text == size).then_some(b'\n');
                let fits = next.log_offset <= claims.length && text == text_bytes(size, last);
                fits.then_some((size, last))
            }));
        }
        let rest = claims.length.checked_sub(payload);
        match rest {
            Some(size)
                if (tail.count + 1 == claims.count || self.format == Format::Bare)
                    && field != rest =>
            {
                let (crc, last) = self.checksum_of(log, payload, size)?;
                Ok((crc == entry.checksum).then_some((size, last)))
            }
            _ => Ok(None),
        }
    }

    /// Writes the entries from `from` on, up to record `count`, by walking there again: at constant memory,
    /// and only once it is known that the walk ends well.
    pub(crate) fn rewrite(&self, claims: &Claims, from: LogEnd, count: u64, id: u32) -> Result<()> {
        let mut pending: Vec<u8> = Vec::with_capacity(ENTRIES_AT_ONCE * ENTRY_BYTES);
        let mut first = from.count;
        let write = |first: u64, pending: &[u8]| {
            let offset = entry_offset(first).unwrap_or(u64::MAX);
            disk::write_all(self.index, pending, offset)
                .map_err(|e| Error::io("write", self.index_path, e))
        };
        let claims = Claims {
            count: claims.count.min(count),
            ..*claims
        };
        self.walk(&claims, from, |n, entry| {
            if n >= count {
                return Ok(());
            }
            pending.extend_from_slice(&entry.encode(n, id));
            if pending.len() == ENTRIES_AT_ONCE * ENTRY_BYTES {
                write(first, &pending)?;
                first = n + 1;
                pending.clear();
            }
            Ok(())
        })?;
        write(first, &pending)
    }

    /// Entry `n` as it is on disk, under the id that the index has there.
    pub(crate) fn entry(&self, window: &mut Window<'_>, n: u64) -> Result<Option<IndexEntry>> {
        let (Some(slot), Some(offset)) = (self.slot, entry_offset(n)) else {
            return Ok(None);
        };
        let bytes = window
            .up_to(offset, ENTRY_BYTES)
            .map_err(|e| self.index_error(e))?;
        Ok(IndexEntry::decode(bytes, n, slot.id))
    }

    /// Checksum and last byte of a payload that is known to be inside the file.
    pub(crate) fn checksum_of(
        &self,
        log: &mut Window<'_>,
        at: u64,
        size: u64,
    ) -> Result<(u32, Option<u8>)> {
        let (mut done, mut crc, mut last) = (0, 0, None);
        while done < size {
            let wanted = usize::try_from(size - done)
                .unwrap_or(usize::MAX)
                .min(log.piece_bytes);
            let piece = log.get(at + done, wanted).map_err(|e| self.log_error(e))?;
            crc = checksum_append(crc, piece);
            last = piece.last().copied();
            done += piece.len() as u64;
        }
        Ok((crc, last))
    }

    pub(crate) fn last_byte(&self, log: &mut Window<'_>, at: u64, size: u64) -> Result<Option<u8>> {
        match size.checked_sub(1) {
            None => Ok(None),
            Some(before) => Ok(log
                .get(at + before, 1)
                .map_err(|e| self.log_error(e))?
                .first()
                .copied()),
        }
    }
}
