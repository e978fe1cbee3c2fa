//! Ids are types: a namespace's name, a record's number, a place in a log.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Error, Result};

/// The number of a record in its log: the first is 0, and there are no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordNo(pub u64);

impl fmt::Display for RecordNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record's size field is, in bytes from the start of the log file. Record 0 of a `count8` log is at
/// 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteIndex(pub u64);

impl fmt::Display for ByteIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest name: `.log` and what other tools put behind a name still fit into 255 bytes.
pub const MAX_NAMESPACE_BYTES: usize = 200;

/// The name of a log: 1 to 200 bytes of `A-Z a-z 0-9 . _ -`, not starting with a dot. So it is always one
/// path component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::InvalidNamespace`].
    pub fn new(name: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=MAX_NAMESPACE_BYTES).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(allowed)
        {
            Ok(Namespace(name.into()))
        } else {
            Err(Error::InvalidNamespace {
                name: name.to_owned(),
            })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.log"))
    }

    pub(crate) fn index_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.idx"))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that a map by `Namespace` can be asked with a `&str`.
impl std::borrow::Borrow<str> for Namespace {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_no_names() {
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "../a",
            "a\0b",
            "a b",
            "ü",
            "a\n",
            &"x".repeat(201),
        ] {
            assert!(Namespace::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "A-b_c.9", "-", "_", "a..b", &"x".repeat(200)] {
            assert_eq!(Namespace::new(good).expect("a name").as_str(), good);
        }
    }
}
