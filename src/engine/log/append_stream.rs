//! Appending a record of any size at constant memory.

use std::io::Read;
use std::time::SystemTime;

use super::log::Log;
use super::stamp::Stamps;
use super::undo::Wrote;
use super::writer::Stopped;
use crate::error::{Error, Result};
use crate::locks::lock;
use crate::segment::{Appended, to_ns};

/// What [`Log::append_from`] reads and writes at a time.
const CHUNK_BYTES: usize = 1 << 20;

impl Log {
    /// Writes what `reader` gives as one record, and commits it. Returns where it is, and how many records have to be on
    /// the disk for it to be there.
    pub(super) fn store_stream(
        &self,
        reader: &mut dyn Read,
        stamps: Stamps<'_>,
    ) -> Result<(Appended, u64)> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut guard = lock(&self.writer);
        let writer = &mut *guard;
        self.check_writable(writer)?;
        self.mark_unclean(writer)?;
        let pending = writer.begin();
        let time = |before: &_| stamps.of(0, to_ns(SystemTime::now()), before);
        let size = match pending.add_from(&self.segment, reader, &mut chunk, time) {
            Ok(size) => size,
            Err(Stopped::Reader(source)) => {
                // The log is as it was, unless undoing fails: that is the graver error.
                self.undo(writer, Wrote::Records)?;
                return Err(Error::Input { source });
            }
            Err(Stopped::Disk(e)) => return Err(self.roll_back(writer, e, Wrote::Records)),
        };
        let appended = writer.first(size);
        let count = self.commit(guard)?;
        Ok((appended, count))
    }
}
