//! A buffer over a file, for many small reads.

use std::io;

use super::seam::DiskFile;
use super::whole::read_up_to;

/// What a walk along a file reads at a time.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A file that is read in large pieces, for a walk that looks at small ones, mostly in order.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    pub(crate) piece_bytes: usize,
    buffer: Vec<u8>,
    /// The buffer holds `filled` bytes of the file, from `start` on.
    start: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, piece_bytes: usize) -> Self {
        Window {
            file,
            piece_bytes,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
        }
    }

    /// `count` bytes at `offset`; fails with `UnexpectedEof` where the file ends before. `count` is at most `piece_bytes`.
    pub(crate) fn get(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let bytes = self.up_to(offset, count)?;
        if bytes.len() == count {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// As [`Window::get`], but gives fewer bytes where the file ends.
    pub(crate) fn up_to(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let inside = offset
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok());
        let held = |at: &usize| at.checked_add(count).is_some_and(|end| end <= self.filled);
        let at = match inside.filter(held) {
            Some(at) => at,
            None => {
                if self.buffer.is_empty() {
                    self.buffer = vec![0; self.piece_bytes];
                }
                self.filled = 0;
                self.filled = read_up_to(self.file, &mut self.buffer, offset)?;
                self.start = offset;
                0
            }
        };
        Ok(&self.buffer[at..self.filled.min(at + count)])
    }
}
