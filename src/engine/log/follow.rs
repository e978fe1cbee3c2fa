//! A log opened for reading only, beside a writer: it picks up what the writer has committed since.
//!
//! A follower trusts what the writer says: the count in the header, read until two reads agree. A `bare` log has no count:
//! beside our own writer, the entries of its index count; beside another program, what is whole to the last byte of the
//! file.

use super::log::Log;
use crate::disk;
use crate::error::Result;
use crate::format::{Format, IndexEntry, SIZE_FIELD_BYTES, Slot, decode_length, text_bytes};
use crate::locks::lock;
use crate::recovery::{Stale, Trust, walk, write_entries};
use crate::segment::{LogEnd, State, read_slot};

/// What the writer of a log says about it.
struct WriterSays {
    count: u64,
    /// Where the last record is, if the header says so.
    last_index: Option<u64>,
    /// The slot of the index, if our own writer writes the log.
    ours: Option<Slot>,
    /// The writer does not count: every whole record is there.
    trust_whole_records: bool,
}

impl Log {
    /// Looks for records that another process has appended since this log was opened for reading, makes them
    /// visible, and wakes the readers that wait for them. Returns the state after that. A log opened for writing
    /// is always up to date.
    ///
    /// If the writer keeps an index, this is one look at it. Else (a Go program, say) the new records are read,
    /// and indexed in memory, 32 bytes a record. If there is nothing new, this is one small read.
    ///
    /// A follower may rely on this: the count never goes back, and a record that was once seen stays as it was.
    /// Beside a writer of this library, and beside a program that writes `count8` or `count16`, the follower sees
    /// a record only after the writer has counted it. A `bare` log that another program writes has no count: the
    /// follower sees a record when the file is whole to its last byte and does not end in an empty record. A
    /// half-done append of such a program usually looks like an empty record, but not always. For certainty, use
    /// another format.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Damaged`](crate::Error::Damaged) if what the writer has
    /// counted is not there.
    pub fn refresh(&self) -> Result<State> {
        if !self.read_only {
            return Ok(self.state());
        }
        if self.advance()? {
            self.signal.notify_observers();
        }
        Ok(self.state())
    }

