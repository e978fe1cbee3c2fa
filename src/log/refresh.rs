//! A log opened for reading only, beside a writer: picking up what the writer has committed since.

use super::disk;
use super::format::{SIZE_FIELD_BYTES, Slot, decode_length, text_bytes};
use super::recovery::Survey;
use super::signal::lock;
use super::tail::Tail;
use super::walk::Claims;
use super::{Error, Log, Result, State};

impl Log {
    /// Looks at what another process has appended since this log was opened for reading, makes it visible and wakes those who wait for
    /// it. Returns the state after that. A log opened for writing is always up to date.
    ///
    /// Takes one look at the index if the writer keeps one; else, as for a Go program, what was appended is read and indexed in
    /// memory, 32 bytes a record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn refresh(&self) -> Result<State> {
        if !self.read_only {
            return Ok(self.state());
        }
        if self.advance()? {
            self.signal.notify_observers();
        }
        Ok(self.state())
    }

    fn advance(&self) -> Result<bool> {
        let mut writer = lock(&self.writer);
        let log_error = |e| Error::io("read", &self.log_path, e);
        let mut field = [0; 8];
        disk::read_up_to(&*self.file, &mut field, 0).map_err(log_error)?;
        let Some(count) = decode_length(field).filter(|count| *count > writer.tail.count) else {
            return Ok(false);
        };
        // After the count: what it counts is in the file.
        let length = self.file.len().map_err(log_error)?;
        let tail = match self.tail_from_index(&writer.tail, count, length)? {
            Some(tail) => tail,
            None => self.tail_from_log(writer.tail, count, length)?,
        };
        let advanced = tail.count > writer.tail.count;
        writer.tail = tail;
        self.signal.update(|state| tail.write_to(state));
        Ok(advanced)
    }

    /// Our own writer writes payload, entry and count in this order: what is counted has its entry.
    fn tail_from_index(&self, from: &Tail, count: u64, length: u64) -> Result<Option<Tail>> {
        let log_error = |e| Error::io("read", &self.log_path, e);
        let entry = self
            .index
            .entry(count - 1)
            .map_err(|e| Error::io("read", &self.index_path, e))?;
        let Some(entry) = entry.filter(|entry| entry.log_offset >= from.log_end) else {
            return Ok(None);
        };
        let mut field = [0; 8];
        if disk::read_up_to(&*self.file, &mut field, entry.log_offset).map_err(log_error)? < 8 {
            return Ok(None);
        }
        let payload = entry.log_offset + SIZE_FIELD_BYTES;
        let inside = |size: &u64| payload.checked_add(*size).is_some_and(|end| end <= length);
        let Some(size) = decode_length(field).filter(inside) else {
            return Ok(None);
        };
        let mut last = [0];
        if size > 0 {
            disk::read_exact(&*self.file, &mut last, payload + size - 1).map_err(log_error)?;
        }
        Ok(Some(Tail {
            count,
            log_end: payload + size,
            text_end: entry
                .text_offset
                .saturating_add(text_bytes(size, (size > 0).then_some(last[0]))),
            time_ns: entry.time_ns,
            time_known: !entry.time_unknown,
        }))
    }

    /// Another writer leaves the index behind: the entries that are missing are made in memory.
    fn tail_from_log(&self, from: Tail, count: u64, length: u64) -> Result<Tail> {
        let survey = Survey {
            namespace: &self.namespace,
            log_path: &self.log_path,
            index_path: &self.index_path,
            log: &*self.file,
            index: &*self.index.file,
            slot: Some(Slot {
                format: self.format,
                clean: false,
                id: self.index.id,
                sequence: 0,
                synced_count: 0,
                log_end: self.format.header_bytes(),
                boot: self.boot,
            }),
            boot: self.boot,
            read_only: true,
            repair: false,
        };
        // Beside a writer, what does not look whole yet is looked at again the next time.
        let claims = Claims {
            length,
            count,
            unsynced_from: 0,
            lossy: false,
        };
        let walked = survey.walk(&claims, from, |_, _| Ok(()))?;
        if let Some(stale) = walked.stale {
            survey.rewrite(&claims, stale, walked.tail.count, self.index.id)?;
        }
        Ok(walked.tail)
    }
}
