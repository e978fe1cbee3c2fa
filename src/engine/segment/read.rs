//! Reading a segment: the place of one record, whole runs of records, parts of large ones.

use std::io;

use super::run::{Entry, MAX_RUN_BYTES, Records, Run, Scratch};
use super::segment::Segment;
use super::state::State;
use crate::disk;
use crate::disk::may_wait;
use crate::error::{Error, Result};
use crate::format::{
    ENTRY_BYTES, IndexEntry, SIZE_FIELD_BYTES, checksum, checksum_append, decode_length,
    entry_offset, text_bytes,
};
use crate::ids::RecordNo;

/// The most records in one run: their entries are 128 KiB of index.
const MAX_RUN_RECORDS: u64 = 4096;
/// What is read at a time where a record is streamed through a buffer.
const PIECE_BYTES: usize = 64 << 10;

impl Segment {
    /// Where record `n` is. One read of the index.
    pub(crate) fn entry(&self, state: &State, n: RecordNo) -> Result<Entry> {
        if n.0 >= state.count {
            return Err(Error::NoSuchRecord {
                record: n,
                count: state.count,
            });
        }
        let mut pair = [0; 2 * ENTRY_BYTES];
        let wanted = if n.0 + 1 < state.count {
            2 * ENTRY_BYTES
        } else {
            ENTRY_BYTES
        };
        let at = entry_offset(n.0).unwrap_or(u64::MAX);
        let have = disk::read_up_to(&*self.index.file, &mut pair[..wanted], at)
            .map_err(|e| self.index_error(e))?;
        let id = self.index.id;
        let raw = IndexEntry::decode(&pair[..have.min(ENTRY_BYTES)], n.0, id)
            .ok_or_else(|| self.bad_entry(n))?;
        let next = IndexEntry::decode(&pair[have.min(ENTRY_BYTES)..have], n.0 + 1, id);
        self.entry_between(n, &raw, next.as_ref(), state)
    }

