//! Appending a record of any size at constant memory.

use std::io::{self, Read};
use std::time::SystemTime;

use super::log::Log;
use super::log::entry_at;
use super::stamp::Stamps;
use super::undo::Wrote;
use crate::disk;
use crate::error::{Error, Result};
use crate::format::{MAX_LOG_BYTES, SIZE_FIELD_BYTES, checksum_append, encode_length};
use crate::ids::{ByteIndex, RecordNo};
use crate::locks::lock;
use crate::options::Durability;
use crate::segment::Appended;
use crate::segment::to_ns;

/// What [`Log::append_from`] reads and writes at a time.
const CHUNK_BYTES: usize = 1 << 20;

impl Log {
    /// Appends one record of any size, read to its end from `reader` at constant memory. Nothing is visible
    /// before that.
    ///
    /// Other writers wait meanwhile, so `reader` should be a file rather than a connection.
    /// [`Options::max_record_bytes`] does not apply. The observers are the caller's to notify.
    ///
    /// # Errors
    /// [`Error::Input`] if `reader` fails: nothing was stored. Else as [`Log::append_batch`].
    ///
    /// [`Options::max_record_bytes`]: crate::Options::max_record_bytes
    pub fn append_from(&self, reader: &mut dyn Read) -> Result<Appended> {
        self.append_from_stamped(reader, Stamps::Now)
    }

    /// As [`Log::append_from`], with this time.
    pub(crate) fn append_from_stamped(
        &self,
        reader: &mut dyn Read,
        stamps: Stamps<'_>,
    ) -> Result<Appended> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut guard = lock(&self.writer);
        let writer = &mut *guard;
        self.check_writable(writer)?;
        self.mark_unclean(writer)?;
        let start = writer.tail.log_end;
        let (mut size, mut crc, mut last) = (0u64, 0, None);
        loop {
            let n = match disk::read_full(reader, &mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(source) => {
                    // The log is as it was, unless taking back what was written fails: that error is the
                    // graver one.
                    return Err(match self.undo(writer, Wrote::Records) {
                        Ok(()) => Error::Input { source },
                        Err(e) => e,
                    });
                }
            };
            let at = start + SIZE_FIELD_BYTES + size;
            if at + n as u64 > MAX_LOG_BYTES {
                let e = io::ErrorKind::FileTooLarge.into();
                return Err(self.roll_back(writer, e, Wrote::Records));
            }
            if let Err(e) = disk::write_all(&*self.segment.log_file, &chunk[..n], at) {
                return Err(self.roll_back(writer, e, Wrote::Records));
            }
            crc = checksum_append(crc, &chunk[..n]);
            last = Some(chunk[n - 1]);
            size += n as u64;
        }
        let time = stamps.of(0, to_ns(SystemTime::now()), &writer.tail);
        let Some(tail) = writer.tail.after_record(size, last, time.ns, time.known) else {
            return Err(self.roll_back(writer, io::ErrorKind::FileTooLarge.into(), Wrote::Records));
        };
        writer.entries.clear();
        writer.entries.extend_from_slice(
            &entry_at(&writer.tail, time, crc).encode(tail.count - 1, self.segment.index.id),
        );
        let appended = Appended {
            record: RecordNo(tail.count - 1),
            index: ByteIndex(start),
            size,
        };
        // The size field last: until then the bytes behind the log's end cannot be taken for a record.
        if let Err(e) = disk::write_all(&*self.segment.log_file, &encode_length(size), start) {
            return Err(self.roll_back(writer, e, Wrote::Records));
        }
        self.commit(guard, tail)?;
        if self.sync == Durability::Always {
            self.sync_through(tail.count)?;
        }
        Ok(appended)
    }
}
