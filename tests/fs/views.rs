//! The views of a log whose bytes somebody else has written: each read of them ends.

mod every_view;

use every_view::every_view;
use support::fuzz::targets::{RECORDS, a_log, recovery_and};
use support::fuzz::{drive, pairs};

#[test]
fn any_view_of_any_log_beside_any_index_ends() {
    drive("recovery", |data| recovery_and(data, every_view), pairs());
}

/// The entries of a log of [`RECORDS`], forged by `forge` and signed, beside that log: reads of both views.
fn read_forged(forge: impl Fn(&mut [u8])) {
    let (log, mut index) = a_log(true);
    forge(&mut index);
    let length = (log.len() as u16).to_le_bytes();
    // 1: the checksums of the index are made right.
    recovery_and(&[&[1][..], &length, &log, &index].concat(), every_view);
}

fn word(bytes: &mut [u8], at: usize, change: impl Fn(u64) -> u64) {
    let field: [u8; 8] = bytes[at..at + 8].try_into().expect("eight");
    let changed = change(u64::from_le_bytes(field)).to_le_bytes();
    bytes[at..at + 8].copy_from_slice(&changed);
}

/// An entry with a right checksum, whose text is longer than its record, was shown for ever: a read of `log` never came
/// back. Others made the difference of two places negative.
#[test]
fn regression_a_forged_index_with_right_checksums_makes_no_read_spin() {
    let entry = |n: usize| 128 + 32 * n;
    for n in 0..RECORDS.len() {
        for by in [1, 2, 5, 1 << 20, u64::MAX, u64::MAX - 4] {
            // Where the text of a record starts, and of all behind it; and where it lies in the log.
            read_forged(|index| word(index, entry(n) + 8, |text| text.wrapping_add(by)));
            read_forged(|index| {
                for n in n..RECORDS.len() {
                    word(index, entry(n) + 8, |text| text.wrapping_add(by));
                }
            });
            read_forged(|index| word(index, entry(n), |at| at.wrapping_add(by) & ((1 << 56) - 1)));
        }
        read_forged(|index| word(index, entry(n), |_| 0));
    }
}
