//! Opening a log: at once when it was closed in order, else by looking at what is there and deciding what to
//! keep.
//!
//! `docs/format.md` gives the reasons. In short: everything up to the last sync is there and stays; behind it
//! a record is kept if it is whole and right; the first that is not ends the log, and what lies behind that
//! end is cut off before anything is appended. What cannot be explained by a crash is damage: the log is
//! refused, and no byte of it changed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::detect::{Verdict, detect, read_header};
use super::disk::{self, Disk, DiskFile, OpenMode};
use super::files::Files;
use super::format::{
    ENTRY_BYTES, Header, INDEX_HEADER_BYTES, MAX_HEADER_BYTES, SIZE_FIELD_BYTES, Slot,
    encode_length, entry_offset,
};
use super::index::{Index, Overlay, new_index_header, slot_offset};
use super::tail::Tail;
use super::walk::Claims;
use super::window::Window;
use super::{Cut, Error, Format, Namespace, Options, RecordNo, Recovery, Result};

/// A log that is in order, and what it took.
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) index: Index,
    pub(crate) format: Format,
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
}

/// Opens the log of `namespace` and puts it in order. `id` chooses an id for a namespace that has none, or
/// one that is taken.
pub(crate) fn open(
    options: &Options,
    namespace: &Namespace,
    id: &dyn Fn(Option<u32>) -> u32,
) -> Result<Opened> {
    let disk = &*options.disk;
    let mode = if options.read_only {
        OpenMode::Read
    } else {
        OpenMode::Write
    };
    let files = Files::open(options, namespace, mode)?;
    let (file, slot, format) = (files.log, files.slot, files.format);
    let (log_path, index_path) = (files.log_path, files.index_path);
    let on_disk = files.index;
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
        format,
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
        format,
        clean: true,
        id: new_id,
        sequence,
        synced_count: tail.count,
        log_end: tail.log_end,
        boot: survey.boot,
        rebuilt: tail.rebuilt,
    };
    Ok(Opened {
        index: Index::new(index, last),
        file,
        format,
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

/// A log and its index as they are found.
pub(crate) struct Survey<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) log_path: &'a Path,
    pub(crate) index_path: &'a Path,
    pub(crate) log: &'a dyn DiskFile,
    pub(crate) index: &'a dyn DiskFile,
    pub(crate) slot: Option<Slot>,
    pub(crate) format: Format,
    pub(crate) boot: u64,
    pub(crate) read_only: bool,
    pub(crate) repair: bool,
}

/// What is to become of a log: decided before anything is written.
pub(crate) struct Decision {
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
    claims: Claims,
    /// The first record whose entry has to be written, and the tail before it.
    stale: Option<Tail>,
    index_length: u64,
}

