//! Takes frames apart into records, wherever the writer's buffers cut them.
//!
//! ```text
//! frame     [size: i64, little-endian, 0 or more][payload: `size` bytes]
//! ```
//!
//! [`View::Frames`](super::view::View::Frames) shows the records of a log in the same form.

use std::fmt;

use crate::fs::budget::Waiting;
use crate::fs::errno::Errno;

/// The bytes of a frame's size.
const SIZE_BYTES: usize = 8;

/// What a handle of `append-frames` holds back: a frame whose end has not been written yet.
#[derive(Debug, Default)]
pub struct Frames {
    /// The size field, or its beginning, and the part of the payload that has been written. A complete size field has
    /// been checked.
    partial: Waiting,
}

/// Why a write to `append-frames` was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The size of a frame is negative.
    Malformed {
        /// The size field.
        size: i64,
    },
    /// A frame is longer than a record may be.
    TooLarge {
        /// The size field, in bytes.
        size: u64,
        /// The most bytes that a record may have.
        limit: u64,
    },
    /// The complete frames of the write could not be stored.
    NotStored(Errno),
}

impl From<Refused> for Errno {
    fn from(refused: Refused) -> Errno {
        match refused {
            Refused::Malformed { .. } => Errno::EINVAL,
            Refused::TooLarge { .. } => Errno::EMSGSIZE,
            Refused::NotStored(errno) => errno,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed { size } => write!(
                f,
                "a frame's size is {size} (a frame is 8 bytes, little-endian, that say how many bytes follow, and \
                 those bytes)"
            ),
            Refused::TooLarge { size, limit } => write!(
                f,
                "a frame's size is {size}, and a record has {limit} bytes at most (raise --max-record; text that is \
                 not in frames belongs into 'append-lines')"
            ),
            Refused::NotStored(errno) => errno.fmt(f),
        }
    }
}

/// What is missing of an unfinished frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The end of the size field.
    Size {
        /// Number of missing bytes.
        missing: usize,
    },
    /// The end of the payload.
    Payload {
        /// Number of missing bytes.
        missing: u64,
        /// Bytes of the whole payload, as the size field says.
        size: u64,
    },
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfinished::Size { missing } => {
                write!(
                    f,
                    "{missing} of the {SIZE_BYTES} bytes of its size are missing"
                )
            }
            Unfinished::Payload { missing, size } => {
                write!(
                    f,
                    "{missing} of the {size} bytes of its payload are missing"
                )
            }
        }
    }
}

impl Frames {
    /// Starts with no unfinished frame; `partial` counts the memory of the unfinished frame against its budget.
    pub(crate) fn new(partial: Waiting) -> Frames {
        Frames { partial }
    }

    /// Takes the bytes of one write. Hands the payloads of its complete frames to `store` in one call, and keeps the
    /// unfinished frame at the end. A write that is refused changes nothing: the unfinished frame of earlier writes stays.
    ///
    /// A size is checked as soon as its 8 bytes are complete, so that never more than `max_bytes` of a payload are held.
    ///
    /// # Errors
    /// A size that is negative or above `max_bytes`; `ENOBUFS` when the budget for unfinished frames is used up; errors of
    /// `store`.
    pub fn write(
        &mut self,
        data: &[u8],
        max_bytes: u64,
        store: impl FnOnce(&[&[u8]]) -> Result<(), Errno>,
    ) -> Result<(), Refused> {
        let waited = self.partial.bytes.len();
        let result = self.take(data, max_bytes, store);
        if result.is_err() {
            self.partial.bytes.truncate(waited);
            self.partial.give_back();
        }
        result
    }

    /// As [`Frames::write`], but a write that is refused may leave bytes behind the unfinished frame.
    fn take(
        &mut self,
        data: &[u8],
        max_bytes: u64,
        store: impl FnOnce(&[&[u8]]) -> Result<(), Errno>,
    ) -> Result<(), Refused> {
        let mut rest = data;
        let mut payloads: Vec<&[u8]> = Vec::new();
        if !self.partial.bytes.is_empty() {
            self.fill(SIZE_BYTES, &mut rest)?;
            let Some(size) = size_at(&self.partial.bytes, max_bytes)? else {
                return Ok(());
            };
            self.fill(SIZE_BYTES + size, &mut rest)?;
            if self.partial.bytes.len() < SIZE_BYTES + size {
                return Ok(());
            }
        }
        let Waiting { bytes, share } = &mut self.partial;
        if !bytes.is_empty() {
            payloads.push(&bytes[SIZE_BYTES..]);
        }
        while let Some(size) = size_at(rest, max_bytes)? {
            let Some((payload, behind)) = rest[SIZE_BYTES..].split_at_checked(size) else {
                break;
            };
            payloads.push(payload);
            rest = behind;
        }
        if !payloads.is_empty() {
            share.at_least(rest.len()).map_err(Refused::NotStored)?;
            store(&payloads).map_err(Refused::NotStored)?;
            bytes.clear();
        }
        self.partial.push(rest).map_err(Refused::NotStored)?;
        self.partial.give_back();
        Ok(())
    }

