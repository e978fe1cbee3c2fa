//! Opening a log: at once when it was closed in order, else by deciding what to keep of what is there (`survey`)
//! and bringing both files there.
//!
//! `docs/format.md` gives the reasons. In short: everything up to the last sync is there and stays; behind it
//! a record is kept if it is whole and right; the first that is not ends the log, and what lies behind that
//! end is cut off before anything is appended. What cannot be explained by a crash is damage: the log is
//! refused, and no byte of it changed.

use std::path::Path;
use std::sync::Arc;

use super::decide::{Decision, Survey};
use super::find::{Files, watched};
use super::report::Recovery;
use super::save::save_beside;
use crate::disk;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::{Slot, entry_offset};
use crate::namespace::Namespace;
use crate::options::Options;
use crate::progress::Checking;
use crate::segment::{Index, LogEnd, Overlay, Segment, new_index_header, slot_offset};

/// A log that is in order, and what it took.
pub(crate) struct Opened {
    pub(crate) segment: Segment,
    /// There was an index, or there is one now.
    pub(crate) has_index: bool,
    pub(crate) end: LogEnd,
    pub(crate) recovery: Recovery,
}

impl Opened {
    /// Whether nothing tells yet what it will be: it has no byte and no index, as when another process has just made the
    /// first of its two files. Its format, and the times of its records, would stay unknown.
    pub(crate) fn is_being_made(&self) -> bool {
        self.segment
            .log_file
            .is_empty()
            .is_ok_and(|is_empty| is_empty)
            && !self.has_index
    }
}

/// Opens the log of `namespace` and puts it in order. `id` chooses an id for a namespace that has none, or
/// one that is taken. `checking`: who watches.
pub(crate) fn open(
    options: &Options,
    namespace: &Namespace,
    id: &dyn Fn(Option<u32>) -> u32,
    checking: Option<&Arc<Checking>>,
) -> Result<Opened> {
    let disk = &*options.disk;
    let mode = if options.read_only {
        OpenMode::Read
    } else {
        OpenMode::Write
    };
    let files = Files::open_watched(options, namespace, mode, checking)?;
    let (file, slot, format) = (files.log, files.slot, files.format);
    let (log_path, index_path) = (files.log_path, files.index_path);
    let on_disk = files.index;
    // An index file without a slot has just been made, too.
    let has_index = slot.is_some() || !options.read_only;
    let index: Arc<dyn DiskFile> = match on_disk {
        on_disk if options.read_only => Arc::new(Overlay::new(on_disk)),
        Some(index) => index,
        None => create_index(disk, &options.logs_dir, &index_path)?,
    };
    let seen = watched(&file, checking).map_err(|e| Error::io("read", &log_path, e))?;
    let survey = Survey {
        namespace,
        log_path: &log_path,
        index_path: &index_path,
        log: &*seen,
        index: &*index,
        slot,
        format,
        boot: disk.boot_id(),
        read_only: options.read_only,
        repair: options.repair,
    };
    let new_id = id(slot.map(|slot| slot.id));
    let (tail, recovery, sequence) = survey.run(options, new_id)?;
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
        segment: Segment {
            namespace: namespace.clone(),
            index: Index::new(index, last),
            log_file: file,
            format,
            log_path,
            index_path,
        },
        has_index,
        end: tail,
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

impl Survey<'_> {
    /// Puts the log in order, and returns its tail and the sequence number of the slot that counts.
    fn run(&self, options: &Options, id: u32) -> Result<(LogEnd, Recovery, u64)> {
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
        // Before anything is changed. What the log counted was acknowledged, or will be missed in a copy whose index is
        // older than its log: only a person can tell that from what a power cut has left.
        if let Some(cut) = recovery.cut.filter(|cut| cut.records > 0) {
            let log = (self.log, self.log_path);
            recovery.saved = Some(save_beside(options, self.namespace, log, cut)?);
        }
        let stale = if same_id {
            decision.stale
        } else {
            Some(LogEnd::empty(self.format))
        };
        if let Some(from) = stale {
            self.rewrite(&decision.claims, from, tail.count, id)?;
        }
        let sequence = self.settle(&decision, id)?;
        Ok((tail, recovery, sequence))
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
}
