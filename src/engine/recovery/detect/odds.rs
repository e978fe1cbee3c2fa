//! Random logs of every format, whole and as a stopped writer leaves them: none is taken for another format, and only
//! those are refused that could be two.
//!
//! `IMMUTA_SEED` is the seed, `IMMUTA_LONG=1` tries 100 times as many. What was refused is printed, by format and size of
//! the records.

use std::collections::BTreeMap;

use super::*;
use crate::segment::Overlay;

const LOGS: u64 = 2_000;
const RECORDS: (u64, u64) = (8, 10_000);
/// Records of one size each, then of all sizes.
const SIZES: [(&str, u64, u64, bool); 7] = [
    ("1 byte", 1, 1, true),
    ("2 to 7", 2, 7, true),
    ("8 to 31", 8, 31, true),
    ("32 to 63", 32, 63, true),
    ("64 to 100", 64, 100, true),
    ("1 to 8, mixed", 1, 8, false),
    ("1 to 100, mixed", 1, 100, false),
];

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64 - 1) as usize]
    }

    /// As many small numbers as large ones: every size has the same odds to be met within a factor of two.
    fn scaled(&mut self, (least, most): (u64, u64)) -> u64 {
        let part = self.between(0, 1 << 30) as f64 / (1u64 << 30) as f64;
        (least as f64 * (most as f64 / least as f64).powf(part)) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Text,
    Random,
    /// 64-bit numbers, most of them small: what looks most like size fields.
    Numbers,
    Zeros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Whole,
    /// The last records are not counted. In a `bare` log all are.
    Behind,
    /// The last record is cut, and not counted.
    Torn,
}

#[derive(Debug)]
struct Case {
    format: Format,
    content: Content,
    sizes: usize,
    state: State,
    /// How many records count: in a `bare` log, all whole ones.
    counted: u64,
}

