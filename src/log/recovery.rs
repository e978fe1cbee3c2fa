//! Opening a log: at once when it was closed in order, else by looking at what is there and deciding what to keep.
//!
//! `docs/format.md` gives the reasons. In short: everything up to the last sync is there and stays; behind it a record is kept if it is
//! whole and right; the first that is not ends the log, and what lies behind that end is cut off before anything is appended. What
//! cannot be explained by a crash is damage: the log is refused, and no byte of it changed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{self, Disk, DiskFile, OpenMode};
use super::format::{
    ENTRY_BYTES, INDEX_HEADER_BYTES, SIZE_FIELD_BYTES, Slot, decode_length, encode_length,
    entry_offset,
};
use super::index::{Index, Overlay, read_slot, slot_offset};
use super::tail::Tail;
use super::walk::Claims;
use super::window::Window;
use super::{Error, Format, Namespace, Options, RecordNo, Result};

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The log was closed in order and nobody has touched it since: nothing was looked at but its end.
    pub clean: bool,
    /// How many records were kept.
    pub records: u64,
    /// Records whose index entries were made from the log, from this one on; their times are not known.
    pub rebuilt_from: Option<RecordNo>,
    /// How many entries were made so.
    pub rebuilt: u64,
    /// Records that are kept, though their bytes are not those that were written: reading them gives
    /// [`Error::Damaged`].
    pub damaged: u64,
    /// What was cut off the end of the log.
    pub cut: Option<Cut>,
    /// The count that the log's header claimed, if it was not the number of records kept.
    pub claimed: Option<i64>,
}

/// What recovery cut off the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now, in bytes from its start.
    pub offset: u64,
    /// How many bytes were behind that.
    pub bytes: u64,
    /// What they were.
    pub what: &'static str,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kept {} records", self.records)?;
        if let Some(claimed) = self.claimed {
            write!(f, " (its header said {claimed})")?;
        }
        if let Some(from) = self.rebuilt_from {
            write!(
                f,
                ", made the index again for {} from record {from} on (their times are not known)",
                self.rebuilt
            )?;
        }
        if let Some(Cut {
            offset,
            bytes,
            what,
        }) = self.cut
        {
            write!(f, ", cut {bytes} bytes at byte {offset}: {what}")?;
        }
        if self.damaged > 0 {
            write!(f, ", {} of them damaged", self.damaged)?;
        }
        Ok(())
    }
}

/// A log that is in order, and what it took.
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) index: Index,
    pub(crate) format: Format,
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
}

/// Opens the log of `namespace` and puts it in order. `id` chooses an id for a namespace that has none, or one that is taken.
pub(crate) fn open(
    options: &Options,
    namespace: &Namespace,
    id: &dyn Fn(Option<u32>) -> u32,
) -> Result<Opened> {
    let log_path = namespace.log_path(&options.logs_dir);
    let index_path = namespace.index_path(&options.logs_dir);
    let disk = &*options.disk;
    let mode = if options.read_only {
        OpenMode::Read
    } else {
        OpenMode::Write
    };
    let file = disk
        .open(&log_path, mode)
        .map_err(|e| Error::io("open", &log_path, e))?;
    let on_disk = match disk.open(&index_path, mode) {
        Ok(index) => Some(index),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("open", &index_path, e)),
    };
    let slot = match &on_disk {
        Some(index) => read_slot(&**index).map_err(|e| Error::io("read", &index_path, e))?,
        None => None,
    };
    if let Some(Slot { format, .. }) = slot
        && format != Format::Count8
    {
        return Err(Error::UnsupportedFormat {
            namespace: namespace.to_string(),
            format,
        });
    }
    let index: Arc<dyn DiskFile> = match on_disk {
        on_disk if options.read_only => Arc::new(Overlay::new(on_disk)),
        Some(index) => index,
        None => create_index(disk, &options.logs_dir, &index_path)?,
    };
    let survey = Survey {
        namespace,
        log_path: &log_path,
        index_path: &index_path,
        log: &*file,
        index: &*index,
        slot,
        boot: disk.boot_id(),
        read_only: options.read_only,
        repair: options.repair,
    };
    let new_id = id(slot.map(|slot| slot.id));
    let (tail, recovery, sequence) = survey.run(new_id)?;
    if recovery.cut.is_some()
        || recovery.claimed.is_some()
        || recovery.rebuilt > 0
        || recovery.damaged > 0
    {
        log::warn!("namespace '{namespace}': {recovery}");
    }
    let last = Slot {
        format: Format::Count8,
        clean: true,
        id: new_id,
        sequence,
        synced_count: tail.count,
        log_end: tail.log_end,
        boot: survey.boot,
    };
    Ok(Opened {
        index: Index::new(index, last),
        file,
        format: Format::Count8,
        tail,
        recovery,
    })
}

