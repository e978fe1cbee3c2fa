//! Takes text apart into lines, wherever the writer's buffers cut it.

use crate::fs::budget::Waiting;
use crate::fs::errno::Errno;

/// What a handle of `append-lines` holds back: a line whose newline has not been written yet.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Waiting,
}

impl Lines {
    /// Starts with no open line; `partial` counts the memory of the open line against its budget.
    pub(crate) fn new(partial: Waiting) -> Lines {
        Lines { partial }
    }

    /// Takes the bytes of one write. Hands its complete lines, each with its newline, to `store` in one call, and keeps
    /// what stands behind the last newline as the open line. A write that fails changes nothing: the open line of
    /// earlier writes stays.
    ///
    /// # Errors
    /// `EMSGSIZE` when a line would become longer than `max_bytes`; `ENOBUFS` when the budget for open lines is used up;
    /// errors of `store`.
    pub fn write(
        &mut self,
        data: &[u8],
        max_bytes: u64,
        store: impl FnOnce(&[&[u8]]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let first_end = memchr::memchr(b'\n', data).map(|at| at + 1);
        let first = &data[..first_end.unwrap_or(data.len())];
        let too_long = |bytes: usize| bytes as u64 > max_bytes;
        if too_long(self.partial.bytes.len() + first.len()) {
            return Err(Errno::EMSGSIZE);
        }
        let Some(first_end) = first_end else {
            return self.partial.push(data);
        };
        let rest = &data[first_end..];
        let mut lines: Vec<&[u8]> = vec![&[]];
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', rest) {
            lines.push(&rest[start..=newline]);
            start = newline + 1;
        }
        if too_long(rest.len() - start) || lines.iter().any(|line| too_long(line.len())) {
            return Err(Errno::EMSGSIZE);
        }
        let waited = self.partial.bytes.len();
        self.partial.push(first)?;
        let Waiting { bytes, share } = &mut self.partial;
        lines[0] = bytes;
        let stored = share
            .at_least(rest.len() - start)
            .and_then(|()| store(&lines));
        match stored {
            Ok(()) => {
                bytes.clear();
                self.partial.push(&rest[start..])?; // Cannot fail: `at_least` has reserved the memory.
            }
            Err(_) => bytes.truncate(waited),
        }
        self.partial.give_back();
        stored
    }

    /// Hands the open line, if there is one, to `store`, as a record without a newline. When `store` fails, the line stays
    /// open.
    ///
    /// # Errors
    /// Errors of `store`.
    pub fn finish(
        &mut self,
        store: impl FnOnce(&[&[u8]]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.has_partial() {
            store(&[&self.partial.bytes])?;
            self.partial.bytes = Vec::new();
            self.partial.give_back();
        }
        Ok(())
    }

    /// Whether there is an open line.
    pub fn has_partial(&self) -> bool {
        !self.partial.bytes.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keep(records: &mut Vec<Vec<u8>>) -> impl FnOnce(&[&[u8]]) -> Result<(), Errno> {
        |lines| {
            records.extend(lines.iter().map(|l| l.to_vec()));
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_the_writes_cut(
            text in proptest::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..400),
            cuts in proptest::collection::vec(1usize..50, 0..40),
        ) {
            let mut lines = Lines::default();
            let mut records = Vec::new();
            let mut rest = &text[..];
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                lines.write(now, 1000, keep(&mut records)).unwrap();
                rest = later;
            }
            lines.finish(keep(&mut records)).unwrap();
            let expected: Vec<_> = text.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(records, expected);
        }
    }

    #[test]
    fn a_refused_write_leaves_what_waited() {
        let mut lines = Lines::default();
        let mut records = Vec::new();
        lines.write(b"ab", 10, keep(&mut records)).unwrap();
        assert_eq!(
            lines.write(b"c\nd", 10, |_| Err(Errno::ENOSPC)),
            Err(Errno::ENOSPC)
        );
        assert_eq!(
            lines.write(b"123456789\n", 10, keep(&mut records)),
            Err(Errno::EMSGSIZE)
        );
        for long in [&b"c\n0123456789\nd"[..], b"c\n0123456789d"] {
            assert_eq!(
                lines.write(long, 10, keep(&mut records)),
                Err(Errno::EMSGSIZE)
            );
        }
        lines.write(b"c\nd", 10, keep(&mut records)).unwrap();
        lines.finish(keep(&mut records)).unwrap();
        assert_eq!(records, [b"abc\n".to_vec(), b"d".to_vec()]);
        assert!(!lines.has_partial());
    }
}
