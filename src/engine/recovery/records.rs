//! One record of a log file, looked at without its index entry.

use std::io;

use crate::disk::Window;
use crate::format::{SIZE_FIELD_BYTES, checksum_append, decode_length, u64_at};

/// The size of the record at `at`. `None` if its size field is negative, or if the record would end behind `end`.
pub(crate) fn size_at(log: &mut Window<'_>, at: u64, end: u64) -> io::Result<Option<u64>> {
    let Some(room) = end.checked_sub(at + SIZE_FIELD_BYTES) else {
        return Ok(None);
    };
    let field = log.get(at, 8)?;
    Ok(decode_length(u64_at(field, 0).to_le_bytes()).filter(|size| *size <= room))
}

/// Checksum and last byte of the payload of `size` bytes at `at`, which has to be inside the file.
pub(crate) fn checksum_of(
    log: &mut Window<'_>,
    at: u64,
    size: u64,
) -> io::Result<(u32, Option<u8>)> {
    let (mut done, mut crc, mut last) = (0, 0, None);
    while done < size {
        let wanted = usize::try_from(size - done)
            .unwrap_or(usize::MAX)
            .min(log.piece_bytes);
        let piece = log.get(at + done, wanted)?;
        crc = checksum_append(crc, piece);
        last = piece.last().copied();
        done += piece.len() as u64;
    }
    Ok((crc, last))
}

/// The last byte of the payload of `size` bytes at `at`, which has to be inside the file. `None` if `size` is 0.
pub(crate) fn last_byte(log: &mut Window<'_>, at: u64, size: u64) -> io::Result<Option<u8>> {
    match size.checked_sub(1) {
        None => Ok(None),
        Some(before) => Ok(log.get(at + before, 1)?.first().copied()),
    }
}
