//! Why nothing could be mounted.

use std::fmt;
use std::path::Path;

/// Why nothing could be mounted: the mount point, the cause, the way out.
#[derive(Debug)]
pub struct MountError(pub(in crate::fuse) String);

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MountError {}

/// The error that nothing can be mounted at `mountpoint`.
pub(in crate::fuse) fn cannot(mountpoint: &Path, why: impl fmt::Display) -> MountError {
    MountError(format!("cannot mount on '{}': {why}", mountpoint.display()))
}
