//! What a power cut leaves of what was written and not synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use immuta::Disk;

use crate::Random;
use crate::sim::{Event, FileId, Image, SimDisk, write_to};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What a system writes at once, if nothing comes between.
const PAGE_BYTES: usize = 4096;

/// What a disk makes of writes that it was not told to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// All are lost.
    None,
    /// All are there.
    All,
    /// Each page, or each sector, is as it was at one moment since the last sync: a page cache that is
    /// written back now and then.
    Moments { unit_bytes: usize },
    /// Each piece of each write is there or not, whatever became of those before it, and they were done in
    /// any order.
    Pieces { unit_bytes: usize, shuffled: bool },
}

impl Style {
    /// The `n`-th of the outcomes of one cut: those at the edge come first.
    pub fn pick(n: usize, dice: &mut Random) -> Self {
        let unit_bytes = [SECTOR_BYTES, PAGE_BYTES][dice.below(2)];
        match n {
            0 => Style::None,
            1 => Style::All,
            _ if dice.one_in(2) => Style::Moments { unit_bytes },
            _ => Style::Pieces {
                unit_bytes,
                shuffled: dice.one_in(2),
            },
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Arc<[u8]>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// What is not on the disk for certain, in order; `true`: a sync that should have brought it there has
    /// failed, and no other will.
    pending: Vec<(Change, bool)>,
    /// Each sync under way, and how many of the pending changes it covers.
    syncs: BTreeMap<u64, usize>,
}

/// A disk at one moment of a record of events.
#[derive(Clone, Debug)]
pub struct Replay {
    files: Vec<File>,
    names: BTreeMap<PathBuf, FileId>,
    /// What names have come to lead to since the directory was synced. Of each change of names, all is on the disk or
    /// nothing.
    moves: Vec<Vec<(PathBuf, Option<FileId>)>>,
}

impl Replay {
    pub fn new(base: &Image) -> Self {
        let file = |bytes: &Arc<Vec<u8>>| File {
            durable: bytes.to_vec(),
            ..File::default()
        };
        Replay {
            files: base.0.values().map(file).collect(),
            names: base.0.keys().cloned().zip(0..).collect(),
            moves: Vec::new(),
        }
    }

    /// Whether a power cut before and behind this event can leave different things.
    pub fn matters(event: &Event) -> bool {
        !matches!(event, Event::Note(_) | Event::SyncStart(..))
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(path, id) => {
                assert_eq!(self.files.len(), *id);
                self.files.push(File::default());
                self.moves.push(vec![(path.clone(), Some(*id))]);
            }
            Event::Remove(path) => self.moves.push(vec![(path.clone(), None)]),
            Event::Rename(from, to) => {
                let id = self.id_now(from).expect("it has this name");
                let moved = vec![(from.clone(), None), (to.clone(), Some(id))];
                self.moves.push(moved);
            }
            Event::SyncDir => {
                for (path, id) in self.moves.drain(..).flatten() {
                    move_name(&mut self.names, path, id);
                }
            }
            Event::Write(id, offset, new) => {
                let change = Change::Write(*offset, Arc::clone(new));
                self.files[*id].pending.push((change, false));
            }
            Event::SetLen(id, bytes) => {
                self.files[*id]
                    .pending
                    .push((Change::SetLen(*bytes), false));
            }
            Event::SyncStart(id, number) => {
                let file = &mut self.files[*id];
                file.syncs.insert(*number, file.pending.len());
            }
            Event::SyncEnd(id, number) => self.files[*id].end_sync(*number),
            Event::SyncFailed(id) => {
                for (change, dropped) in &mut self.files[*id].pending {
                    // The length is the journal's, not the page's.
                    *dropped |= matches!(change, Change::Write(..));
                }
            }
            Event::Put(id, bytes) => {
                let file = &mut self.files[*id];
                file.durable = bytes.to_vec();
                file.pending.clear();
                file.syncs.values_mut().for_each(|covered| *covered = 0);
            }
            Event::Note(_) => {}
        }
    }

    /// The file that a name leads to as long as the machine runs.
    fn id_now(&self, path: &Path) -> Option<FileId> {
        let moved = self.moves.iter().flatten().rev().find(|(p, _)| p == path);
        moved.map_or_else(|| self.names.get(path).copied(), |(_, id)| *id)
    }

    /// The disk after a power cut now.
    pub fn cut(&self, style: Style, dice: &mut Random) -> Image {
        let mut names = self.names.clone();
        for changes in &self.moves {
            let kept = match style {
                Style::None => false,
                Style::All => true,
                _ => dice.one_in(2),
            };
            if kept {
                for (path, id) in changes {
                    move_name(&mut names, path.clone(), *id);
                }
            }
        }
        let left = |(path, id): (PathBuf, FileId)| {
            let bytes = self.files[id].cut(style, dice);
            (path, Arc::new(bytes))
        };
        Image(names.into_iter().map(left).collect())
    }
}

/// A disk as it may be after a power cut now, of a machine that has started again. `luck` decides what is left; 0 loses all
/// that was not synced, 1 nothing of it.
pub fn power_cut(disk: &SimDisk, luck: u64) -> SimDisk {
    let mut replay = Replay::new(disk.base());
    disk.events().iter().for_each(|event| replay.apply(event));
    let style = match luck {
        0 => Style::None,
        1 => Style::All,
        _ => Style::Pieces {
            unit_bytes: SECTOR_BYTES,
            shuffled: false,
        },
    };
    let left = replay.cut(style, &mut Random(luck));
    SimDisk::new(left, disk.boot_id() + 1)
}

fn move_name(names: &mut BTreeMap<PathBuf, FileId>, path: PathBuf, id: Option<FileId>) {
    match id {
        Some(id) => drop(names.insert(path, id)),
        None => drop(names.remove(&path)),
    }
}

impl File {
    fn end_sync(&mut self, number: u64) {
        let covered = self.syncs.remove(&number).expect("it has begun");
        let mut kept = Vec::new();
        for (i, (change, dropped)) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if i >= covered {
                kept.push((change, dropped));
            } else if !dropped {
                change.apply(&mut self.durable);
            } // Else it is lost for good: whoever wants it on the disk has to write it again.
        }
        let done = self.syncs.values_mut();
        done.for_each(|other| *other = other.saturating_sub(covered));
        self.pending = kept;
    }

