//! The bytes, and nothing but the bytes: encoding and decoding, no I/O.
//!
//! All integers are little-endian. The log is the Go library's, byte for byte:
//!
//! ```text
//! bare      ([size: i64] [payload])*
//! count8    [count: i64] ([size: i64] [payload])*
//! count16   [count: i64] [byte index of the last record: i64] ([size: i64] [payload])*
//! ```
//!
//! The index beside it is ours:
//!
//! ```text
//!   0  slot 0, 64 bytes ┐ written in turn: a slot that is cut in the middle leaves the other one,
//!  64  slot 1, 64 bytes ┘ and of two valid ones the higher sequence number counts
//! 128  entry of record 0, 32 bytes      128 + 32n: an entry never straddles a 512-byte sector
//! 160  entry of record 1 ...
//!
//! slot    0 magic "immutaIX"    8 version: u16     10 format: u8      11 flags: u8 (bit 0: clean)
//!        12 namespace id: u32  16 sequence: u64    24 synced count: u64
//!        32 log end: u64       40 boot id: u64     48 rebuilt: u64   56 zeros   60 CRC-32C of bytes 0..60
//!
//! entry   0 log offset: 56 bits, flags: 8 bits (bit 0 of the flags: time unknown, bit 1: the batch goes on)
//!         8 text offset: u64   16 time: i64, ns since 1970            24 CRC-32C of the payload
//!        28 CRC-32C of the record number (u64), bytes 0..28 of this entry, the namespace id (u32)
//! ```
//!
//! The CRC of an entry covers its own number and the namespace, so that a stale, moved or foreign entry
//! cannot pass.

use std::fmt;
use std::str::FromStr;

use crc32c::{crc32c, crc32c_append};

/// Bytes of the size field before each payload.
pub const SIZE_FIELD_BYTES: u64 = 8;
/// Bytes of one header slot of the index.
pub(crate) const SLOT_BYTES: usize = 64;
/// Bytes of the index before the first entry: two slots.
pub(crate) const INDEX_HEADER_BYTES: u64 = 2 * SLOT_BYTES as u64;
/// Bytes of one index entry.
pub(crate) const ENTRY_BYTES: usize = 32;
/// A log's offsets have 56 bits: 64 PiB, more than any file system of today holds in one file.
pub(crate) const MAX_LOG_BYTES: u64 = (1 << 56) - 1;

/// The longest header before the records.
pub(crate) const MAX_HEADER_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"immutaIX";
const VERSION: u16 = 1;
const CLEAN: u8 = 1;
const TIME_UNKNOWN: u64 = 1 << 56;
const BATCH_GOES_ON: u64 = 1 << 57;

/// How a log lies on disk. A log keeps the format that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Records only, as the first releases of the Go library wrote them. Nothing in the file says which of
    /// them are committed: that is in the index.
    Bare,
    /// A count of 8 bytes, then the records.
    #[default]
    Count8,
    /// A count and the last record's byte index, as released Go programs write today.
    Count16,
}

impl Format {
    /// All formats there are.
    pub const ALL: [Format; 3] = [Format::Bare, Format::Count8, Format::Count16];

    /// Bytes before the first record's size field: 0, 8 or 16.
    pub const fn header_bytes(self) -> u64 {
        match self {
            Format::Bare => 0,
            Format::Count8 => 8,
            Format::Count16 => 16,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Format::Bare => 0,
            Format::Count8 => 1,
            Format::Count16 => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Format::ALL.into_iter().find(|f| f.to_byte() == byte)
    }

    /// The bytes before the first record of a log with `count` records, the last of which is at `last_index`.
    pub(crate) fn header(self, count: u64, last_index: u64) -> Header {
        let mut bytes = [0; MAX_HEADER_BYTES];
        bytes[..8].copy_from_slice(&encode_length(count));
        bytes[8..].copy_from_slice(&encode_length(last_index));
        let length = self.header_bytes() as usize;
        bytes[length..].fill(0);
        Header { bytes, length }
    }
}

/// The bytes of a log before its first record, as many as its format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER_BYTES],
    length: usize,
}