fn payload(dice: &mut Dice, content: Content, size: usize, bytes: &mut Vec<u8>) {
    let end = bytes.len() + size;
    while bytes.len() < end {
        let word = match content {
            Content::Text => (dice.next() & 0x3f3f_3f3f_3f3f_3f3f) + 0x2020_2020_2020_2020,
            Content::Random => dice.next(),
            Content::Numbers => dice.next() & ((1 << dice.between(0, 11)) - 1),
            Content::Zeros => 0,
        };
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(end);
}

fn random_log(dice: &mut Dice) -> (Case, Vec<u8>) {
    let format = dice.one_of(&Format::ALL);
    let content = dice.one_of(&[
        Content::Text,
        Content::Text,
        Content::Random,
        Content::Random,
        Content::Numbers,
        Content::Zeros,
    ]);
    let sizes = dice.between(0, SIZES.len() as u64 - 1) as usize;
    let state = dice.one_of(&[State::Whole, State::Whole, State::Behind, State::Torn]);
    let records = dice.scaled(RECORDS);
    let counted = match state {
        State::Whole => records,
        State::Behind if dice.between(0, 1) == 0 => records - 1,
        State::Behind => records - dice.between(1, records.min(20)),
        State::Torn => records - 1,
    };
    let (_, least, most, uniform) = SIZES[sizes];
    let size = dice.between(least, most);
    let mut bytes = vec![0; format.header_bytes() as usize];
    let (mut last, mut start) = (0, 0);
    for n in 0..records {
        let size = if uniform {
            size
        } else {
            dice.between(least, most)
        };
        start = bytes.len();
        if n < counted {
            last = start as u64;
        }
        bytes.extend_from_slice(&size.to_le_bytes());
        payload(dice, content, size as usize, &mut bytes);
    }
    let header = format.header(counted, last);
    bytes[..header.as_bytes().len()].copy_from_slice(header.as_bytes());
    if state == State::Torn {
        let cut = dice.between(start as u64 + 1, bytes.len() as u64 - 1);
        bytes.truncate(cut as usize);
    }
    let counted = match (format, state) {
        (Format::Bare, State::Whole | State::Behind) => records,
        _ => counted,
    };
    let case = Case {
        format,
        content,
        sizes,
        state,
        counted,
    };
    (case, bytes)
}

/// Whether the log is refused. What must not be is a panic.
fn is_refused(case: &Case, bytes: &[u8]) -> bool {
    let file = Overlay::new(None);
    disk::write_all(&file, bytes, 0).expect("written");
    let could_be = match detect(&file, bytes.len() as u64).expect("read") {
        Verdict::Is { format, .. } => {
            // A first record without a byte, and many more: `bare`, as it has always been.
            let nothing_counted = case.format == Format::Count8 && case.counted == 0;
            let expected = if nothing_counted {
                Format::Bare
            } else {
                case.format
            };
            assert_eq!(format, expected, "opened as another: {case:?}");
            return false;
        }
        Verdict::Nothing => panic!("there are records: {case:?}"),
        Verdict::Unclear(could_be) => could_be,
    };
    let plain = matches!(case.content, Content::Text | Content::Random);
    let why = format!("refused, {could_be:?}: {case:?}");
    if (case.format, case.state) == (Format::Bare, State::Torn) {
        return true; // no byte tells a torn tail from damage
    }
    assert!(could_be.contains(&(case.format, case.counted)), "{why}");
    let other = |t: &&(Format, u64)| t.0 != case.format;
    match (case.format, case.state) {
        // In doubt where a few records are counted.
        (Format::Bare, _) => {
            let mut others = could_be.iter().filter(other);
            assert!(!plain || others.any(|(_, counted)| *counted < FEW), "{why}");
        }
        (_, State::Whole) => assert!(!plain, "{why}"),
        // As before anything was weighed: another format goes on behind what is counted.
        (_, State::Behind | State::Torn) => {
            let length = bytes.len() as u64;
            let trial = |format| attempt(&file, length, format, &bytes[..16]).expect("read");
            let counted_end = trial(case.format).counted_end;
            let goes_on = |f: &Format| *f != case.format && trial(*f).reach > counted_end;
            assert!(!plain || Format::ALL.iter().any(goes_on), "{why}");
        }
    }
    true
}

#[test]
fn random_logs_are_opened_as_what_they_are_or_refused() {
    let set = |name| std::env::var(name).ok().filter(|value| value != "0");
    let seed: u64 =
        set("IMMUTA_SEED").map_or(5, |seed| seed.parse().expect("IMMUTA_SEED is a number"));
    let logs = LOGS * set("IMMUTA_LONG").map_or(1, |_| 100);
    println!("IMMUTA_SEED={seed}");
    let mut refused: BTreeMap<_, [(u64, u64); SIZES.len()]> = BTreeMap::new();
    for n in 0..logs {
        let mut dice = Dice(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9)));
        let (case, bytes) = random_log(&mut dice);
        let row = (case.state, case.content, case.format.to_string());
        let (of, tally) = &mut refused.entry(row).or_default()[case.sizes];
        *of += 1;
        *tally += u64::from(is_refused(&case, &bytes));
    }
    println!(
        "refused, of so many; records of {}",
        SIZES.map(|(name, ..)| name).join(" | ")
    );
    let (mut of, mut refusals) = (0, 0);
    for ((state, content, format), row) in &refused {
        let cells = row.map(|(of, refused)| format!("{refused} of {of}"));
        println!("{state:?} {content:?} {format}: {}", cells.join(" | "));
        let to_be_opened = match state {
            State::Whole => true,
            State::Behind => false,
            State::Torn => format != "bare",
        };
        if to_be_opened && matches!(content, Content::Text | Content::Random) {
            of += row.iter().map(|(of, _)| of).sum::<u64>();
            refusals += row.iter().map(|(_, refused)| refused).sum::<u64>();
        }
    }
    assert!(refusals * 1_000 <= of, "{refusals} of {of} are refused");
}
