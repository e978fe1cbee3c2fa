//! The name of a log, which is one component of a path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};

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

    /// The file of its log, in the directory `dir` of logs.
    pub fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.log"))
    }

    /// The file of its index, in the directory `dir` of logs.
    pub fn index_path(&self, dir: &Path) -> PathBuf {
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
