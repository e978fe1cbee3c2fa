//! A log opened for reading only, beside a writer: picking up what the writer has committed since.

use super::disk;
use super::format::{decode_length, text_bytes};
use super::{Error, Log, Result, State};

impl Log {
    /// Looks at what another process has appended since this log was opened for reading, makes it visible and wakes those who wait for it.
    /// Returns the state after that. A log opened for writing is always up to date.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn refresh(&self) -> Result<State> {
        if !self.read_only {
            return Ok(self.state());
        }
        let advanced = self.refresh_from_index()?;
        if advanced {
            self.signal.notify_observers();
        }
        Ok(self.state())
    }

    /// The writer writes payload, entry and count in this order: what is counted has its entry.
    fn refresh_from_index(&self) -> Result<bool> {
        let mut writer = super::signal::lock(&self.writer);
        let log_error = |e| Error::io("read", &self.log_path, e);
        let mut field = [0; 8];
        disk::read_up_to(&*self.file, &mut field, 0).map_err(log_error)?;
        let Some(count) = decode_length(field).filter(|count| *count > writer.tail.count) else {
            return Ok(false);
        };
        let entry = self
            .index
            .entry(count - 1)
            .map_err(|e| Error::io("read", &self.index_path, e))?;
        let Some(entry) = entry.filter(|entry| entry.log_offset >= writer.tail.log_end) else {
            return Ok(false);
        };
        disk::read_exact(&*self.file, &mut field, entry.log_offset).map_err(log_error)?;
        let length = self.file.len().map_err(log_error)?;
        let payload = entry.log_offset + super::format::SIZE_FIELD_BYTES;
        let Some(size) = decode_length(field)
            .filter(|size| payload.checked_add(*size).is_some_and(|end| end <= length))
        else {
            return Ok(false);
        };
        let mut last = [0];
        if size > 0 {
            disk::read_exact(&*self.file, &mut last, payload + size - 1).map_err(log_error)?;
        }
        writer.tail = super::log::Tail {
            count,
            log_end: payload + size,
            text_end: entry.text_offset + text_bytes(size, (size > 0).then_some(last[0])),
            time_ns: entry.time_ns,
            time_known: !entry.time_unknown,
        };
        let tail = writer.tail;
        self.signal.update(|state| tail.write_to(state));
        Ok(true)
    }
}
