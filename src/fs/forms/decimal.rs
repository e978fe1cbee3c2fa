//! Numbers in decimal.

/// Enough for any `u64`.
pub(crate) const DECIMAL_DIGITS: usize = 20;

/// Writes a number without allocating memory: a listing of a million records writes a million names.
pub(crate) fn decimal(mut n: u64, digits: &mut [u8; DECIMAL_DIGITS]) -> &str {
    let mut start = DECIMAL_DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return std::str::from_utf8(&digits[start..]).unwrap_or_default();
        }
    }
}
