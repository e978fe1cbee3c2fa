//! The writer of a log: the one place where a record's size field and payload are written and its index entry is made.
//! `commit` writes the entries.

use std::io::{self, IoSlice, Read};

use super::stamp::Stamp;
use crate::disk;
use crate::format::{
    IndexEntry, MAX_LOG_BYTES, SIZE_FIELD_BYTES, checksum, checksum_append, encode_length,
};
use crate::ids::{ByteIndex, RecordNo};
use crate::segment::{Appended, LogEnd, Segment};

/// Payloads up to this size are copied behind their size fields, which costs less than the kernel's walk over
/// many small buffers. Larger payloads are written from where they are.
const COPY_BYTES: usize = 64 << 10;
/// A batch is written in pieces of about this size, which fit into the second-level cache.
const WRITE_BYTES: usize = 256 << 10;
/// A buffer that a huge batch has grown beyond this size is given back after the batch.
const KEEP_BYTES: usize = 1 << 20;

/// What only the thread that appends may touch.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The end of the records that are whole in the files: payload, entry and count. With
    /// [`Durability::Always`](crate::Durability::Always) it is ahead of what readers see while a sync runs.
    pub(crate) tail: LogEnd,
    /// Whether the index says on disk that the log is being written to.
    pub(crate) unclean: bool,
    pub(crate) closed: bool,
    /// The records of the append under way.
    pub(crate) pending: Pending,
}

impl Writer {
    /// The writer of a log that ends at `tail` and is closed in order on the disk.
    pub(crate) fn new(tail: LogEnd) -> Self {
        Writer {
            tail,
            unclean: false,
            closed: false,
            pending: Pending {
                tail,
                written: tail.log_end,
                bytes: Vec::new(),
                entries: Vec::new(),
                last: None,
            },
        }
    }

    /// Begins an append behind the tail. What an append that failed has left in memory is forgotten.
    pub(crate) fn begin(&mut self) -> &mut Pending {
        let pending = &mut self.pending;
        pending.tail = self.tail;
        pending.written = self.tail.log_end;
        pending.bytes.clear();
        pending.entries.clear();
        pending.last = None;
        pending
    }

    /// Whether the log file holds bytes of the append under way.
    pub(crate) fn has_written(&self) -> bool {
        self.pending.written > self.tail.log_end
    }

    /// Where the first record of the append under way is, or will be. `size` is the size of its payload.
    pub(crate) fn first(&self, size: u64) -> Appended {
        place(&self.tail, size)
    }
}

/// The records of the append under way. Nobody sees them, and no count counts them, before
/// [`Log::commit`](super::Log::commit): they lie behind the log's end in its file, or in memory.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The log's end with these records.
    tail: LogEnd,
    /// The log file is written up to here. `bytes` come next.
    written: u64,
    /// Size fields and payloads that are not written yet.
    bytes: Vec<u8>,
    /// The index entries of all records but the last.
    entries: Vec<u8>,
    /// The entry of the last record. It is encoded when it is known whether the batch goes on.
    last: Option<IndexEntry>,
}

/// Why [`Pending::add_from`] has stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The caller's reader has failed.
    Reader(io::Error),
    /// A write to the log has failed.
    Disk(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(e: io::Error) -> Self {
        Stopped::Disk(e)
    }
}

impl Pending {
    /// The log's end with these records.
    pub(crate) fn tail(&self) -> &LogEnd {
        &self.tail
    }

    /// Where the next record will be, if its payload has `size` bytes.
    pub(crate) fn next(&self, size: u64) -> Appended {
        place(&self.tail, size)
    }

    /// Whether a log can be so long that it takes one more record of `size` bytes.
    pub(crate) fn fits(&self, size: u64) -> bool {
        let most = MAX_LOG_BYTES - self.tail.log_end;
        size.checked_add(SIZE_FIELD_BYTES)
            .is_some_and(|bytes| bytes <= most)
    }

