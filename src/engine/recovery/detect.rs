//! Which format a log is in, by its bytes: for a log whose index does not say it.
//!
//! Each format is tried as an explanation of the file (`trial`). Where more than one explains it, what speaks for each is
//! weighed (`readings`). The log stays unclear where that leaves a doubt.
//!
//! ```text
//! the file                                                            is
//! ------------------------------------------------------------------  ---------------------------------------------
//! has no byte, or fewer than 8 that are all 0                         `Verdict::Nothing`
//! is 8 zero bytes, or 16                                              an empty count8 log, an empty count16 log
//! is whole in one format or more                                      in the one that outweighs all its rivals
//! is uncounted or torn in exactly one that explains more (`stopped`)  in that one, if it outweighs all its rivals
//! none of these                                                       `Verdict::Unclear`
//! ```
//!
//! `docs/format.md` ("Which format a log is in") has these rows, those of `is_rival` and of `outweighs`, and the odds of each.
//! [`Options::assume_format`](crate::Options::assume_format) decides wherever more than one format explains the file.

#[cfg(test)]
mod odds;
mod readings;
mod trial;

use std::io;

use self::readings::{apart, are_like};
use self::trial::{Fit, Trial, attempt};
use crate::disk;
use crate::disk::DiskFile;
use crate::format::{Format, MAX_HEADER_BYTES};

/// A count below this is right by chance too often to prove anything.
const FEW: u64 = 8;

/// What the bytes of a log say about its format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in `format`. The `outweighed` formats also explain the file to its last byte, but less speaks for them.
    Is {
        format: Format,
        outweighed: Vec<Format>,
    },
    /// No byte tells: the file is empty, or holds a part of a header without records.
    Nothing,
    /// It could be in any of these formats, and would have that number of records. Without a format here, no format explains
    /// the file.
    Unclear(Vec<(Format, u64)>),
}

impl Verdict {
    /// It is in `format`, and no other one explains the file.
    fn is(format: Format) -> Self {
        Verdict::Is {
            format,
            outweighed: Vec::new(),
        }
    }
}

/// Looks at a log of `length` bytes. Reads the size field of every record once for each format.
pub(crate) fn detect(file: &dyn DiskFile, length: u64) -> io::Result<Verdict> {
    let mut head = [0; MAX_HEADER_BYTES];
    let have = disk::read_up_to(file, &mut head, 0)?;
    if head[..have].iter().all(|byte| *byte == 0) {
        // Headers of logs without records. As bare logs, these would be one or two empty records.
        match length {
            0..8 => return Ok(Verdict::Nothing),
            8 => return Ok(Verdict::is(Format::Count8)),
            16 => return Ok(Verdict::is(Format::Count16)),
            _ => {}
        }
    }
    let mut trials = Vec::with_capacity(Format::ALL.len());
    for format in Format::ALL {
        trials.push(attempt(file, length, format, &head[..have])?);
    }
    judge(file, length, &trials)
}

fn judge(file: &dyn DiskFile, length: u64, trials: &[Trial]) -> io::Result<Verdict> {
    let mut candidates: Vec<&Trial> = trials.iter().filter(|t| t.fit == Fit::Whole).collect();
    if candidates.is_empty() {
        candidates = trials.iter().filter(|t| stopped(t, trials)).collect();
        if candidates.len() != 1 {
            let counted = |t: &&Trial| matches!(t.fit, Fit::Uncounted | Fit::Torn);
            return Ok(unclear(trials.iter().filter(counted)));
        }
    }
    let mut winners = Vec::new();
    for candidate in &candidates {
        let others = trials.iter().filter(|t| t.format != candidate.format);
        let rivals: Vec<&Trial> = others.filter(|t| is_rival(candidate, t)).collect();
        let mut wins = true;
        for rival in &rivals {
            wins = wins && outweighs(file, length, candidate, rival)?;
        }
        if wins {
            let to_the_end = |t: &&&Trial| matches!(t.fit, Fit::Whole | Fit::Uncounted);
            let rivals = rivals.iter().filter(to_the_end).map(|t| t.format);
            winners.push((candidate.format, rivals.collect::<Vec<_>>()));
        }
    }
    Ok(match &winners[..] {
        [(format, outweighed)] => Verdict::Is {
            format: *format,
            outweighed: outweighed.clone(),
        },
        _ => unclear(trials.iter().filter(|t| {
            let mut fits = candidates.iter();
            fits.any(|candidate| candidate.format == t.format || is_rival(candidate, t))
        })),
    })
}

fn unclear<'a>(could_be: impl Iterator<Item = &'a Trial>) -> Verdict {
    Verdict::Unclear(could_be.map(|t| (t.format, t.records)).collect())
}

/// Whether `trial` explains a file that is whole in no format, since its writer was stopped: its counted records reach at
/// least as far as the other readings, leaving out a counting format whose own count is wrong.
fn stopped(trial: &Trial, trials: &[Trial]) -> bool {
    let is_wrong = |other: &Trial| other.fit == Fit::No && other.format != Format::Bare;
    matches!(trial.fit, Fit::Uncounted | Fit::Torn)
        && trials
            .iter()
            .filter(|other| other.format != trial.format && !is_wrong(other))
            .all(|other| other.reach <= trial.counted_end)
}