impl Header {
    /// From the first bytes of a file, which may have more of them, or fewer.
    pub(crate) fn of(format: Format, file: &[u8]) -> Self {
        let mut bytes = [0; MAX_HEADER_BYTES];
        let length = file.len().min(format.header_bytes() as usize);
        bytes[..length].copy_from_slice(&file[..length]);
        Header { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The count as it is there; 0 where there is none.
    pub(crate) fn count(&self) -> i64 {
        u64_at(&self.bytes, 0).cast_signed()
    }

    /// The last record's index; 0 where there is none.
    pub(crate) fn last_index(&self) -> u64 {
        u64_at(&self.bytes, 8)
    }
}

impl FromStr for Format {
    type Err = String;

    /// `bare`, `count8` or `count16`.
    fn from_str(name: &str) -> Result<Self, String> {
        Format::ALL
            .into_iter()
            .find(|format| format.to_string() == name)
            .ok_or_else(|| format!("'{}' is none of bare, count8, count16", name.escape_debug()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Bare => "bare",
            Format::Count8 => "count8",
            Format::Count16 => "count16",
        })
    }
}

/// Where entry `n` of an index starts. `None` above what a file can hold, so that a claimed count cannot
/// overflow.
pub(crate) fn entry_offset(n: u64) -> Option<u64> {
    n.checked_mul(ENTRY_BYTES as u64)?
        .checked_add(INDEX_HEADER_BYTES)
}

/// How many bytes a payload takes in the text view: itself, and a newline unless it ends in one.
///
/// A record of no bytes shows as one newline, so every record has at least one byte of text.
pub(crate) fn text_bytes(size: u64, last: Option<u8>) -> u64 {
    size + u64::from(last != Some(b'\n'))
}

/// A size or count field that is not negative.
pub(crate) fn decode_length(field: [u8; 8]) -> Option<u64> {
    u64::try_from(i64::from_le_bytes(field)).ok()
}

/// The bytes of a size or count field. Lengths stay below [`MAX_LOG_BYTES`], so the sign bit is free.
pub(crate) fn encode_length(length: u64) -> [u8; 8] {
    length.to_le_bytes()
}

/// What one header slot of the index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) format: Format,
    /// Whether the log was closed in order, and nothing was written after this slot.
    pub(crate) clean: bool,
    /// The namespace's id, 1 to 2^23 - 1.
    pub(crate) id: u32,
    /// Rises by one with each slot written.
    pub(crate) sequence: u64,
    /// This many records, with their entries, were on the disk when the slot was written.
    pub(crate) synced_count: u64,
    /// Where record `synced_count` starts, or will.
    pub(crate) log_end: u64,
    /// Which boot of the machine wrote it; 0: not known.
    pub(crate) boot: u64,
    /// How many of the records have an entry that was made from the log, and not by who wrote the record.
    pub(crate) rebuilt: u64,
}

impl Slot {
    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.format.to_byte();
        bytes[11] = if self.clean { CLEAN } else { 0 };
        bytes[12..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_count.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.log_end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.boot.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.rebuilt.to_le_bytes());
        let crc = crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` unless magic, version, checksum and ranges are right.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SLOT_BYTES] = bytes.try_into().ok()?;
        if bytes[0..8] != MAGIC
            || u16_at(bytes, 8) != VERSION
            || u32_at(bytes, 60) != crc32c(&bytes[..60])
            || u32_at(bytes, 12) == 0
            || u64_at(bytes, 32) > MAX_LOG_BYTES
        {
            return None;
        }
        Some(Slot {
            format: Format::from_byte(bytes[10])?,
            clean: bytes[11] & CLEAN != 0,
            id: u32_at(bytes, 12),
            sequence: u64_at(bytes, 16),
            synced_count: u64_at(bytes, 24),
            log_end: u64_at(bytes, 32),
            boot: u64_at(bytes, 40),
            rebuilt: u64_at(bytes, 48),
        })
    }

    /// The slot that counts, out of an index's header.
    pub(crate) fn newest(header: &[u8]) -> Option<Self> {
        header
            .chunks_exact(SLOT_BYTES)
            .filter_map(Slot::decode)
            .max_by_key(|slot| slot.sequence)
    }
}

/// What one index entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Where the record's size field is in the log.
    pub(crate) log_offset: u64,
    /// The time is not the record's own: its entry was rebuilt from the log. `time_ns` then repeats the
    /// previous record's.
    pub(crate) time_unknown: bool,
    /// The next record was appended with this one: a crash leaves both or none.
    pub(crate) batch_goes_on: bool,
    /// Where the record's text starts in the text view.
    pub(crate) text_offset: u64,
    /// Nanoseconds since 1970, never smaller than the previous record's.
    pub(crate) time_ns: i64,
    /// CRC-32C of the payload.
    pub(crate) checksum: u32,
}

impl IndexEntry {
    pub(crate) fn encode(&self, n: u64, id: u32) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let flags = flag(self.time_unknown, TIME_UNKNOWN) | flag(self.batch_goes_on, BATCH_GOES_ON);
        bytes[0..8].copy_from_slice(&(self.log_offset | flags).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.checksum.to_le_bytes());
        let crc = entry_crc(&bytes, n, id);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` unless the bytes are entry `n` of namespace `id`. A record takes more room in the log than in
    /// the text, so an entry that says otherwise is none, whatever its checksum: sums of offsets stay in range.
    pub(crate) fn decode(bytes: &[u8], n: u64, id: u32) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        if u32_at(bytes, 28) != entry_crc(bytes, n, id) {
            return None;
        }
        let first = u64_at(bytes, 0);
        let (log_offset, text_offset) = (first & MAX_LOG_BYTES, u64_at(bytes, 8));
        (text_offset <= log_offset).then(|| IndexEntry {
            log_offset,
            time_unknown: first & TIME_UNKNOWN != 0,
            batch_goes_on: first & BATCH_GOES_ON != 0,
            text_offset,
            time_ns: u64_at(bytes, 16).cast_signed(),
            checksum: u32_at(bytes, 24),
        })
    }
}