fn create_index(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<Arc<dyn DiskFile>> {
    let index = disk
        .open(path, OpenMode::Create)
        .map_err(|e| Error::io("create", path, e))?;
    disk.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
    Ok(index)
}

/// Writes the header of a new index, both slots, so that neither is left to chance.
pub(crate) fn new_index_header(slot: &Slot) -> Vec<u8> {
    let other = Slot {
        sequence: slot.sequence + 1,
        ..*slot
    };
    let mut header = vec![0; INDEX_HEADER_BYTES as usize];
    for slot in [slot, &other] {
        let at = slot_offset(slot.sequence) as usize;
        header[at..at + super::format::SLOT_BYTES].copy_from_slice(&slot.encode());
    }
    header
}

/// A log and its index as they are found.
pub(crate) struct Survey<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) log_path: &'a Path,
    pub(crate) index_path: &'a Path,
    pub(crate) log: &'a dyn DiskFile,
    pub(crate) index: &'a dyn DiskFile,
    pub(crate) slot: Option<Slot>,
    pub(crate) boot: u64,
    pub(crate) read_only: bool,
    pub(crate) repair: bool,
}

impl Survey<'_> {
    /// Puts the log in order, and returns its tail and the sequence number of the slot that counts.
    fn run(&self, id: u32) -> Result<(Tail, Recovery, u64)> {
        let length = self.log.len().map_err(|e| self.log_error(e))?;
        let index_length = self.index.len().map_err(|e| self.index_error(e))?;
        let header = Format::Count8.header_bytes();
        let mut field = [0; 8];
        if length >= header {
            disk::read_exact(self.log, &mut field, 0).map_err(|e| self.log_error(e))?;
        } else if self.slot.is_some_and(|slot| slot.synced_count > 0) && !self.repair {
            return Err(self.damaged(
                None,
                length,
                "the file ends inside its header, but its index knows of records",
            ));
        }
        let sequence = self.slot.map_or(0, |slot| slot.sequence);
        let same_id = self.slot.is_some_and(|slot| slot.id == id);
        if same_id && let Some(tail) = self.clean_tail(length, index_length, field)? {
            let recovery = Recovery {
                clean: true,
                records: tail.count,
                ..Recovery::default()
            };
            return Ok((tail, recovery, sequence));
        }

        let base = self.base(length)?;
        let claimed = i64::from_le_bytes(field);
        let mut claims = Claims {
            length,
            count: self.believable_count(field, &base, length)?,
            unsynced_from: u64::MAX,
            lossy: false,
        };
        if let Some(slot) = self.slot.filter(|slot| !slot.clean) {
            claims.unsynced_from = slot.synced_count;
            claims.lossy = slot.boot == 0 || slot.boot != self.boot;
        }
        let walked = match self.walk(&claims, base, |_, _| Ok(())) {
            Ok(walked) => walked,
            Err(e @ Error::Damaged { .. }) => return Err(self.other_format(length)?.unwrap_or(e)),
            Err(e) => return Err(e),
        };
        let end = walked.tail.log_end;
        if self.slot.is_none() && length > end && !self.repair {
            // Nothing of ours vouches for the format: before bytes are cut, see if they make sense in another one.
            if let Some(e) = self.other_format(length)? {
                return Err(e);
            }
        }
        let recovery = Recovery {
            clean: false,
            records: walked.tail.count,
            rebuilt_from: walked.rebuilt_from,
            rebuilt: walked.rebuilt,
            damaged: walked.damaged,
            cut: (length > end)
                .then(|| Cut {
                    offset: end,
                    bytes: length - end,
                    what: walked.what,
                })
                .or_else(|| {
                    (0 < length && length < header).then_some(Cut {
                        offset: 0,
                        bytes: length,
                        what: "a torn header",
                    })
                }),
            claimed: (claimed != walked.tail.count.cast_signed()).then_some(claimed),
        };
        let stale = if same_id {
            walked.stale
        } else {
            Some(Tail::empty(Format::Count8))
        };
        if self.read_only {
            let from_walk = walked
                .stale
                .map(|from| self.rewrite(&claims, from, walked.tail.count, id));
            from_walk.transpose()?;
            let recovery = Recovery {
                cut: None,
                ..recovery
            };
            return Ok((walked.tail, recovery, sequence));
        }
        if let Some(from) = stale {
            self.rewrite(&claims, from, walked.tail.count, id)?;
        }
        let sequence = self.settle(&claims, &walked.tail, index_length, id)?;
        Ok((walked.tail, recovery, sequence))
    }

    /// The tail of a log that was closed in order and not touched since, found without looking at anything but its end.
    fn clean_tail(
        &self,
        length: u64,
        index_length: u64,
        count_field: [u8; 8],
    ) -> Result<Option<Tail>> {
        let Some(slot) = self.slot.filter(|slot| slot.clean) else {
            return Ok(None);
        };
        if length != slot.log_end
            || decode_length(count_field) != Some(slot.synced_count)
            || entry_offset(slot.synced_count) != Some(index_length)
        {
            return Ok(None);
        }
        self.tail_at(&slot)
    }

    /// The tail at the slot's count, if the last record before it is where the slot says.
    fn tail_at(&self, slot: &Slot) -> Result<Option<Tail>> {
        let empty = Tail::empty(Format::Count8);
        let Some(n) = slot.synced_count.checked_sub(1) else {
            return Ok((slot.log_end == empty.log_end).then_some(empty));
        };
        let Some(entry) = self.entry(&mut Window::new(self.index, ENTRY_BYTES), n)? else {
            return Ok(None);
        };
        let Some(size) = slot
            .log_end
            .checked_sub(entry.log_offset)
            .and_then(|record| record.checked_sub(SIZE_FIELD_BYTES))
        else {
            return Ok(None);
        };
        let mut window = Window::new(self.log, SIZE_FIELD_BYTES as usize);
        let field = window
            .get(entry.log_offset, 8)
            .map_err(|e| self.log_error(e))?;
        if field != encode_length(size) {
            // A flipped bit in the size field, or an index that is not this log's: the payload tells.
            let (crc, _) =
                self.checksum_of(&mut window, entry.log_offset + SIZE_FIELD_BYTES, size)?;
            if crc != entry.checksum {
                return Ok(None);
            }
        }
        let last = self.last_byte(&mut window, entry.log_offset + SIZE_FIELD_BYTES, size)?;
        let before = Tail {
            count: n,
            log_end: entry.log_offset,
            text_end: entry.text_offset,
            time_ns: entry.time_ns,
            time_known: false,
        };
        Ok(before.with(size, last, entry.time_ns, !entry.time_unknown))
    }

    /// Where a walk starts: at the last sync, if index and log agree there, else at the beginning.
    fn base(&self, length: u64) -> Result<Tail> {
        if let Some(slot) = self.slot
            && slot.log_end <= length
            && let Some(tail) = self.tail_at(&slot)?
        {
            return Ok(tail);
        }
        Ok(Tail::empty(Format::Count8))
    }

    /// The header's count, or what the index knows where the header cannot be right.
    fn believable_count(&self, field: [u8; 8], base: &Tail, length: u64) -> Result<u64> {
        match (decode_length(field), self.slot) {
            // Closed in order and nothing behind it: a count that differs is a damaged count.
            (_, Some(slot))
                if slot.clean && base.count == slot.synced_count && length == slot.log_end =>
            {
                Ok(slot.synced_count)
            }
            (Some(count), _) => Ok(count),
            // Records behind the last sync are then kept by their checksums alone.
            (None, Some(slot)) if base.count == slot.synced_count => Ok(slot.synced_count),
            (None, _) if self.repair => Ok(0),
            (None, _) => match self.other_format(length)? {
                Some(e) => Err(e),
                None => Err(self.damaged(None, 0, "the count is negative")),
            },
        }
    }

    /// Brings both files to `tail`, on the disk, and marks them so. In this order, a second crash anywhere in it finds nothing worse:
    /// entries before the cut they account for, the slot that vouches for all of it last.
    fn settle(&self, claims: &Claims, tail: &Tail, index_length: u64, id: u32) -> Result<u64> {
        let written = |path| move |e| Error::io("mend", path, e);
        let whole = entry_offset(tail.count).unwrap_or(u64::MAX);
        if index_length != whole {
            self.index
                .set_len(whole)
                .map_err(written(self.index_path))?;
        }
        // What was not known to be on the disk may be in memory only, if it was a sync that failed. The system has told so once and counts it as
        // written since: the next sync would succeed and bring nothing of it to the disk.
        if let Some(slot) = self.slot {
            let from = entry_offset(slot.synced_count).unwrap_or(u64::MAX);
            disk::write_again(self.index, from, whole).map_err(written(self.index_path))?;
        }
        self.index.sync_data().map_err(written(self.index_path))?;
        if claims.length > tail.log_end || claims.length < Format::Count8.header_bytes() {
            self.log
                .set_len(tail.log_end)
                .map_err(written(self.log_path))?;
        }
        if let Some(slot) = self.slot {
            disk::write_again(self.log, slot.log_end, tail.log_end)
                .map_err(written(self.log_path))?;
        }
        disk::write_all(self.log, &encode_length(tail.count), 0).map_err(written(self.log_path))?;
        self.log.sync_data().map_err(written(self.log_path))?;
        let slot = Slot {
            format: Format::Count8,
            clean: true,
            id,
            sequence: self.slot.map_or(0, |slot| slot.sequence.wrapping_add(1)),
            synced_count: tail.count,
            log_end: tail.log_end,
            boot: self.boot,
        };
        let (bytes, offset, sequence) = match self.slot {
            Some(_) => (
                slot.encode().to_vec(),
                slot_offset(slot.sequence),
                slot.sequence,
            ),
            None => (new_index_header(&slot), 0, slot.sequence + 1),
        };
        disk::write_all(self.index, &bytes, offset).map_err(written(self.index_path))?;
        self.index.sync_data().map_err(written(self.index_path))?;
        Ok(sequence)
    }

    pub(crate) fn damaged(&self, record: Option<RecordNo>, offset: u64, what: &str) -> Error {
        Error::Damaged {
            namespace: self.namespace.to_string(),
            record,
            offset,
            what: format!(
                "{what} (no byte was changed; copy the file, then open it with the repair option, which keeps the {} before \
                 that and cuts the rest)",
                record.map_or("records".to_owned(), |n| format!("{n} records"))
            ),
        }
    }

    pub(crate) fn log_error(&self, e: io::Error) -> Error {
        Error::io("read", self.log_path, e)
    }

    pub(crate) fn index_error(&self, e: io::Error) -> Error {
        Error::io("read", self.index_path, e)
    }
}
