//! Appending what another log holds, with the times of its records.

use std::io::Read;
use std::time::SystemTime;

use super::append::{AppendOptions, Payloads};
use super::log::Log;
use crate::error::Result;
use crate::segment::Appended;

impl Log {
    /// As [`Log::append_batch`], for records of another log, each with [its time there](AppendOptions::times).
    ///
    /// # Errors
    /// As [`Log::append_with`].
    pub fn append_copies(&self, records: &[(&[u8], Option<SystemTime>)]) -> Result<Appended> {
        let (payloads, times): (Vec<_>, Vec<_>) = records.iter().copied().unzip();
        self.append_with(
            Payloads::Batch(&payloads),
            AppendOptions::new().times(&times),
        )
    }

    /// As [`Log::append_from`], for one record of another log, with [its time there](AppendOptions::times).
    ///
    /// # Errors
    /// As [`Log::append_with`].
    pub fn append_copy_from(
        &self,
        reader: &mut dyn Read,
        time: Option<SystemTime>,
    ) -> Result<Appended> {
        self.append_with(
            Payloads::Reader(reader),
            AppendOptions::new().times(&[time]),
        )
    }
}