    /// Whether another process seems to have appended since the last [`Log::refresh`]. One small read; changes
    /// nothing. `false` for a log opened for writing.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn has_grown(&self) -> Result<bool> {
        if !self.read_only {
            return Ok(false);
        }
        let state = self.state();
        if self.segment.format == Format::Bare {
            let length = self
                .segment
                .log_file
                .len()
                .map_err(|e| self.segment.log_error(e))?;
            return Ok(length > state.log_end);
        }
        let header = self.segment.read_header()?;
        Ok(u64::try_from(header.count()).is_ok_and(|count| count > state.count))
    }

    fn advance(&self) -> Result<bool> {
        let segment = &self.segment;
        if !self.has_grown()? {
            return Ok(false);
        }
        let mut writer = lock(&self.writer);
        let from = writer.tail;
        let Some(says) = self.writer_says(&from)? else {
            return Ok(false);
        };
        // After the count: what it counts is in the file.
        let length = segment.log_file.len().map_err(|e| segment.log_error(e))?;
        let end = match self.end_by_index(&from, &says, length)? {
            Some(end) => end,
            None if segment.format == Format::Bare && !says.trust_whole_records => {
                return Ok(false);
            }
            None => self.end_by_walk(from, &says, length)?,
        };
        if says.last_index.is_some_and(|last| last != end.last_index) {
            return Ok(false); // The writer was at work between the two reads: the next look will tell.
        }
        let advanced = end.count > from.count;
        writer.tail = end;
        self.signal.update(|state| state.follow(&end));
        Ok(advanced)
    }

    /// What the writer says now; `None`: it has counted nothing behind `from`.
    fn writer_says(&self, from: &LogEnd) -> Result<Option<WriterSays>> {
        let segment = &self.segment;
        let ours = read_slot(&*segment.index.file)
            .map_err(|e| segment.index_error(e))?
            .filter(|slot| slot.id == segment.index.id);
        if ours.is_some_and(|slot| slot.synced_count >= from.count) {
            // Our own writer has written the entries by now that were made in memory here.
            segment
                .index
                .file
                .set_len(0)
                .map_err(|e| segment.index_error(e))?;
        }
        let says = match (segment.format, ours) {
            (Format::Count8 | Format::Count16, _) => {
                let header = segment.read_header()?;
                WriterSays {
                    count: u64::try_from(header.count()).unwrap_or(0),
                    last_index: (segment.format == Format::Count16).then(|| header.last_index()),
                    ours,
                    trust_whole_records: false,
                }
            }
            (Format::Bare, Some(slot)) if !slot.clean => WriterSays {
                count: segment
                    .index
                    .entries()
                    .map_err(|e| segment.index_error(e))?,
                last_index: None,
                ours,
                trust_whole_records: false,
            },
            (Format::Bare, Some(slot)) if slot.synced_count > from.count => WriterSays {
                count: slot.synced_count,
                last_index: None,
                ours,
                trust_whole_records: false,
            },
            (Format::Bare, _) => WriterSays {
                count: from.count,
                last_index: None,
                ours,
                trust_whole_records: true,
            },
        };
        Ok((says.trust_whole_records || says.count > from.count).then_some(says))
    }

    /// The new end of the log, by the entry of the last record. Our own writer writes payload, entry and count in this order,
    /// so what is counted has its entry. `None` if the entry is not there.
    fn end_by_index(
        &self,
        from: &LogEnd,
        says: &WriterSays,
        length: u64,
    ) -> Result<Option<LogEnd>> {
        let segment = &self.segment;
        if says.trust_whole_records {
            return Ok(None);
        }
        let entry = segment
            .index
            .entry(says.count - 1)
            .map_err(|e| segment.index_error(e))?;
        // In a bare log nothing but the entries says that a batch is whole.
        let counts = |entry: &IndexEntry| entry.log_offset >= from.log_end && !entry.batch_goes_on;
        let Some(entry) = entry.filter(counts) else {
            return Ok(None);
        };
        let mut field = [0; 8];
        let have = disk::read_up_to(&*segment.log_file, &mut field, entry.log_offset)
            .map_err(|e| segment.log_error(e))?;
        if have < field.len() {
            return Ok(None);
        }
        let payload = entry.log_offset + SIZE_FIELD_BYTES;
        let inside = |size: &u64| payload.checked_add(*size).is_some_and(|end| end <= length);
        let Some(size) = decode_length(field).filter(inside) else {
            return Ok(None);
        };
        let mut last = [0];
        if size > 0 {
            disk::read_exact(&*segment.log_file, &mut last, payload + size - 1)
                .map_err(|e| segment.log_error(e))?;
        }
        let text = text_bytes(size, (size > 0).then_some(last[0]));
        Ok(Some(LogEnd {
            count: says.count,
            log_end: payload + size,
            text_end: entry.text_offset.saturating_add(text),
            last_index: entry.log_offset,
            time_ns: entry.time_ns,
            time_known: !entry.time_unknown,
            rebuilt: says.ours.map_or(from.rebuilt, |slot| slot.rebuilt),
        }))
    }

    /// The new end of the log, by a walk along it. Makes the entries in memory that the writer has not written.
    fn end_by_walk(&self, from: LogEnd, says: &WriterSays, length: u64) -> Result<LogEnd> {
        let segment = &self.segment;
        // Beside a writer, what does not look whole yet is looked at again the next time.
        let trust = Trust {
            length,
            count: says.count,
            trust_whole_records: says.trust_whole_records,
            synced: 0,
            was_stopped: true,
            rebooted: false,
            only_read: true,
            repair: false,
        };
        let walked = walk(segment, &*segment.log_file, &trust, from, |_, _| Ok(()))?;
        let end = walked.end;
        let half_done = end.log_end < length || end.log_end == end.last_index + SIZE_FIELD_BYTES;
        let two_moments = says.last_index.is_some_and(|last| last != end.last_index);
        if two_moments || (says.trust_whole_records && half_done) {
            return Ok(from);
        }
        let stale = walked.stale.map(|from| Stale { from, trust });
        let id = segment.index.id;
        write_entries(segment, &*segment.log_file, stale.as_ref(), &end, id)?;
        Ok(end)
    }
}
