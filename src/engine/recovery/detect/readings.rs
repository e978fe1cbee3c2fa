//! What tells two readings of one file apart.
//!
//! Each format reads a file as a chain of records: each size field says where the next record is. Where two chains meet, they
//! go on as one. So only the records before that place tell which of the two the writer of the log meant.

use std::io;

use crate::disk::{DiskFile, WINDOW_BYTES, Window};
use crate::format::{Format, SIZE_FIELD_BYTES};
use crate::recovery::records::size_at;

/// The own records of one reading: those before the place where it meets the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// How many of them have bytes. The size field of an empty record is eight zeros, which are common.
    pub(crate) records: u64,
    /// The smallest size, and the largest.
    pub(crate) sizes: (u64, u64),
}

/// Two readings of one file.
pub(crate) struct Apart {
    pub(crate) own: [Own; 2],
    /// Where they meet. `None`: one of them ends before.
    pub(crate) meet: Option<u64>,
}

/// Follows two readings of a file of `length` bytes to where they meet, or to the ends of both.
pub(crate) fn apart(file: &dyn DiskFile, length: u64, formats: [Format; 2]) -> io::Result<Apart> {
    let mut windows = formats.map(|_| Window::new(file, WINDOW_BYTES));
    let mut own = formats.map(|_| Own {
        records: 0,
        sizes: (u64::MAX, 0),
    });
    let mut at = formats.map(|format| Some(format.header_bytes()));
    let meet = loop {
        let behind = match at {
            [None, None] => break None,
            [Some(one), Some(other)] if one == other => break Some(one),
            [Some(one), Some(other)] => usize::from(other < one),
            [one, _] => usize::from(one.is_none()),
        };
        let Some(start) = at[behind] else { continue };
        at[behind] = size_at(&mut windows[behind], start, length)?.map(|size| {
            let own = &mut own[behind];
            own.records += u64::from(size > 0);
            own.sizes = (own.sizes.0.min(size), own.sizes.1.max(size));
            start + SIZE_FIELD_BYTES + size
        });
    };
    Ok(Apart { own, meet })
}

/// Whether own records are like the next `records` from `at` on. If the next ones all have one size, the own records have to
/// have that size. If they have many sizes, or there are fewer of them, the payload of none may look like records: otherwise
/// the record before them may hold records, too, and the own records are its payload.
pub(crate) fn are_like(
    own: Own,
    file: &dyn DiskFile,
    length: u64,
    mut at: u64,
    records: u64,
) -> io::Result<bool> {
    let mut window = Window::new(file, WINDOW_BYTES);
    let mut sizes = (u64::MAX, 0);
    let (mut hold_records, mut seen) = (false, 0);
    while seen < records {
        let Some(size) = size_at(&mut window, at, length)? else {
            break;
        };
        sizes = (size.min(sizes.0), size.max(sizes.1));
        let (payload, end) = (at + SIZE_FIELD_BYTES, at + SIZE_FIELD_BYTES + size);
        hold_records |= size_at(&mut window, payload, end)?.is_some_and(|inner| inner > 0);
        at = end;
        seen += 1;
    }
    Ok(if seen == records && sizes.0 == sizes.1 {
        own.sizes == sizes
    } else {
        !hold_records
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use crate::segment::Overlay;

    fn file(words: &[u64]) -> (Overlay, u64) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let file = Overlay::new(None);
        disk::write_all(&file, &bytes, 0).expect("written");
        (file, bytes.len() as u64)
    }

    fn own(records: u64, sizes: (u64, u64)) -> Own {
        Own { records, sizes }
    }

    #[test]
    fn two_readings_are_followed_to_where_they_meet() {
        // As count8: records of 8 and 0 bytes, then, at 32, one of 8. As bare: the first record holds the former two.
        let (file, length) = file(&[24, 8, 7, 0, 8, 7]);
        let apart = apart(&file, length, [Format::Count8, Format::Bare]).expect("read");
        assert_eq!(apart.own, [own(1, (0, 8)), own(1, (24, 24))]);
        assert_eq!(apart.meet, Some(32));
    }

    #[test]
    fn a_reading_that_ends_early_meets_no_other() {
        let (file, length) = file(&[2, 8, 7, 16, 7, 7]);
        let apart = apart(&file, length, [Format::Count8, Format::Bare]).expect("read");
        assert_eq!(apart.own, [own(2, (8, 16)), own(1, (2, 2))]);
        assert_eq!(apart.meet, None);
    }

    #[test]
    fn records_are_compared_with_those_behind_them() {
        let alike = |sizes, words: &[u64], records| {
            let (file, length) = file(words);
            are_like(own(1, sizes), &file, length, 0, records).expect("read")
        };
        assert!(alike((8, 8), &[8, 9, 8, 9], 2));
        assert!(!alike((4, 4), &[8, 9, 8, 9], 2), "another size");
        assert!(!alike((4, 8), &[8, 9, 8, 9], 2), "two sizes");
        assert!(alike((4, 4), &[8, 9, 16, 9, 9], 2), "they have many sizes");
        assert!(!alike((4, 4), &[8, 9, 16, 8, 9], 2), "one holds a record");
        assert!(alike((4, 4), &[8, 9, 0, 16, 8, 9], 2), "one behind them");
        assert!(
            alike((4, 4), &[8, 9], 2),
            "one record has no size in common"
        );
    }
}
