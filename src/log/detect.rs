//! Telling a log's format from its bytes, where no index of ours says it.
//!
//! Nothing is guessed. Each format is tried as an explanation of the file; the one that explains it to its
//! last byte is the log's, unless another one does so too, or would if the log's writer had been stopped in
//! the middle. Whoever knows better says so with
//! [`Options::assume_format`](super::Options::assume_format), which decides where this does not.

use std::io;

use super::Format;
use super::disk::{self, DiskFile};
use super::format::{Header, MAX_HEADER_BYTES, SIZE_FIELD_BYTES, decode_length, u64_at};
use super::walk::WINDOW_BYTES;
use super::window::Window;

/// How often a header is read again that a writer changes under the reader.
const HEADER_READS: u32 = 100;

/// The header of a log, as its writer wrote it: a read may run into a write of its bytes, and see a part of each. So it is
/// read until two reads agree.
pub(crate) fn read_header(file: &dyn DiskFile, format: Format) -> io::Result<Header> {
    let read = || {
        let mut head = [0; MAX_HEADER_BYTES];
        let have = disk::read_up_to(file, &mut head, 0)?;
        let whole = have as u64 >= format.header_bytes();
        Ok::<_, io::Error>(Header::of(format, if whole { &head[..have] } else { &[] }))
    };
    let mut header = read()?;
    if format != Format::Bare {
        for _ in 0..HEADER_READS {
            let again = read()?;
            if again == header {
                break;
            }
            header = again;
        }
    }
    Ok(header)
}

/// What the bytes of a log say about its format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is this one.
    Is(Format),
    /// No byte tells: there is none, or only a part of a header with no record in it.
    Nothing,
    /// It could be any of these, with so many records; or, if there are none here, it is whole in no format.
    Unclear(Vec<(Format, u64)>),
}

/// How well a format explains a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// To its last byte, and the header agrees.
    Whole,
    /// All that is counted is there; behind it are whole records to the last byte: appended, and not counted
    /// (yet).
    Uncounted,
    /// All that is counted is there, at least one record; behind it is something else: an append that was cut
    /// short.
    Torn,
    /// Not at all.
    No,
}

/// A file, tried as a format.
#[derive(Clone, Copy, Debug)]
struct Trial {
    format: Format,
    fit: Fit,
    /// The records that count in this format; all whole ones in a `bare` log.
    records: u64,
    /// Whole records, counted or not.
    whole: u64,
    /// Where the last record that counts ends.
    counted_end: u64,
    /// Where the whole records end.
    reach: u64,
}

/// Looks at a log of `length` bytes. Reads the size field of every record once for each format that it could
/// be.
pub(crate) fn detect(file: &dyn DiskFile, length: u64) -> io::Result<Verdict> {
    let mut head = [0; MAX_HEADER_BYTES];
    let have = disk::read_up_to(file, &mut head, 0)?;
    if head[..have].iter().all(|byte| *byte == 0) {
        // Headers of logs that have no record. As bare logs, these would be one or two records without a
        // byte.
        match length {
            0..8 => return Ok(Verdict::Nothing),
            8 => return Ok(Verdict::Is(Format::Count8)),
            16 => return Ok(Verdict::Is(Format::Count16)),
            _ => {}
        }
    }
    let mut trials = Vec::with_capacity(Format::ALL.len());
    for format in Format::ALL {
        trials.push(attempt(file, length, format, &head[..have])?);
    }
    Ok(judge(&trials))
}

fn judge(trials: &[Trial]) -> Verdict {
    let of = |fit| move |trial: &&Trial| trial.fit == fit;
    let unclear = |could_be: &mut dyn Iterator<Item = &Trial>| {
        Verdict::Unclear(could_be.map(|t| (t.format, t.records)).collect())
    };
    let strong = |trial: &&Trial| match trial.fit {
        Fit::Whole => true,
        // Nothing counted explains nothing, but where it is just what a first append leaves that was stopped
        // before the count.
        Fit::Uncounted => trial.records > 0 || trial.format == Format::Count16 || trial.whole == 1,
        Fit::Torn | Fit::No => false,
    };
    let mut whole = trials.iter().filter(of(Fit::Whole));
    match (whole.next(), whole.next()) {
        (Some(_), Some(_)) => return unclear(&mut trials.iter().filter(of(Fit::Whole))),
        (Some(only), None) => {
            return if trials.iter().filter(strong).count() == 1 {
                Verdict::Is(only.format)
            } else {
                unclear(&mut trials.iter().filter(strong))
            };
        }
        (None, _) => {}
    }
    // Nothing explains the last byte: a writer was stopped. Then what is counted has to be there, and has to
    // explain more of the file than any other format does that is not at odds with its own count.
    let rivals = |trial: &Trial| {
        let at_odds = |other: &Trial| other.fit == Fit::No && other.format != Format::Bare;
        let format = trial.format;
        trials
            .iter()
            .filter(move |other| other.format != format && !at_odds(other))
    };
    let stopped = |trial: &&Trial| {
        matches!(trial.fit, Fit::Uncounted | Fit::Torn)
            && rivals(trial).all(|other| other.reach <= trial.counted_end)
    };
    let mut candidates = trials.iter().filter(stopped);
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Verdict::Is(only.format),
        _ => {
            let counted = |trial: &&Trial| matches!(trial.fit, Fit::Uncounted | Fit::Torn);
            unclear(&mut trials.iter().filter(counted))
        }
    }
}

