//! The fuzz targets without a fuzzer: the committed corpus, then seeded mutations of it. `IMMUTA_FUZZ` is the
//! number of inputs for each target, `IMMUTA_SEED` the seed.

mod crash;
mod engine_support;
mod fuzz_targets;

use std::path::Path;

use crash::{Dice, seed};
use fuzz_targets::{a_log, format, index, names, recovery};

/// Values that lengths, counts and offsets go wrong with.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    127,
    128,
    1 << 20,
    u32::MAX as u64,
    (1 << 56) - 1,
    i64::MAX as u64 - 8,
    i64::MAX as u64,
    u64::MAX,
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("read"))
        .collect()
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let aligned = at / 8 * 8 + dice.below(2) * 3;
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let piece = dice.next().to_le_bytes();
                bytes.splice(at..at, piece[..dice.below(9)].iter().copied());
            }
            4 | 5 if aligned + 8 <= bytes.len() => {
                let edge = EDGES[dice.below(EDGES.len())].wrapping_add(dice.below(3) as u64);
                bytes[aligned..aligned + 8].copy_from_slice(&edge.to_le_bytes());
            }
            _ => {
                let (a, b) = (dice.below(bytes.len() + 1), dice.below(bytes.len() + 1));
                let piece = bytes[a.min(b)..a.max(b)].to_vec();
                let to = dice.below(bytes.len() + 1);
                let end = bytes.len().min(to + piece.len());
                bytes.splice(to..end, piece);
            }
        }
        bytes.truncate(8 << 10);
    }
}

fn drive(name: &str, target: fn(&[u8]), more: Vec<Vec<u8>>) {
    let seed = seed(4);
    let inputs = std::env::var("IMMUTA_FUZZ")
        .map_or(3000, |text| text.parse().expect("IMMUTA_FUZZ is a number"));
    let mut pool = corpus(name);
    pool.extend(more);
    pool.iter().for_each(|input| target(input));
    let mut dice = Dice(seed);
    for n in 0..inputs {
        let mut input = pool[dice.below(pool.len())].clone();
        mutate(&mut input, &mut dice);
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let telling = crash::life::Telling(format!("{name}, input {n}, seed {seed}: {hex}"));
        target(&input);
        drop(telling);
    }
    println!("{name}: {} of a corpus, {inputs} mutations", pool.len());
}

/// How to open, the length of the log, the log, the index.
fn pairs() -> Vec<Vec<u8>> {
    let mut pairs = Vec::new();
    for closed in [false, true] {
        let (log, index) = a_log(closed);
        for how in 0..32u8 {
            let length = (log.len() as u16).to_le_bytes();
            pairs.push([&[how][..], &length, &log, &index].concat());
        }
    }
    pairs
}

#[test]
fn slots_and_entries_come_back_the_same_whatever_the_bytes() {
    let (_, index) = a_log(true);
    drive("format", format, vec![index.clone(), index[64..].to_vec()]);
}

/// "Each entry checkable by itself": no index makes the engine serve a wrong byte.
#[test]
fn any_index_beside_a_log_serves_its_records_right_or_not_at_all() {
    drive("index", index, vec![a_log(false).1, a_log(true).1]);
}

/// "Nothing that a file or a name contains makes it panic, allocate without bound, or leave the logs dir."
#[test]
fn any_log_beside_any_index_is_opened_or_refused() {
    drive("recovery", recovery, pairs());
}

#[test]
fn any_name_is_one_component_or_refused() {
    drive("names", names, vec![b"orders".to_vec(), vec![b'a'; 200]]);
}

/// The entries of a log of [`fuzz_targets::RECORDS`], forged by `forge` and signed, beside that log: reads of both views.
fn read_forged(forge: impl Fn(&mut [u8])) {
    let (log, mut index) = a_log(true);
    forge(&mut index);
    let length = (log.len() as u16).to_le_bytes();
    // 1: the checksums of the index are made right.
    recovery(&[&[1][..], &length, &log, &index].concat());
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
    for n in 0..fuzz_targets::RECORDS.len() {
        for by in [1, 2, 5, 1 << 20, u64::MAX, u64::MAX - 4] {
            // Where the text of a record starts, and of all behind it; and where it lies in the log.
            read_forged(|index| word(index, entry(n) + 8, |text| text.wrapping_add(by)));
            read_forged(|index| {
                for n in n..fuzz_targets::RECORDS.len() {
                    word(index, entry(n) + 8, |text| text.wrapping_add(by));
                }
            });
            read_forged(|index| word(index, entry(n), |at| at.wrapping_add(by) & ((1 << 56) - 1)));
        }
        read_forged(|index| word(index, entry(n), |_| 0));
    }
}
