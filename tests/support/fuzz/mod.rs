//! The fuzz targets without a fuzzer: the committed corpus, then seeded mutations of it. `IMMUTA_FUZZ` is the
//! number of inputs for each target, `IMMUTA_SEED` the seed. `fuzz/` drives the same targets with libFuzzer.

pub mod targets;

use crate::Random;
use crate::repository;
use crate::sim::{Telling, seed};
use targets::a_log;

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
    let dir = repository().join("fuzz/corpus").join(target);
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

fn mutate(bytes: &mut Vec<u8>, dice: &mut Random) {
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let aligned = at / 8 * 8 + dice.below(2) * 3;
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.draw() as u8,
            2 => bytes.truncate(at),
            3 => {
                let piece = dice.draw().to_le_bytes();
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

/// Gives a target its corpus, then `more`, then mutations of both.
pub fn drive(name: &str, target: fn(&[u8]), more: Vec<Vec<u8>>) {
    let seed = seed(4);
    let inputs = std::env::var("IMMUTA_FUZZ")
        .map_or(3000, |text| text.parse().expect("IMMUTA_FUZZ is a number"));
    let mut pool = corpus(name);
    pool.extend(more);
    pool.iter().for_each(|input| target(input));
    let mut dice = Random(seed);
    for n in 0..inputs {
        let mut input = pool[dice.below(pool.len())].clone();
        mutate(&mut input, &mut dice);
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let telling = Telling(format!("{name}, input {n}, seed {seed}: {hex}"));
        target(&input);
        drop(telling);
    }
    println!("{name}: {} of a corpus, {inputs} mutations", pool.len());
}

/// For the recovery: how to open, the length of the log, the log, the index.
pub fn pairs() -> Vec<Vec<u8>> {
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