/// One call on 40 bytes laid side by side is cheaper than three that each set up.
fn entry_crc(entry: &[u8; ENTRY_BYTES], n: u64, id: u32) -> u32 {
    let mut covered = [0; 40];
    covered[0..8].copy_from_slice(&n.to_le_bytes());
    covered[8..36].copy_from_slice(&entry[..28]);
    covered[36..40].copy_from_slice(&id.to_le_bytes());
    crc32c(&covered)
}

/// The checksum of a payload.
pub(crate) fn checksum(payload: &[u8]) -> u32 {
    crc32c(payload)
}

/// The checksum of what `so_far` covers, with more payload behind it. Starts at 0.
pub(crate) fn checksum_append(so_far: u32, more: &[u8]) -> u32 {
    crc32c_append(so_far, more)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Eight bytes at `at`; the caller has checked that they are there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot {
        format: Format::Count8,
        clean: true,
        id: 0x7f_fffe,
        sequence: 9,
        synced_count: 12,
        log_end: 3456,
        boot: 0xdead_beef_0bad_cafe,
        rebuilt: 5,
    };
    const ENTRY: IndexEntry = IndexEntry {
        log_offset: MAX_LOG_BYTES,
        time_unknown: true,
        batch_goes_on: true,
        text_offset: 77,
        time_ns: -5,
        checksum: 0x1234_5678,
    };

    #[test]
    fn a_slot_and_an_entry_come_back_as_they_went() {
        assert_eq!(Slot::decode(&SLOT.encode()), Some(SLOT));
        assert_eq!(IndexEntry::decode(&ENTRY.encode(3, 4), 3, 4), Some(ENTRY));
    }

    #[test]
    fn any_flipped_bit_in_a_slot_or_an_entry_is_noticed() {
        for bit in 0..SLOT_BYTES * 8 {
            let mut bytes = SLOT.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::decode(&bytes), None, "bit {bit}");
        }
        for bit in 0..ENTRY_BYTES * 8 {
            let mut bytes = ENTRY.encode(3, 4);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(IndexEntry::decode(&bytes, 3, 4), None, "bit {bit}");
        }
    }

    #[test]
    fn an_entry_of_another_record_or_namespace_does_not_pass() {
        assert_eq!(IndexEntry::decode(&ENTRY.encode(3, 4), 2, 4), None);
        assert_eq!(IndexEntry::decode(&ENTRY.encode(3, 4), 3, 5), None);
        assert_eq!(IndexEntry::decode(&[0; ENTRY_BYTES], 0, 0), None);
    }

    #[test]
    fn the_higher_sequence_of_two_valid_slots_counts() {
        let older = Slot {
            sequence: 8,
            ..SLOT
        };
        let header = [SLOT.encode(), older.encode()].concat();
        assert_eq!(Slot::newest(&header), Some(SLOT));
        let mut torn = header.clone();
        torn[20] ^= 1;
        assert_eq!(Slot::newest(&torn), Some(older));
        assert_eq!(Slot::newest(&header[..100]), Some(SLOT));
        assert_eq!(Slot::newest(&[]), None);
    }

    #[test]
    fn entries_never_straddle_a_sector() {
        for n in 0..64 {
            let start = entry_offset(n).unwrap_or_default();
            assert_eq!(start / 512, (start + ENTRY_BYTES as u64 - 1) / 512);
        }
        assert_eq!(entry_offset(u64::MAX), None);
    }

    #[test]
    fn a_header_has_as_many_fields_as_its_format() {
        assert_eq!(Format::Bare.header(7, 100).as_bytes(), b"");
        assert_eq!(Format::Count8.header(7, 100).as_bytes(), 7i64.to_le_bytes());
        let both = Format::Count16.header(7, 100);
        assert_eq!(both.as_bytes()[8..], 100i64.to_le_bytes());
        assert_eq!((both.count(), both.last_index()), (7, 100));
        assert_eq!(Header::of(Format::Count16, both.as_bytes()), both);
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
            let length = format.header(0, 0).as_bytes().len() as u64;
            assert_eq!(length, format.header_bytes());
        }
        assert_eq!(
            "count".parse::<Format>(),
            Err("'count' is none of bare, count8, count16".to_owned())
        );
    }

    #[test]
    fn every_record_has_text_and_negative_lengths_have_none() {
        assert_eq!(text_bytes(0, None), 1);
        assert_eq!(text_bytes(1, Some(b'\n')), 1);
        assert_eq!(text_bytes(2, Some(b'a')), 3);
        assert_eq!(decode_length((-1i64).to_le_bytes()), None);
        assert_eq!(decode_length(encode_length(42)), Some(42));
    }
}