    /// Reads whole records from `first` on, as many as fit into about `want_bytes` (at least one, at most 1 MiB), with one read
    /// of the index and one of the log, and checks them. A damaged record ends the run before it; if it is `first`, it is an
    /// error.
    pub(crate) fn read_run<'a>(
        &self,
        state: &State,
        first: RecordNo,
        want_bytes: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Run<'a>> {
        if first.0 >= state.count {
            return Err(Error::NoSuchRecord {
                record: first,
                count: state.count,
            });
        }
        let want = want_bytes.min(MAX_RUN_BYTES) as u64;
        if let Some(large) = self.plan_run(first, want, state, scratch)? {
            return Ok(Run::Large(large));
        }
        let start = first_index(&scratch.entries);
        let length = scratch.entries.last().map_or(0, |last| last.end() - start) as usize;
        if scratch.bytes.len() < length {
            scratch.bytes = vec![0; length];
        }
        let have = disk::read_up_to(&*self.log_file, &mut scratch.bytes[..length], start)
            .map_err(|e| self.log_error(e))?;
        let good = scratch
            .entries
            .iter()
            .take_while(|entry| is_whole(entry, start, &scratch.bytes[..have]))
            .count();
        if good == 0 {
            return Err(self.damaged(first, start, "its bytes are not those that were written"));
        }
        scratch.entries.truncate(good);
        Ok(Run::Records(Records {
            entries: &scratch.entries,
            bytes: &scratch.bytes,
            next: 0,
        }))
    }

    /// Fills `scratch.entries` with the entries of a run, at least one. If the first record is too large for a run, returns its
    /// entry instead.
    fn plan_run(
        &self,
        first: RecordNo,
        want: u64,
        state: &State,
        scratch: &mut Scratch,
    ) -> Result<Option<Entry>> {
        scratch.entries.clear();
        let left = state.count - first.0;
        let average = (state.log_end / state.count).max(SIZE_FIELD_BYTES);
        let planned = (want / average + 1).min(MAX_RUN_RECORDS).min(left);
        // The entry behind the run tells where its last record ends, unless that is the end of the log.
        let entries = planned + u64::from(planned < left);
        match self
            .index
            .read(first.0, entries as usize, &mut scratch.index)
        {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(self.bad_entry(first)),
            Err(e) => return Err(self.index_error(e)),
        }
        let raw = |i: u64| {
            let at = i as usize * ENTRY_BYTES;
            IndexEntry::decode(
                &scratch.index[at..at + ENTRY_BYTES],
                first.0 + i,
                self.index.id,
            )
        };
        let mut current = raw(0).ok_or_else(|| self.bad_entry(first))?;
        let start = current.log_offset;
        for i in 0..planned {
            let next = if i + 1 < entries { raw(i + 1) } else { None };
            let entry =
                match self.entry_between(RecordNo(first.0 + i), &current, next.as_ref(), state) {
                    Ok(entry) => entry,
                    Err(e) if i == 0 || e.would_wait() => return Err(e),
                    Err(_) => break,
                };
            if i == 0 && entry.size > MAX_RUN_BYTES as u64 {
                return Ok(Some(entry));
            }
            if i > 0 && entry.end() - start > want {
                break;
            }
            scratch.entries.push(entry);
            match next {
                Some(next) => current = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// Reads a part of a payload, from `offset` in it, as it is on disk, unchecked. Returns how many bytes: fewer than `buf`
    /// holds only at the end of the payload.
    pub(crate) fn read_part(&self, entry: &Entry, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = entry.size.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let at = entry.index.0 + SIZE_FIELD_BYTES + offset.min(entry.size);
        let have = disk::read_up_to(&*self.log_file, &mut buf[..wanted], at)
            .map_err(|e| self.log_error(e))?;
        if have < wanted {
            return Err(self.damaged(entry.record, at, "the log ends before the record does"));
        }
        Ok(wanted)
    }

    /// Reads a record of any size through a small buffer, gives each piece of it to `each`, in order, and checks the whole.
    /// What `each` has got counts only if the result is `Ok`.
    pub(crate) fn verify_record(&self, entry: &Entry, mut each: impl FnMut(&[u8])) -> Result<()> {
        let start = entry.index.0;
        if entry.size > MAX_RUN_BYTES as u64 && !may_wait() {
            return Err(self.log_error(io::ErrorKind::WouldBlock.into()));
        }
        let mut field = [0; SIZE_FIELD_BYTES as usize];
        let have =
            disk::read_up_to(&*self.log_file, &mut field, start).map_err(|e| self.log_error(e))?;
        if have < field.len() || decode_length(field) != Some(entry.size) {
            return Err(self.damaged(
                entry.record,
                start,
                "its size field is not what was written",
            ));
        }
        let mut piece = vec![
            0;
            usize::try_from(entry.size)
                .unwrap_or(usize::MAX)
                .min(PIECE_BYTES)
        ];
        let (mut done, mut crc) = (0, 0);
        while done < entry.size {
            let n = self.read_part(entry, done, &mut piece)?;
            crc = checksum_append(crc, &piece[..n]);
            each(&piece[..n]);
            done += n as u64;
        }
        if crc != entry.checksum {
            return Err(self.damaged(
                entry.record,
                start,
                "its bytes are not those that were written",
            ));
        }
        Ok(())
    }

    /// The record between its own index entry and the next one. Without a next entry, the record ends where the log ends. If the
    /// next entry is there but damaged, the size field in the log says where the record ends.
    fn entry_between(
        &self,
        n: RecordNo,
        raw: &IndexEntry,
        next: Option<&IndexEntry>,
        state: &State,
    ) -> Result<Entry> {
        let (log_end, text_end) = match next {
            // A forged entry must not make a reader allocate a buffer larger than the log.
            Some(next) if next.log_offset > state.log_end => return Err(self.bad_entry(n)),
            Some(next) => (next.log_offset, next.text_offset),
            None if n.0 + 1 == state.count => (state.log_end, state.text_end),
            None => self.end_from_log(n, raw, state)?,
        };
        let header_bytes = self.format.header_bytes();
        Entry::new(n.0, raw, header_bytes, log_end, text_end).ok_or_else(|| self.bad_entry(n))
    }

    /// Where the record and its text end, by the size field in the log.
    fn end_from_log(&self, n: RecordNo, raw: &IndexEntry, state: &State) -> Result<(u64, u64)> {
        let mut field = [0; SIZE_FIELD_BYTES as usize];
        self.read_known(n, &mut field, raw.log_offset)?;
        let end = decode_length(field)
            .and_then(|size| {
                raw.log_offset
                    .checked_add(SIZE_FIELD_BYTES)?
                    .checked_add(size)
            })
            .filter(|end| *end <= state.log_end)
            .ok_or_else(|| {
                self.damaged(n, raw.log_offset, "its size field is not what was written")
            })?;
        let size = end - raw.log_offset - SIZE_FIELD_BYTES;
        let mut last = [0];
        if size > 0 {
            self.read_known(n, &mut last, end - 1)?;
        }
        let text = text_bytes(size, (size > 0).then_some(last[0]));
        Ok((end, raw.text_offset.saturating_add(text)))
    }

    /// Fills `buf` from a place in the log where record `n` has to be. If the log ends before, the record is damaged.
    fn read_known(&self, n: RecordNo, buf: &mut [u8], at: u64) -> Result<()> {
        match disk::read_exact(&*self.log_file, buf, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(n, at, "the log ends before the record does"))
            }
            result => result.map_err(|e| self.log_error(e)),
        }
    }
}

fn first_index(entries: &[Entry]) -> u64 {
    entries.first().map_or(0, |entry| entry.index.0)
}

/// Whether size field and payload of a record are as its entry says. `bytes` are those of the log from `start` on.
fn is_whole(entry: &Entry, start: u64, bytes: &[u8]) -> bool {
    let at = (entry.index.0 - start) as usize;
    let Some(record) = bytes.get(at..at + (SIZE_FIELD_BYTES + entry.size) as usize) else {
        return false;
    };
    let (field, payload) = record.split_at(SIZE_FIELD_BYTES as usize);
    field == entry.size.to_le_bytes() && checksum(payload) == entry.checksum
}