impl Survey<'_> {
    /// Puts the log in order, and returns its tail and the sequence number of the slot that counts.
    fn run(&self, id: u32) -> Result<(Tail, Recovery, u64)> {
        let same_id = self.slot.is_some_and(|slot| slot.id == id);
        let decision = self.decide(same_id)?;
        let (tail, mut recovery) = (decision.tail, decision.recovery.clone());
        let sequence = self.slot.map_or(0, |slot| slot.sequence);
        if recovery.clean {
            return Ok((tail, recovery, sequence));
        }
        if self.read_only {
            if let Some(from) = decision.stale {
                self.rewrite(&decision.claims, from, tail.count, id)?;
            }
            recovery.cut = None;
            return Ok((tail, recovery, sequence));
        }
        let stale = if same_id {
            decision.stale
        } else {
            Some(Tail::empty(self.format))
        };
        if let Some(from) = stale {
            self.rewrite(&decision.claims, from, tail.count, id)?;
        }
        let sequence = self.settle(&decision, id)?;
        Ok((tail, recovery, sequence))
    }

    /// Looks at the log, as far as it has to, and decides what of it is kept. Writes nothing.
    pub(crate) fn decide(&self, same_id: bool) -> Result<Decision> {
        // Before the length: what the header counts is in the file, also beside a writer.
        let header = read_header(self.log, self.format).map_err(|e| self.log_error(e))?;
        let length = self.log.len().map_err(|e| self.log_error(e))?;
        let index_length = self.index.len().map_err(|e| self.index_error(e))?;
        if length < self.format.header_bytes()
            && self.slot.is_some_and(|slot| slot.synced_count > 0)
            && !self.repair
        {
            return Err(self.damaged(
                None,
                length,
                "the file ends inside its header, but its index knows of records",
            ));
        }
        let mut claims = Claims {
            length,
            count: 0,
            every_whole: false,
            unsynced_from: u64::MAX,
            lossy: false,
        };
        if same_id && let Some(tail) = self.clean_tail(length, index_length, &header)? {
            let recovery = Recovery {
                clean: true,
                records: tail.count,
                ..Recovery::default()
            };
            return Ok(Decision {
                tail,
                recovery,
                claims,
                stale: None,
                index_length,
            });
        }

        let base = self.base(length)?;
        self.check_index_is_of_this_log(&base, length)?;
        self.believe(&mut claims, &header, &base, index_length)?;
        let walked = self.walk(&claims, base, |_, _| Ok(()))?;
        let tail = walked.tail;
        let end = tail.log_end;
        if self.format == Format::Count16
            && !self.repair
            && claims.unsynced_from == u64::MAX // else a crash of ours may have parted the two
            && length > end
            && u64::try_from(header.count()) == Ok(tail.count)
            && header.last_index() != tail.last_index
        {
            return Err(self.damaged(
                None,
                0,
                &format!(
                    "its header counts {} records and says that the last one is at byte {}, but it is at byte {}",
                    tail.count,
                    header.last_index(),
                    tail.last_index
                ),
            ));
        }
        let cut = if length > end {
            Some((end, length - end, walked.what))
        } else if 0 < length && length < self.format.header_bytes() {
            Some((0, length, "a torn header"))
        } else {
            None
        };
        let wrong_count = self.format != Format::Bare && header.count() != tail.count.cast_signed();
        Ok(Decision {
            tail,
            recovery: Recovery {
                clean: false,
                records: tail.count,
                rebuilt_from: walked.rebuilt_from,
                rebuilt: walked.rebuilt,
                damaged: walked.damaged,
                cut: cut.map(|(offset, bytes, what)| Cut {
                    offset,
                    bytes,
                    what,
                }),
                claimed: wrong_count.then_some(header.count()),
            },
            claims,
            stale: walked.stale,
            index_length,
        })
    }

    /// The tail of a log that was closed in order and not touched since, found without looking at anything
    /// but its end.
    fn clean_tail(&self, length: u64, index_length: u64, header: &Header) -> Result<Option<Tail>> {
        let Some(slot) = self.slot.filter(|slot| slot.clean) else {
            return Ok(None);
        };
        if length != slot.log_end || entry_offset(slot.synced_count) != Some(index_length) {
            return Ok(None);
        }
        let agrees = |tail: &Tail| self.format.header(tail.count, tail.last_index) == *header;
        Ok(self.tail_at(&slot)?.filter(agrees))
    }

    /// The tail at the slot's count, if the last record before it is where the slot says.
    fn tail_at(&self, slot: &Slot) -> Result<Option<Tail>> {
        let empty = Tail::empty(self.format);
        let Some(n) = slot.synced_count.checked_sub(1) else {
            return Ok((slot.log_end == empty.log_end).then_some(empty));
        };
        let mut entries = Window::new(self.index, ENTRY_BYTES);
        let Some(entry) = self.entry(&mut entries, n)? else {
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
        let mut last = self.last_byte(&mut window, entry.log_offset + SIZE_FIELD_BYTES, size)?;
        // The last byte may not be what was written, but the next entry, if there is one, knows whether that
        // was a newline.
        if let Some(next) = self.entry(&mut entries, n + 1)?
            && next.log_offset == slot.log_end
        {
            let text = next.text_offset.checked_sub(entry.text_offset);
            last = (size > 0 && text == Some(size)).then_some(b'\n');
        }
        let before = Tail {
            count: n,
            log_end: entry.log_offset,
            text_end: entry.text_offset,
            last_index: 0,
            time_ns: entry.time_ns,
            time_known: false,
            rebuilt: slot.rebuilt.saturating_sub(u64::from(entry.time_unknown)),
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
        Ok(Tail::empty(self.format))
    }

    /// An index that knows of records, of which the log has none, is that of another log: then the bytes have
    /// a say in the format.
    fn check_index_is_of_this_log(&self, base: &Tail, length: u64) -> Result<()> {
        let knows = self.slot.is_some_and(|slot| slot.synced_count > 0);
        if !knows || base.count > 0 || self.repair {
            return Ok(());
        }
        match detect(self.log, length).map_err(|e| self.log_error(e))? {
            Verdict::Is(format) if format != self.format && length > MAX_HEADER_BYTES as u64 => {
                Err(Error::Damaged {
                    namespace: self.namespace.to_string(),
                    record: None,
                    offset: 0,
                    what: format!(
                        "it is a whole {format} log, but its index is that of a {} one (no byte was changed; remove '{}' if it \
                     belongs to another log)",
                        self.format,
                        self.index_path.display()
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// What the walk is to believe: the header's count, or what the index knows where the header says
    /// nothing, or cannot be right.
    fn believe(
        &self,
        claims: &mut Claims,
        header: &Header,
        base: &Tail,
        index_length: u64,
    ) -> Result<()> {
        if let Some(slot) = self.slot.filter(|slot| !slot.clean) {
            claims.unsynced_from = slot.synced_count;
            claims.lossy = slot.boot == 0 || slot.boot != self.boot;
        }
        let synced = self.slot.map_or(0, |slot| slot.synced_count);
        if self.format == Format::Bare {
            // While our own writer is not known to have been stopped, what is whole was appended, by whom
            // ever.
            claims.every_whole = self.slot.is_none_or(|slot| slot.clean);
            // An entry is written behind its record: where nothing can have been lost, there are as many
            // records as there are places of entries, also of damaged ones.
            let killed = self.slot.is_some_and(|slot| !slot.clean) && !claims.lossy;
            let entries = index_length.saturating_sub(INDEX_HEADER_BYTES) / ENTRY_BYTES as u64;
            claims.count = if killed { entries.max(synced) } else { synced };
            return Ok(());
        }
        claims.count = match (u64::try_from(header.count()), self.slot) {
            // Closed in order and nothing behind it: a count that differs is a damaged count.
            (_, Some(slot))
                if slot.clean && base.count == synced && claims.length == slot.log_end =>
            {
                synced
            }
            (Ok(count), _) => count,
            // Records behind the last sync are then kept by their checksums alone.
            (Err(_), Some(_)) if base.count == synced => synced,
            (Err(_), _) if self.repair => {
                claims.every_whole = true;
                0
            }
            (Err(_), _) => return Err(self.damaged(None, 0, "the count is negative")),
        };
        Ok(())
    }

    /// Brings both files to where `decision` says, on the disk, and marks them so. In this order, a second
    /// crash anywhere in it finds nothing worse: entries before the cut they account for, the slot that
    /// vouches for all of it last.
    fn settle(&self, decision: &Decision, id: u32) -> Result<u64> {
        let written = |path| move |e| Error::io("mend", path, e);
        let (tail, length) = (&decision.tail, decision.claims.length);
        let whole = entry_offset(tail.count).unwrap_or(u64::MAX);
        if decision.index_length != whole {
            self.index
                .set_len(whole)
                .map_err(written(self.index_path))?;
        }
        // What was not known to be on the disk may be in memory only, if it was a sync that failed. The
        // system has told so once and counts it as written since: the next sync would succeed and bring
        // nothing of it to the disk.
        if let Some(slot) = self.slot {
            let from = entry_offset(slot.synced_count).unwrap_or(u64::MAX);
            disk::write_again(self.index, from, whole).map_err(written(self.index_path))?;
        }
        self.index.sync_data().map_err(written(self.index_path))?;
        if length > tail.log_end || length < self.format.header_bytes() {
            self.log
                .set_len(tail.log_end)
                .map_err(written(self.log_path))?;
        }
        if let Some(slot) = self.slot {
            disk::write_again(self.log, slot.log_end, tail.log_end)
                .map_err(written(self.log_path))?;
        }
        let header = self.format.header(tail.count, tail.last_index);
        if self.format != Format::Bare {
            disk::write_all(self.log, header.as_bytes(), 0).map_err(written(self.log_path))?;
        }
        self.log.sync_data().map_err(written(self.log_path))?;
        let slot = Slot {
            format: self.format,
            clean: true,
            id,
            sequence: self.slot.map_or(0, |slot| slot.sequence.wrapping_add(1)),
            synced_count: tail.count,
            log_end: tail.log_end,
            boot: self.boot,
            rebuilt: tail.rebuilt,
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