    /// Moves bytes from the front of `rest` to the unfinished frame, until that has `bytes` bytes or `rest` is empty.
    fn fill(&mut self, bytes: usize, rest: &mut &[u8]) -> Result<(), Refused> {
        let missing = bytes.saturating_sub(self.partial.bytes.len());
        let (now, later) = rest.split_at(missing.min(rest.len()));
        self.partial.push(now).map_err(Refused::NotStored)?;
        *rest = later;
        Ok(())
    }

    /// What is missing of the unfinished frame; `None` when there is none.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let waiting = &self.partial.bytes;
        let Some((size, payload)) = waiting.split_first_chunk::<SIZE_BYTES>() else {
            let missing = SIZE_BYTES - waiting.len();
            return (missing < SIZE_BYTES).then_some(Unfinished::Size { missing });
        };
        let size = u64::from_le_bytes(*size);
        let missing = size.saturating_sub(payload.len() as u64);
        Some(Unfinished::Payload { missing, size })
    }
}

/// Reads the size at the front of `bytes`; `None` when fewer than 8 bytes are there.
fn size_at(bytes: &[u8], max_bytes: u64) -> Result<Option<usize>, Refused> {
    let Some(size) = bytes.first_chunk::<SIZE_BYTES>() else {
        return Ok(None);
    };
    let size = i64::from_le_bytes(*size);
    let size = u64::try_from(size).map_err(|_| Refused::Malformed { size })?;
    let limit = max_bytes.min(isize::MAX as u64 - SIZE_BYTES as u64);
    if size > limit {
        return Err(Refused::TooLarge { size, limit });
    }
    Ok(Some(size as usize))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 1000;

    fn keep(records: &mut Vec<Vec<u8>>) -> impl FnOnce(&[&[u8]]) -> Result<(), Errno> {
        |payloads| {
            records.extend(payloads.iter().map(|p| p.to_vec()));
            Ok(())
        }
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u64).to_le_bytes()[..], payload].concat()
    }

    /// A size field and nothing behind it.
    fn size(size: i64) -> Vec<u8> {
        size.to_le_bytes().to_vec()
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_where_the_writes_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20),
            last in proptest::collection::vec(any::<u8>(), 0..60),
            cuts in proptest::collection::vec(1usize..50, 0..60),
        ) {
            // The last frame is one byte short.
            let mut text: Vec<u8> = payloads.iter().flat_map(|p| frame(p)).collect();
            let unfinished = frame(&last);
            text.extend(&unfinished[..unfinished.len() - 1]);
            let mut frames = Frames::default();
            let mut records = Vec::new();
            let mut rest = &text[..];
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                frames.write(now, MAX, keep(&mut records)).unwrap();
                rest = later;
            }
            prop_assert_eq!(&records, &payloads);
            prop_assert!(frames.unfinished().is_some());
            frames.write(&unfinished[unfinished.len() - 1..], MAX, keep(&mut records)).unwrap();
            prop_assert_eq!(records.len(), payloads.len() + 1);
            prop_assert_eq!(records.last(), Some(&last));
            prop_assert_eq!(frames.unfinished(), None);
        }

        /// Any bytes, any cuts, and a store that fails now and then: a write that is refused has not happened.
        #[test]
        fn a_refused_write_has_not_happened(
            writes in proptest::collection::vec(
                (
                    prop_oneof![
                        4 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|p| frame(&p)),
                        1 => proptest::collection::vec(any::<u8>(), 0..20),
                        1 => any::<i64>().prop_map(size),
                        1 => (1001i64..1010).prop_map(size),
                    ],
                    0usize..48,
                    proptest::bool::weighted(0.2),
                ),
                0..40,
            ),
        ) {
            let (mut frames, mut without) = (Frames::default(), Frames::default());
            let (mut records, mut expected) = (Vec::new(), Vec::new());
            for (bytes, cut, fails) in writes {
                let bytes = &bytes[..cut.min(bytes.len())];
                let store = keep(&mut records);
                let result = match fails {
                    true => frames.write(bytes, MAX, |_| Err(Errno::ENOSPC)),
                    false => frames.write(bytes, MAX, store),
                };
                if result.is_ok() {
                    without.write(bytes, MAX, keep(&mut expected)).unwrap();
                }
                prop_assert_eq!(&frames.partial.bytes, &without.partial.bytes);
            }
            prop_assert_eq!(records, expected);
        }
    }

    #[test]
    fn the_whole_frames_of_a_write_are_one_batch_and_a_size_of_0_is_an_empty_record() {
        let mut frames = Frames::default();
        let mut batches: Vec<Vec<Vec<u8>>> = Vec::new();
        let text = [frame(b"ab"), frame(b""), frame(b"cd")].concat();
        let mut write = |bytes: &[u8]| {
            let store = |batch: &[&[u8]]| {
                batches.push(batch.iter().map(|p| p.to_vec()).collect());
                Ok(())
            };
            frames.write(bytes, MAX, store).unwrap();
        };
        write(&text[..9]);
        write(&text[9..27]);
        write(&text[27..]);
        write(&frame(b""));
        assert_eq!(
            batches,
            [
                vec![b"ab".to_vec(), vec![]],
                vec![b"cd".to_vec()],
                vec![vec![]]
            ]
        );
    }

    #[test]
    fn a_bad_size_refuses_its_whole_write_also_when_two_writes_have_brought_it() {
        let mut frames = Frames::default();
        let mut records = Vec::new();
        for bad in [-1, i64::MIN, MAX as i64 + 1, i64::MAX] {
            let expected = match bad {
                ..0 => Refused::Malformed { size: bad },
                _ => Refused::TooLarge {
                    size: bad as u64,
                    limit: MAX,
                },
            };
            // Behind a whole frame.
            let both = [frame(b"whole"), size(bad)].concat();
            let refused = frames.write(&both, MAX, keep(&mut records));
            assert_eq!(refused, Err(expected.clone()));
            assert_eq!(frames.unfinished(), None);
            // In two pieces: the first one waits on.
            frames
                .write(&size(bad)[..5], MAX, keep(&mut records))
                .unwrap();
            for _ in 0..2 {
                let refused = frames.write(&size(bad)[5..], MAX, keep(&mut records));
                assert_eq!(refused, Err(expected.clone()));
                assert_eq!(frames.unfinished(), Some(Unfinished::Size { missing: 3 }));
            }
            frames = Frames::default();
        }
        assert!(records.is_empty());
    }

    #[test]
    fn what_is_missing_of_a_frame_is_known_and_a_large_one_takes_memory_as_it_comes() {
        let mut frames = Frames::default();
        let mut records = Vec::new();
        const LARGE: u64 = 64 << 20;
        for (bytes, missing) in [
            (
                &size(LARGE as i64)[..3],
                "5 of the 8 bytes of its size are missing",
            ),
            (
                &size(LARGE as i64)[3..],
                "67108864 of the 67108864 bytes of its payload are missing",
            ),
            (
                b"abc",
                "67108861 of the 67108864 bytes of its payload are missing",
            ),
        ] {
            frames.write(bytes, LARGE, keep(&mut records)).unwrap();
            assert_eq!(frames.unfinished().unwrap().to_string(), missing);
        }
        assert!(frames.partial.bytes.capacity() < 100);
        frames
            .write(&vec![0; LARGE as usize - 3], LARGE, keep(&mut records))
            .unwrap();
        assert_eq!(records[0].len() as u64, LARGE);
        assert!(
            frames.partial.bytes.capacity() <= 16 << 10,
            "it is given back"
        );
    }

    #[test]
    fn a_refusal_says_what_why_and_the_way_out() {
        let malformed = Refused::Malformed { size: -5 };
        assert_eq!(
            malformed.to_string(),
            "a frame's size is -5 (a frame is 8 bytes, little-endian, that say how many bytes follow, and those bytes)"
        );
        let (size, limit) = (8_245_937_481_775_066_998, 64 << 20);
        let too_large = Refused::TooLarge { size, limit };
        assert_eq!(
            too_large.to_string(),
            "a frame's size is 8245937481775066998, and a record has 67108864 bytes at most (raise --max-record; \
             text that is not in frames belongs into 'append-lines')"
        );
    }
}