/// Whether `other` explains the file, too, well enough to be weighed against `candidate`. A row of the table is an arm.
fn is_rival(candidate: &Trial, other: &Trial) -> bool {
    let whole = candidate.fit == Fit::Whole;
    match other.fit {
        Fit::Whole => true,
        // A count of 0 proves nothing, unless the file is exactly what a first append leaves when it stops before it writes
        // the count.
        Fit::Uncounted if whole => {
            other.records > 0 || other.format == Format::Count16 || other.whole == 1
        }
        Fit::Torn if whole => candidate.format == Format::Bare || other.records >= FEW,
        Fit::Uncounted | Fit::Torn => true,
        // A bare log with a torn tail.
        Fit::No => {
            other.format == Format::Bare
                && (candidate.reach == other.reach
                    || candidate.records < FEW && other.whole >= 2 * FEW)
        }
    }
}

/// Whether more speaks for `candidate` than for `rival`, and leaves no doubt. A row of the table is an arm.
fn outweighs(
    file: &dyn DiskFile,
    length: u64,
    candidate: &Trial,
    rival: &Trial,
) -> io::Result<bool> {
    let apart = apart(file, length, [candidate.format, rival.format])?;
    // The second witness counts as one record more.
    let witness = |t: &Trial| u64::from(t.format == Format::Count16 && t.records > 0);
    let ours = apart.own[0].records + witness(candidate);
    let theirs = apart.own[1].records + witness(rival);
    let far_more = |more: u64, less: u64| more >= 2 * FEW && more >= 2 * less;
    let enough = candidate.records >= FEW || candidate.fit != Fit::Whole;
    Ok(match (candidate.format, rival.format, apart.meet) {
        (Format::Bare, ..) => match rival.fit {
            Fit::Torn => ours > theirs,
            // A stopped writer leaves few records uncounted.
            Fit::Uncounted => {
                let uncounted = rival.whole - rival.records;
                rival.records < FEW && uncounted >= FEW && far_more(ours, theirs)
            }
            Fit::Whole | Fit::No => false,
        },
        (_, Format::Bare, None) => !far_more(theirs, ours),
        (Format::Count8, Format::Bare, Some(meet)) => {
            enough && ours >= theirs.max(1) && are_like(apart.own[0], file, length, meet, FEW - 1)?
        }
        _ => enough && ours >= theirs.max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Overlay;

    fn of(bytes: &[u8]) -> Verdict {
        let file = Overlay::new(None);
        disk::write_all(&file, bytes, 0).expect("written");
        detect(&file, bytes.len() as u64).expect("read")
    }

    fn log(format: Format, counted: usize, payloads: &[&[u8]]) -> Vec<u8> {
        let mut records = Vec::new();
        let mut last = 0;
        for (n, payload) in payloads.iter().enumerate() {
            if n < counted {
                last = format.header_bytes() + records.len() as u64;
            }
            records.extend_from_slice(&(payload.len() as u64).to_le_bytes());
            records.extend_from_slice(payload);
        }
        [format.header(counted as u64, last).as_bytes(), &records].concat()
    }

    const PAYLOADS: [&[u8]; 5] = [b"first", b"", b"the third one", b"x", b"last"];

    #[test]
    fn a_whole_log_is_what_it_is() {
        for format in Format::ALL {
            for count in 1..=PAYLOADS.len() {
                let bytes = log(format, count, &PAYLOADS[..count]);
                assert_eq!(of(&bytes), Verdict::is(format), "{count}");
            }
        }
    }

    #[test]
    fn the_header_of_a_log_without_records_is_that() {
        assert_eq!(of(&[]), Verdict::Nothing);
        assert_eq!(of(&[0; 7]), Verdict::Nothing);
        assert_eq!(of(&[0; 8]), Verdict::is(Format::Count8));
        assert_eq!(of(&[0; 16]), Verdict::is(Format::Count16));
        assert_eq!(of(b"text"), Verdict::Unclear(Vec::new()));
        assert_eq!(of(&[0; 12]), Verdict::Unclear(Vec::new()));
    }

    #[test]
    fn a_stopped_writer_of_a_counting_format_is_recognised_and_one_of_bare_is_not_guessed() {
        for format in [Format::Count8, Format::Count16] {
            let uncounted = log(format, 4, &PAYLOADS);
            assert_eq!(of(&uncounted), Verdict::is(format));
            for cut in 1..4 {
                let torn = &uncounted[..uncounted.len() - cut];
                assert_eq!(of(torn), Verdict::is(format), "{format}, {cut}");
            }
        }
        let torn = log(Format::Bare, 0, &PAYLOADS);
        assert_eq!(of(&torn[..torn.len() - 1]), Verdict::Unclear(Vec::new()));
    }

    #[test]
    fn a_first_append_that_was_stopped_before_the_count_could_be_a_bare_log() {
        for format in [Format::Count8, Format::Count16] {
            let could_be = match of(&log(format, 0, &[b"uncounted"])) {
                Verdict::Unclear(could_be) => could_be,
                other => panic!("{other:?}"),
            };
            assert!(could_be.contains(&(format, 0)), "{could_be:?}");
            assert!(could_be.iter().any(|(f, _)| *f == Format::Bare));
        }
        // One empty record and many others are a bare log, as it has always been.
        let bare = log(Format::Bare, 0, &[b"", b"a", b"b"]);
        assert_eq!(of(&bare), Verdict::is(Format::Bare));
    }

    #[test]
    fn two_whole_explanations_are_one_too_many() {
        // As count8: one record of 16 bytes. As count16: one of 8, at 16.
        let both = [1u64, 16, 8, 0].map(u64::to_le_bytes).concat();
        assert_eq!(
            of(&both),
            Verdict::Unclear(vec![(Format::Count8, 1), (Format::Count16, 1)])
        );
        // As bare: one of 13 bytes, which hold the records of count8.
        let inner: Vec<&[u8]> = vec![b""; 16];
        let aligned = log(Format::Count8, 16, &inner);
        assert_eq!(
            of(&aligned),
            Verdict::Unclear(vec![(Format::Bare, 15), (Format::Count8, 16)])
        );
    }

    /// 18 records of 10 bytes: as `bare`, the first size is 18, behind which the second record starts.
    #[test]
    fn regression_a_counted_log_that_is_also_whole_as_bare_is_opened_by_its_count() {
        let eighteen: Vec<&[u8]> = vec![b"ten bytes\n"; 18];
        let bytes = log(Format::Count8, 18, &eighteen);
        let over_bare = |format| Verdict::Is {
            format,
            outweighed: vec![Format::Bare],
        };
        assert_eq!(of(&bytes), over_bare(Format::Count8));
        // The first size of `bare` is then that of what lies before the first record, or of it and of that record.
        for count in [8, 26] {
            let some: Vec<&[u8]> = vec![b"ten bytes\n"; count];
            let bytes = log(Format::Count16, count, &some);
            assert_eq!(of(&bytes), over_bare(Format::Count16));
        }
    }

    #[test]
    fn a_count_that_is_right_by_chance_proves_nothing() {
        // A bare log of 18 records of 18 bytes, each with a size in front of a text.
        let framed = [&10u64.to_le_bytes()[..], b"ten bytes\n"].concat();
        let bytes = log(Format::Bare, 0, &[&framed[..]; 18]);
        let could_be = vec![(Format::Bare, 18), (Format::Count8, 18)];
        assert_eq!(of(&bytes), Verdict::Unclear(could_be));
        // The same of all sizes; behind the count there is a record of ten bytes, and then others that hold records.
        let text = [&8u64.to_le_bytes()[..], b"a longer text"].concat();
        let mut records: Vec<&[u8]> = vec![&framed, &text];
        records.resize(18, b"text");
        let could_be = vec![(Format::Bare, 18), (Format::Count8, 18)];
        let bytes = log(Format::Bare, 0, &records);
        assert_eq!(of(&bytes), Verdict::Unclear(could_be));
        // Records without a byte are found in any zeros.
        let zeros: Vec<&[u8]> = vec![&[0; 16]; 15];
        let could_be = vec![(Format::Bare, 15), (Format::Count8, 16)];
        assert_eq!(
            of(&log(Format::Bare, 0, &zeros)),
            Verdict::Unclear(could_be)
        );
    }

    /// The second record starts one byte into the size that `count8` reads: 'a' and 1 are 353.
    #[test]
    fn regression_a_bare_log_of_single_bytes_is_not_taken_for_a_few_counted_ones() {
        let bare = |records| log(Format::Bare, 0, &vec![&b"a"[..]; records]);
        let could_be = |uncounted| match of(&bare(uncounted)) {
            Verdict::Unclear(could_be) => could_be,
            other => panic!("{other:?}"),
        };
        let one = vec![(Format::Bare, 41), (Format::Count8, 1)];
        assert_eq!(could_be(41), one, "one record of 353 bytes");
        assert_eq!(
            could_be(48)[0],
            (Format::Bare, 48),
            "and seven that are not counted"
        );
        assert_eq!(
            of(&bare(49)),
            Verdict::Is {
                format: Format::Bare,
                outweighed: vec![Format::Count8]
            }
        );
        // Torn where `count8` ends.
        let bytes = log(Format::Bare, 0, &[&b"c"[..]; 42]);
        assert_eq!(
            of(&bytes[..16 + 355]),
            Verdict::Unclear(vec![(Format::Bare, 41), (Format::Count8, 1)])
        );
    }

    #[test]
    fn a_wrong_second_witness_is_no_count16() {
        let mut bytes = log(Format::Count16, 5, &PAYLOADS);
        bytes[8] ^= 1;
        assert_eq!(of(&bytes), Verdict::Unclear(Vec::new()));
        let negative = [[0xff; 16].to_vec(), vec![0; 3]].concat();
        assert_eq!(of(&negative), Verdict::Unclear(Vec::new()));
    }
}
