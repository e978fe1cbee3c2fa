//! Appending what another log holds, with the times of its records.

use std::io::Read;
use std::time::SystemTime;

use super::log::Log;
use super::stamp::Stamps;
use crate::error::Result;
use crate::segment::Appended;

impl Log {
    /// As [`Log::append_batch`], for records of another log, each with the time it was appended there; `None`
    /// where that is not known. Such a record counts as [rebuilt](crate::Details::rebuilt) here too: its
    /// checksum tells what was found when it was copied.
    ///
    /// Times never go back: one that is before that of the record before becomes the same. One that is still
    /// to come becomes the present.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append_copies(&self, records: &[(&[u8], Option<SystemTime>)]) -> Result<Appended> {
        let (payloads, times): (Vec<_>, Vec<_>) = records.iter().copied().unzip();
        let appended = self.append_stamped(&payloads, Stamps::Copied(&times))?;
        self.notify_observers();
        Ok(appended)
    }

    /// As [`Log::append_from`], for one record of another log, with a time as in [`Log::append_copies`].
    ///
    /// # Errors
    /// As [`Log::append_from`].
    pub fn append_copy_from(
        &self,
        reader: &mut dyn Read,
        time: Option<SystemTime>,
    ) -> Result<Appended> {
        let appended = self.append_from_stamped(reader, Stamps::Copied(&[time]))?;
        self.notify_observers();
        Ok(appended)
    }
}
