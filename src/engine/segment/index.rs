//! The index file `<namespace>.idx`: entries that are read in place, and two header slots that are written in turn.

use std::io;
use std::sync::{Arc, Mutex};

use super::log_end::LogEnd;
use crate::disk;
use crate::disk::{DiskFile, Window};
use crate::format::{
    ENTRY_BYTES, Format, INDEX_HEADER_BYTES, IndexEntry, SLOT_BYTES, Slot, entry_offset,
};
use crate::locks::lock;

/// The id of an index without a valid slot.
const NO_ID: u32 = 0;

/// The index of one log. Any thread reads entries; only the log's writer writes them.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) file: Arc<dyn DiskFile>,
    /// The namespace's id, which every entry's checksum covers.
    pub(crate) id: u32,
    /// The slot that was written last. The next one gets the next sequence number, and goes to the other place.
    slot: Mutex<Slot>,
}

impl Index {
    pub(crate) fn new(file: Arc<dyn DiskFile>, slot: Slot) -> Self {
        Index {
            file,
            id: slot.id,
            slot: Mutex::new(slot),
        }
    }

    /// An index as it is found. Without a valid slot, no entry in it counts.
    pub(crate) fn found(file: Arc<dyn DiskFile>, slot: Option<Slot>, format: Format) -> Self {
        let no_slot = Slot {
            format,
            clean: false,
            id: NO_ID,
            sequence: 0,
            synced_count: 0,
            log_end: 0,
            boot: 0,
            rebuilt: 0,
        };
        Index::new(file, slot.unwrap_or(no_slot))
    }

    /// As [`Index::entry`], through a window over the file of this index.
    pub(crate) fn entry_in(
        &self,
        window: &mut Window<'_>,
        n: u64,
    ) -> io::Result<Option<IndexEntry>> {
        let Some(offset) = entry_offset(n).filter(|_| self.id != NO_ID) else {
            return Ok(None);
        };
        let bytes = window.up_to(offset, ENTRY_BYTES)?;
        Ok(IndexEntry::decode(bytes, n, self.id))
    }

    /// Reads `count` entries from `first` on, as bytes, into the front of `buf`.
    pub(crate) fn read(&self, first: u64, count: usize, buf: &mut Vec<u8>) -> io::Result<()> {
        let bytes = count * ENTRY_BYTES;
        if buf.len() < bytes {
            *buf = vec![0; bytes];
        }
        let offset = entry_offset(first).ok_or(io::ErrorKind::InvalidInput)?;
        disk::read_exact(&*self.file, &mut buf[..bytes], offset)
    }

    /// Entry `n`; `None` if the bytes in its place are not that entry.
    pub(crate) fn entry(&self, n: u64) -> io::Result<Option<IndexEntry>> {
        let mut bytes = [0; ENTRY_BYTES];
        let offset = entry_offset(n).ok_or(io::ErrorKind::InvalidInput)?;
        match disk::read_up_to(&*self.file, &mut bytes, offset)? {
            ENTRY_BYTES => Ok(IndexEntry::decode(&bytes, n, self.id)),
            _ => Ok(None),
        }
    }

    /// As [`Index::read`], but fewer entries where the file ends. Returns how many bytes.
    pub(crate) fn read_some(
        &self,
        first: u64,
        count: usize,
        buf: &mut Vec<u8>,
    ) -> io::Result<usize> {
        buf.resize(buf.len().max(count * ENTRY_BYTES), 0);
        let offset = entry_offset(first).ok_or(io::ErrorKind::InvalidInput)?;
        disk::read_up_to(&*self.file, &mut buf[..count * ENTRY_BYTES], offset)
    }

    /// Writes encoded entries from `first` on.
    pub(crate) fn write(&self, first: u64, entries: &[u8]) -> io::Result<()> {
        let offset = entry_offset(first).ok_or(io::ErrorKind::InvalidInput)?;
        disk::write_all(&*self.file, entries, offset)
    }

    /// How many entries the file has places for now.
    pub(crate) fn entries(&self) -> io::Result<u64> {
        let bytes = self.file.len()?.saturating_sub(INDEX_HEADER_BYTES);
        Ok(bytes / ENTRY_BYTES as u64)
    }

    /// Cuts the index to `count` entries.
    pub(crate) fn cut(&self, count: u64) -> io::Result<()> {
        self.file
            .set_len(entry_offset(count).ok_or(io::ErrorKind::InvalidInput)?)
    }

    /// Writes the next slot, without a sync. If it is lost or torn, the slot before it still counts.
    pub(crate) fn write_slot(&self, clean: bool, synced: &LogEnd, boot: u64) -> io::Result<()> {
        let mut last = lock(&self.slot);
        let next = Slot {
            clean,
            synced_count: synced.count,
            log_end: synced.log_end,
            boot,
            rebuilt: synced.rebuilt,
            sequence: last.sequence.wrapping_add(1),
            ..*last
        };
        disk::write_all(&*self.file, &next.encode(), slot_offset(next.sequence))?;
        *last = next;
        Ok(())
    }
}

/// Where the slot with this sequence number is written: the parity chooses one of two places.
pub(crate) fn slot_offset(sequence: u64) -> u64 {
    (sequence & 1) * SLOT_BYTES as u64
}

/// The header of a new index: both slots, so that neither place holds other bytes. `slot` is the first, and the other one's
/// sequence number is one higher.
pub(crate) fn new_index_header(slot: &Slot) -> Vec<u8> {
    let other = Slot {
        sequence: slot.sequence + 1,
        ..*slot
    };
    let mut header = vec![0; INDEX_HEADER_BYTES as usize];
    for slot in [slot, &other] {
        let at = slot_offset(slot.sequence) as usize;
        header[at..at + SLOT_BYTES].copy_from_slice(&slot.encode());
    }
    header
}

/// The slot of an index file that counts; `None` if neither is valid.
pub(crate) fn read_slot(file: &dyn DiskFile) -> io::Result<Option<Slot>> {
    let mut header = [0; INDEX_HEADER_BYTES as usize];
    let have = disk::read_up_to(file, &mut header, 0)?;
    Ok(Slot::newest(&header[..have]))
}
