//! Bringing the files of a log to what was decided. Nothing else in recovery writes.

use std::path::Path;
use std::sync::Arc;

use super::decide::{Decision, Stale};
use super::evidence::{Evidence, Purpose};
use super::report::Recovery;
use super::save::save_beside;
use super::walk::{Trust, walk};
use crate::disk;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::format::{ENTRY_BYTES, Slot, entry_offset};
use crate::options::Options;
use crate::segment::{Index, LogEnd, Segment, new_index_header, slot_offset};

/// How many index entries are written at a time.
const ENTRIES_AT_ONCE: usize = 4096;

/// A log that is in order, and what it took.
pub(crate) struct Opened {
    pub(crate) segment: Segment,
    pub(crate) end: LogEnd,
    pub(crate) recovery: Recovery,
    /// There was an index, or there is one now.
    pub(crate) has_index: bool,
}

impl Opened {
    /// Whether another process may be making the log just now: the log has no byte and no index. Its format, and the times of
    /// its records, would stay unknown.
    pub(crate) fn is_being_made(&self) -> bool {
        !self.has_index && self.segment.log_file.is_empty().unwrap_or(false)
    }
}

/// Brings both files to what `decision` says, and the log's id to `id`. A log that is opened for reading is mended in memory
/// alone.
pub(crate) fn mend(
    options: &Options,
    mut evidence: Evidence,
    decision: Decision,
    id: u32,
) -> Result<Opened> {
    let Decision {
        end,
        mut recovery,
        stale,
    } = decision;
    let mut sequence = evidence.slot.map_or(0, |slot| slot.sequence);
    if !recovery.clean && evidence.purpose == Purpose::Read {
        write_entries(&evidence.segment, &*evidence.log, stale.as_ref(), &end, id)?;
        recovery.cut = None;
    } else if !recovery.clean {
        // Before anything is changed. What the log counted was acknowledged, or will be missed in a copy whose index is
        // older than its log. Only a person can tell that from what a power cut has left.
        if let Some(cut) = recovery.cut.filter(|cut| cut.records > 0) {
            let log = (&*evidence.log, &*evidence.segment.log_path);
            recovery.saved = Some(save_beside(options, &evidence.segment.namespace, log, cut)?);
        }
        if !evidence.has_index_file {
            let (dir, path) = (&options.logs_dir, &evidence.segment.index_path);
            evidence.segment.index.file = create_index(&*options.disk, dir, path)?;
        }
        write_entries(&evidence.segment, &*evidence.log, stale.as_ref(), &end, id)?;
        sequence = write_end(&evidence, &end, id)?;
    }
    Ok(Opened {
        has_index: evidence.slot.is_some() || evidence.purpose == Purpose::Write,
        segment: Segment {
            index: Index::new(
                Arc::clone(&evidence.segment.index.file),
                last_slot(&evidence, &end, id, sequence),
            ),
            ..evidence.segment
        },
        end,
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

/// The slot that says that the log was closed in order at `end`.
fn last_slot(evidence: &Evidence, end: &LogEnd, id: u32, sequence: u64) -> Slot {
    Slot {
        format: evidence.segment.format,
        clean: true,
        id,
        sequence,
        synced_count: end.count,
        log_end: end.log_end,
        boot: evidence.boot,
        rebuilt: end.rebuilt,
    }
}

/// Writes the `stale` entries, up to the last record before `end`, by walking along the log once more: at constant memory, and
/// only after the first walk has ended well.
pub(crate) fn write_entries(
    segment: &Segment,
    log: &dyn DiskFile,
    stale: Option<&Stale>,
    end: &LogEnd,
    id: u32,
) -> Result<()> {
    let Some(Stale { from, trust }) = stale else {
        return Ok(());
    };
    let mut pending: Vec<u8> = Vec::with_capacity(ENTRIES_AT_ONCE * ENTRY_BYTES);
    let mut first = from.count;
    let write = |first: u64, pending: &[u8]| {
        let offset = entry_offset(first).unwrap_or(u64::MAX);
        disk::write_all(&*segment.index.file, pending, offset)
            .map_err(|e| Error::io("write", &segment.index_path, e))
    };
    let trust = Trust {
        count: trust.count.min(end.count),
        ..*trust
    };
    walk(segment, log, &trust, *from, |n, entry| {
        if n >= end.count {
            return Ok(());
        }
        pending.extend_from_slice(&entry.encode(n, id));
        if pending.len() == ENTRIES_AT_ONCE * ENTRY_BYTES {
            write(first, &pending)?;
            first = n + 1;
            pending.clear();
        }
        Ok(())
    })?;
    write(first, &pending)
}

/// Ends both files at `end`, on the disk, and marks the log as closed in order. The order of the writes is such that a second
/// crash between any two of them finds nothing worse: first the entries, then the cut that they account for, last the slot
/// that vouches for both. Returns the sequence number of that slot.
fn write_end(evidence: &Evidence, end: &LogEnd, id: u32) -> Result<u64> {
    let segment = &evidence.segment;
    let (log, index) = (&*evidence.log, &*segment.index.file);
    let log_error = |e| Error::io("mend", &segment.log_path, e);
    let index_error = |e| Error::io("mend", &segment.index_path, e);

    let entries_end = entry_offset(end.count).unwrap_or(u64::MAX);
    if evidence.index_length != entries_end {
        index.set_len(entries_end).map_err(index_error)?;
    }
    // Bytes behind the last sync may be in memory only: if a sync of them has failed, the system counts them as written, and
    // the next sync would succeed without bringing them to the disk. So they are written once more.
    if let Some(slot) = evidence.slot {
        let from = entry_offset(slot.synced_count).unwrap_or(u64::MAX);
        disk::write_again(index, from, entries_end).map_err(index_error)?;
    }
    index.sync_data().map_err(index_error)?;

    let length = evidence.length;
    if length > end.log_end || length < segment.format.header_bytes() {
        log.set_len(end.log_end).map_err(log_error)?;
    }
    if let Some(slot) = evidence.slot {
        disk::write_again(log, slot.log_end, end.log_end).map_err(log_error)?;
    }
    segment.write_header(end).map_err(log_error)?;
    log.sync_data().map_err(log_error)?;

    let (bytes, offset, sequence) = match evidence.slot {
        Some(slot) => {
            let sequence = slot.sequence.wrapping_add(1);
            let slot = last_slot(evidence, end, id, sequence);
            (slot.encode().to_vec(), slot_offset(sequence), sequence)
        }
        // Both slots, so the second one counts.
        None => (new_index_header(&last_slot(evidence, end, id, 0)), 0, 1),
    };
    disk::write_all(index, &bytes, offset).map_err(index_error)?;
    index.sync_data().map_err(index_error)?;
    Ok(sequence)
}
