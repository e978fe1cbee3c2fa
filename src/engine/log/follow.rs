//! A log opened for reading only, beside a writer: picking up what the writer has committed since.
//!
//! What counts is what the writer says: the count in the header, read again until two reads agree. A `bare`
//! log has none: there the entries of our own writer's index count, and beside another program what is whole
//! to the last byte of the file.

use super::log::Log;
use crate::disk;
use crate::error::Result;
use crate::format::Format;
use crate::format::{IndexEntry, SIZE_FIELD_BYTES, Slot, decode_length, text_bytes};
use crate::locks::lock;
use crate::recovery::{Stale, Trust, walk, write_entries};
use crate::segment::LogEnd;
use crate::segment::State;
use crate::segment::read_slot;

/// What a writer says is there.
struct WriterSays {
    count: u64,
    /// Where the last record is, if the header says so.
    last_index: Option<u64>,
    /// What is known of our own writer, if it has the log.
    ours: Option<Slot>,
    /// Nobody counts: what is whole is there.
    trust_whole_records: bool,
}

impl Log {
    /// Looks at what another process has appended since this log was opened for reading, makes it visible and
    /// wakes those who wait for it. Returns the state after that. A log opened for writing is always up to
    /// date.
    ///
    /// Takes one look at the index if the writer keeps one; else, as for a Go program, what was appended is
    /// read and indexed in memory, 32 bytes a record. Nothing new costs one small read.
    ///
    /// What a follower may rely on: the count never goes back, and what was once seen stays as it was. Beside
    /// a writer of this library, and beside a program that writes `count8` or `count16`, it sees a record
    /// only when that writer has counted it. A `bare` log that another program writes has no count: a record
    /// is seen when the file is whole to its last byte and does not end in an empty record, which is what the
    /// program's half-done append mostly looks like. It may be fooled by one that is cut just so; who needs
    /// certainty follows another format.
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

    /// Whether another process seems to have appended since the last [`Log::refresh`]: one small read, and
    /// nothing changes. `false` for a log opened for writing.
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
        if !self.has_grown()? {
            return Ok(false);
        }
        let mut writer = lock(&self.writer);
        let from = writer.tail;
        let Some(news) = self.news(&from)? else {
            return Ok(false);
        };
        // After the count: what it counts is in the file.
        let length = self
            .segment
            .log_file
            .len()
            .map_err(|e| self.segment.log_error(e))?;
        let tail = match self.tail_from_index(&from, &news, length)? {
            Some(tail) => tail,
            None if self.segment.format == Format::Bare && !news.trust_whole_records => {
                return Ok(false);
            }
            None => self.tail_from_log(from, &news, length)?,
        };
        if news.last_index.is_some_and(|last| last != tail.last_index) {
            return Ok(false); // the header and the records are not of one moment: the next look will tell
        }
        let advanced = tail.count > from.count;
        writer.tail = tail;
        self.signal.update(|state| state.follow(&tail));
        Ok(advanced)
    }

    /// `None`: nothing that counts has come behind `from`.
    fn news(&self, from: &LogEnd) -> Result<Option<WriterSays>> {
        let ours = read_slot(&*self.segment.index.file)
            .map_err(|e| self.segment.index_error(e))?
            .filter(|slot| slot.id == self.segment.index.id);
        if ours.is_some_and(|slot| slot.synced_count >= from.count) {
            // Whatever was made in memory, our own writer has on the disk by now.
            self.segment
                .index
                .file
                .set_len(0)
                .map_err(|e| self.segment.index_error(e))?;
        }
        let news = match (self.segment.format, ours) {
            (Format::Count8 | Format::Count16, _) => {
                let header = self.segment.read_header()?;
                WriterSays {
                    count: u64::try_from(header.count()).unwrap_or(0),
                    last_index: (self.segment.format == Format::Count16)
                        .then(|| header.last_index()),
                    ours,
                    trust_whole_records: false,
                }
            }
            (Format::Bare, Some(slot)) if !slot.clean => WriterSays {
                count: self
                    .segment
                    .index
                    .entries()
                    .map_err(|e| self.segment.index_error(e))?,
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
        Ok((news.trust_whole_records || news.count > from.count).then_some(news))
    }

    /// Our own writer writes payload, entry and count in this order: what is counted has its entry.
    fn tail_from_index(
        &self,
        from: &LogEnd,
        news: &WriterSays,
        length: u64,
    ) -> Result<Option<LogEnd>> {
        if news.trust_whole_records {
            return Ok(None);
        }
        let entry = self
            .segment
            .index
            .entry(news.count - 1)
            .map_err(|e| self.segment.index_error(e))?;
        // In a bare log nothing but the entries says that a batch is whole.
        let counts = |entry: &IndexEntry| entry.log_offset >= from.log_end && !entry.batch_goes_on;
        let Some(entry) = entry.filter(counts) else {
            return Ok(None);
        };
        let mut field = [0; 8];
        let have = disk::read_up_to(&*self.segment.log_file, &mut field, entry.log_offset)
            .map_err(|e| self.segment.log_error(e))?;
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
            disk::read_exact(&*self.segment.log_file, &mut last, payload + size - 1)
                .map_err(|e| self.segment.log_error(e))?;
        }
        let text = text_bytes(size, (size > 0).then_some(last[0]));
        Ok(Some(LogEnd {
            count: news.count,
            log_end: payload + size,
            text_end: entry.text_offset.saturating_add(text),
            last_index: entry.log_offset,
            time_ns: entry.time_ns,
            time_known: !entry.time_unknown,
            rebuilt: news.ours.map_or(from.rebuilt, |slot| slot.rebuilt),
        }))
    }

    /// Another writer leaves the index behind: the entries that are missing are made in memory.
    fn tail_from_log(&self, from: LogEnd, news: &WriterSays, length: u64) -> Result<LogEnd> {
        let segment = &self.segment;
        // Beside a writer, what does not look whole yet is looked at again the next time.
        let trust = Trust {
            length,
            count: news.count,
            trust_whole_records: news.trust_whole_records,
            synced: 0,
            was_stopped: true,
            rebooted: false,
            only_read: true,
            repair: false,
        };
        let walked = walk(segment, &*segment.log_file, &trust, from, |_, _| Ok(()))?;
        let end = walked.end;
        let half_done = end.log_end < length || end.log_end == end.last_index + SIZE_FIELD_BYTES;
        let two_moments = news.last_index.is_some_and(|last| last != end.last_index);
        if two_moments || (news.trust_whole_records && half_done) {
            return Ok(from);
        }
        let stale = walked.stale.map(|from| Stale { from, trust });
        let id = segment.index.id;
        write_entries(segment, &*segment.log_file, stale.as_ref(), &end, id)?;
        Ok(end)
    }
}