/// Goes along the file as a log of `format`.
fn attempt(file: &dyn DiskFile, length: u64, format: Format, head: &[u8]) -> io::Result<Trial> {
    let start = format.header_bytes();
    let mut trial = Trial {
        format,
        fit: Fit::No,
        records: 0,
        whole: 0,
        counted_end: start,
        reach: start.min(length),
    };
    if length < start {
        return Ok(trial);
    }
    let header = Header::of(format, head);
    let claimed = match format {
        Format::Bare => Some(u64::MAX),
        Format::Count8 | Format::Count16 => u64::try_from(header.count()).ok(),
    };
    // Where the last counted record is; the second witness of `count16`.
    let mut last_index = 0;
    let mut window = Window::new(file, WINDOW_BYTES);
    while length - trial.reach >= SIZE_FIELD_BYTES {
        let field = window.get(trial.reach, 8)?;
        let room = length - trial.reach - SIZE_FIELD_BYTES;
        let size = decode_length(u64_at(field, 0).to_le_bytes()).filter(|size| *size <= room);
        let Some(size) = size else { break };
        let index = trial.reach;
        trial.whole += 1;
        trial.reach += SIZE_FIELD_BYTES + size;
        if claimed.is_some_and(|claimed| trial.whole <= claimed) {
            trial.records = trial.whole;
            trial.counted_end = trial.reach;
            last_index = index;
        }
    }
    let to_the_end = trial.reach == length;
    trial.fit = match claimed {
        _ if format == Format::Bare && to_the_end => Fit::Whole,
        Some(claimed)
            if trial.records == claimed
                && (format != Format::Count16 || header.last_index() == last_index) =>
        {
            match to_the_end {
                true if trial.whole == claimed => Fit::Whole,
                true => Fit::Uncounted,
                false if claimed > 0 => Fit::Torn,
                false => Fit::No,
            }
        }
        _ => Fit::No,
    };
    Ok(trial)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Mutex;

    use super::*;
    use crate::log::index::Overlay;
    use crate::log::signal::lock;

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
                assert_eq!(of(&bytes), Verdict::Is(format), "{count}");
            }
        }
    }

    /// Each read gives the next of some headers, and then the last one: what a reader sees beside a writer.
    #[derive(Debug)]
    struct Changing(Mutex<Vec<Vec<u8>>>);

    impl DiskFile for Changing {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut headers = lock(&self.0);
            let header = match headers.len() {
                1 => headers[0].clone(),
                _ => headers.remove(0),
            };
            let rest = header.get(offset as usize..).unwrap_or_default();
            let bytes = rest.len().min(buf.len());
            buf[..bytes].copy_from_slice(&rest[..bytes]);
            Ok(bytes)
        }

        fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(MAX_HEADER_BYTES as u64)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The count of a `count8` log was read once: a read that ran into its write gave a count of which half was new, and
    /// a follower saw records that were not committed.
    #[test]
    fn regression_a_torn_count_is_read_again_in_every_format_that_has_one() {
        for format in [Format::Count8, Format::Count16] {
            let header = |count: u64| {
                let mut bytes = format.header(count, 16).as_bytes().to_vec();
                bytes.resize(MAX_HEADER_BYTES, 0);
                bytes
            };
            // From 0xff to 0x100: 0x1ff is of neither.
            let [old, torn, new] = [0xff, 0x1ff, 0x100].map(header);
            for seen in [
                vec![torn.clone(), new.clone()],
                vec![old, torn, new.clone()],
            ] {
                let file = Changing(Mutex::new(seen));
                let found = read_header(&file, format).expect("read");
                assert_eq!(found, Header::of(format, &new), "{format}");
            }
        }
    }

    #[test]
    fn the_header_of_a_log_without_records_is_that() {
        assert_eq!(of(&[]), Verdict::Nothing);
        assert_eq!(of(&[0; 7]), Verdict::Nothing);
        assert_eq!(of(&[0; 8]), Verdict::Is(Format::Count8));
        assert_eq!(of(&[0; 16]), Verdict::Is(Format::Count16));
        assert_eq!(of(b"text"), Verdict::Unclear(Vec::new()));
        assert_eq!(of(&[0; 12]), Verdict::Unclear(Vec::new()));
    }

    #[test]
    fn a_stopped_writer_of_a_counting_format_is_recognised_and_one_of_bare_is_not_guessed() {
        for format in [Format::Count8, Format::Count16] {
            let uncounted = log(format, 4, &PAYLOADS);
            assert_eq!(of(&uncounted), Verdict::Is(format));
            for cut in 1..4 {
                let torn = &uncounted[..uncounted.len() - cut];
                assert_eq!(of(torn), Verdict::Is(format), "{format}, {cut}");
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
        assert_eq!(of(&bare), Verdict::Is(Format::Bare));
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

    #[test]
    fn a_wrong_second_witness_is_no_count16() {
        let mut bytes = log(Format::Count16, 5, &PAYLOADS);
        bytes[8] ^= 1;
        assert_eq!(of(&bytes), Verdict::Unclear(Vec::new()));
        let negative = [[0xff; 16].to_vec(), vec![0; 3]].concat();
        assert_eq!(of(&negative), Verdict::Unclear(Vec::new()));
    }
}
