//! Checks text that is too long to be held in memory as a whole.

/// Tells whether bytes that come in pieces are UTF-8.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character that the last piece has cut.
    begun: [u8; 4],
    length: usize,
    is_not: bool,
}

impl Utf8 {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while self.length > 0 && !self.is_not {
            let Some((first, rest)) = piece.split_first() else {
                return;
            };
            self.begun[self.length] = *first;
            piece = rest;
            match std::str::from_utf8(&self.begun[..=self.length]) {
                Ok(_) => self.length = 0,
                // This ends at four bytes: they are a character, or none begins with them.
                Err(e) if e.error_len().is_none() => self.length += 1,
                Err(_) => self.is_not = true,
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => {}
            Err(e) if e.error_len().is_none() => {
                let begun = &piece[e.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.length = begun.len();
            }
            Err(_) => self.is_not = true,
        }
    }

    /// Whether all pieces together are UTF-8.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_not && self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Utf8;

    proptest! {
        #[test]
        fn utf8_in_pieces_is_utf8_as_a_whole(
            text in "\\PC{0,20}",
            flipped in proptest::option::of((any::<prop::sample::Index>(), 0u8..8)),
            pieces in 1usize..6,
        ) {
            let mut bytes = text.into_bytes();
            if let Some((at, bit)) = flipped
                && !bytes.is_empty()
            {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            let mut utf8 = Utf8::default();
            for piece in bytes.chunks(pieces) {
                utf8.push(piece);
            }
            prop_assert_eq!(utf8.is_whole(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