    /// Adds a record. Its payload is checksummed and copied in one go, while it is in the CPU's cache. A small record may
    /// stay in memory until [`Pending::flush`].
    pub(crate) fn add(&mut self, segment: &Segment, payload: &[u8], time: Stamp) -> io::Result<()> {
        let size = payload.len() as u64;
        let last_byte = payload.last().copied();
        self.add_entry(segment, size, last_byte, checksum(payload), time)?;
        self.bytes.extend_from_slice(&encode_length(size));
        if payload.len() > COPY_BYTES {
            let mut both = [IoSlice::new(&self.bytes), IoSlice::new(payload)];
            disk::write_all_vectored(&*segment.log_file, &mut both, self.written)?;
            self.bytes.clear();
            self.written = self.tail.log_end;
            return Ok(());
        }
        self.bytes.extend_from_slice(payload);
        if self.bytes.len() < WRITE_BYTES {
            return Ok(());
        }
        self.flush(segment)
    }

    /// Adds one record that is read to its end from `reader`, through `chunk`. It is the only record of its append. `time`
    /// is called with the end before it, when it has been read. Returns its size.
    pub(crate) fn add_from(
        &mut self,
        segment: &Segment,
        reader: &mut dyn Read,
        chunk: &mut [u8],
        time: impl FnOnce(&LogEnd) -> Stamp,
    ) -> Result<u64, Stopped> {
        debug_assert!(self.last.is_none() && self.bytes.is_empty());
        let start = self.tail.log_end;
        let (mut size, mut crc, mut last_byte) = (0u64, 0, None);
        loop {
            let n = disk::read_full(reader, chunk).map_err(Stopped::Reader)?;
            if n == 0 {
                break;
            }
            if !self.fits(size + n as u64) {
                return Err(Stopped::Disk(io::ErrorKind::FileTooLarge.into()));
            }
            let at = start + SIZE_FIELD_BYTES + size;
            disk::write_all(&*segment.log_file, &chunk[..n], at)?;
            crc = checksum_append(crc, &chunk[..n]);
            last_byte = Some(chunk[n - 1]);
            size += n as u64;
        }
        let time = time(&self.tail);
        self.add_entry(segment, size, last_byte, crc, time)?;
        // The size field last: until then the bytes behind the log's end cannot be taken for a record.
        disk::write_all(&*segment.log_file, &encode_length(size), start)?;
        self.written = self.tail.log_end;
        Ok(size)
    }

    /// Writes the records that are still in memory.
    pub(crate) fn flush(&mut self, segment: &Segment) -> io::Result<()> {
        if !self.bytes.is_empty() {
            disk::write_all(&*segment.log_file, &self.bytes, self.written)?;
            self.bytes.clear();
        }
        self.written = self.tail.log_end;
        Ok(())
    }

    /// The index entries of all records, of which the last one ends the batch.
    pub(crate) fn entries(&mut self, segment: &Segment) -> &[u8] {
        self.encode_last(segment, false);
        &self.entries
    }

    /// Gives buffers back that are larger than the next append is likely to need.
    pub(crate) fn shrink(&mut self) {
        if self.entries.capacity() > KEEP_BYTES {
            self.entries = Vec::new();
        }
    }

    fn add_entry(
        &mut self,
        segment: &Segment,
        size: u64,
        last_byte: Option<u8>,
        checksum: u32,
        time: Stamp,
    ) -> io::Result<()> {
        let tail = self
            .tail
            .after_record(size, last_byte, time.ns, time.known)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.encode_last(segment, true);
        self.last = Some(IndexEntry {
            log_offset: self.tail.log_end,
            time_unknown: !time.known,
            batch_goes_on: false,
            text_offset: self.tail.text_end,
            time_ns: time.ns,
            checksum,
        });
        self.tail = tail;
        Ok(())
    }

    fn encode_last(&mut self, segment: &Segment, batch_goes_on: bool) {
        if let Some(last) = self.last.take() {
            let entry = IndexEntry {
                batch_goes_on,
                ..last
            };
            let number = self.tail.count - 1;
            let encoded = entry.encode(number, segment.index.id);
            self.entries.extend_from_slice(&encoded);
        }
    }
}

/// Where the next record is in a log that ends at `end`, if its payload has `size` bytes.
fn place(end: &LogEnd, size: u64) -> Appended {
    Appended {
        record: RecordNo(end.count),
        index: ByteIndex(end.log_end),
        size,
    }
}