    fn cut(&self, style: Style, dice: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        match style {
            Style::None => {}
            Style::All => {
                let pending = self.pending.iter().filter(|(_, dropped)| !dropped);
                pending.for_each(|(change, _)| change.apply(&mut bytes));
            }
            Style::Moments { unit_bytes } => self.moments(&mut bytes, unit_bytes, dice),
            Style::Pieces {
                unit_bytes,
                shuffled,
            } => self.pieces(&mut bytes, unit_bytes, shuffled, dice),
        }
        bytes
    }

    /// The lengths that the file has had since the last sync, one more than there are changes.
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![self.durable.len()];
        for (change, _) in &self.pending {
            let before = *lengths.last().expect("one");
            lengths.push(match change {
                Change::Write(offset, new) => before.max(*offset as usize + new.len()),
                Change::SetLen(bytes) => *bytes as usize,
            });
        }
        lengths
    }

    fn moments(&self, bytes: &mut Vec<u8>, unit_bytes: usize, dice: &mut Random) {
        let lengths = self.lengths();
        let moments = lengths.len();
        let at_length = dice.below(moments);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        bytes.resize(longest, 0);
        let mut start = 0;
        while start < longest {
            let end = longest.min(start + unit_bytes);
            // A block that the file was cut before is a new one from then on, if the cut is known to the
            // disk.
            let freed = (0..at_length)
                .rev()
                .find(|i| matches!(self.pending[*i].0, Change::SetLen(l) if l as usize <= start))
                .map_or(0, |i| i + 1);
            let until = freed.max(dice.below(moments));
            for (change, dropped) in &self.pending[..until] {
                if !dropped || dice.one_in(2) {
                    change.apply_within(bytes, start, end);
                }
            }
            start = end;
        }
        bytes.truncate(lengths[at_length]);
    }

    fn pieces(&self, bytes: &mut Vec<u8>, unit_bytes: usize, shuffled: bool, dice: &mut Random) {
        let lengths = self.lengths();
        let mut pieces: Vec<(u64, &[u8])> = Vec::new();
        for (change, _) in &self.pending {
            let Change::Write(offset, new) = change else {
                continue;
            };
            let mut at = 0;
            while at < new.len() {
                let unit_end = (*offset as usize + at) / unit_bytes * unit_bytes + unit_bytes;
                let end = new.len().min(unit_end - *offset as usize);
                if dice.one_in(2) {
                    pieces.push((*offset + at as u64, &new[at..end]));
                }
                at = end;
            }
        }
        if shuffled {
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, dice.below(i + 1));
            }
        }
        for (offset, piece) in pieces {
            write_to(bytes, offset, piece);
        }
        bytes.resize(lengths[dice.below(lengths.len())], 0);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, new) => write_to(bytes, *offset, new),
            Change::SetLen(length) => bytes.resize(*length as usize, 0),
        }
    }

    /// Does to the bytes from `start` to `end` what the change does there.
    fn apply_within(&self, bytes: &mut [u8], start: usize, end: usize) {
        match self {
            Change::Write(offset, new) => {
                let offset = *offset as usize;
                let (from, to) = (start.max(offset), end.min(offset + new.len()));
                if from < to {
                    bytes[from..to].copy_from_slice(&new[from - offset..to - offset]);
                }
            }
            Change::SetLen(length) => bytes[end.min(start.max(*length as usize))..end].fill(0),
        }
    }
}
