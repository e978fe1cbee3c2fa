//! Small files, such as those that keep rights: read as a whole, and replaced as a whole.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::seam::{Disk, OpenMode};
use super::whole::{read_up_to, write_all};

/// The most bytes that a small file has.
const MOST_BYTES: usize = 4096;

/// A small file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallFile {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// When they changed last; `None`: the disk does not tell.
    pub modified: Option<SystemTime>,
}

/// Reads a small file, which any program may have put there.
///
/// # Errors
/// `NotFound`; `FileTooLarge` above 4096 bytes; what is not an ordinary file; those of the disk.
pub fn read_small_file(disk: &dyn Disk, path: &Path) -> io::Result<SmallFile> {
    let file = disk.open(path, OpenMode::ReadForeign)?;
    let mut bytes = vec![0; MOST_BYTES + 1];
    let length = read_up_to(&*file, &mut bytes, 0)?;
    if length > MOST_BYTES {
        let why = format!("it is larger than {MOST_BYTES} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    bytes.truncate(length);
    let stat = file.stat()?;
    let modified = stat.and_then(|stat| stat.modified_time());
    Ok(SmallFile { bytes, modified })
}

/// Replaces a small file, or makes it. When this returns, the new file and its name are on the disk. After a crash before
/// that, the name leads to the old file or to the new one, each of them whole. No other thread may replace the
/// same file meanwhile.
///
/// # Errors
/// Those of the disk. The old file is there, or put back.
pub fn replace_small_file(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    modified: SystemTime,
) -> io::Result<()> {
    let before = read_small_file(disk, path);
    let new = SmallFile {
        bytes: bytes.to_vec(),
        modified: Some(modified),
    };
    put(disk, path, &new)?;
    let Err(e) = sync_name(disk, path) else {
        return Ok(());
    };
    // A crash may leave either of the two files. Without a crash, the old one has to be there.
    let put_back = match before {
        Ok(old) => put(disk, path, &old),
        Err(e) if e.kind() == ErrorKind::NotFound => disk.remove(path),
        Err(e) => Err(e),
    };
    if let Err(why) = put_back.and_then(|()| sync_name(disk, path)) {
        log::warn!(
            "'{}' may have been replaced, although its replacement has failed: {why}",
            path.display()
        );
    }
    Err(e)
}

/// Writes a file under another name, syncs it, and gives it its name.
fn put(disk: &dyn Disk, path: &Path, file: &SmallFile) -> io::Result<()> {
    let new = new_name(path);
    let put = write_new(disk, &new, file).and_then(|()| disk.rename(&new, path));
    put.inspect_err(|_| {
        // If that fails, too, the next replacement does it.
        let _ = disk.remove(&new);
    })
}

fn write_new(disk: &dyn Disk, path: &Path, contents: &SmallFile) -> io::Result<()> {
    let file = match disk.open(path, OpenMode::Create) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            // A crash has left it.
            disk.remove(path)?;
            disk.open(path, OpenMode::Create)?
        }
        opened => opened?,
    };
    write_all(&*file, &contents.bytes, 0)?;
    if let Some(modified) = contents.modified {
        file.set_modified(modified)?;
    }
    file.sync_data()
}

fn sync_name(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// The name of a file that is not finished.
fn new_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::disk::StdDisk;

    #[test]
    fn a_small_file_is_replaced_whatever_is_there_and_whatever_a_crash_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        let replace = |bytes: &[u8]| replace_small_file(&StdDisk, &path, bytes, time).unwrap();
        let read = || read_small_file(&StdDisk, &path);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::NotFound);
        for bytes in [&b"first"[..], b"second", b""] {
            replace(bytes);
            let modified = Some(time);
            let bytes = bytes.to_vec();
            assert_eq!(read().unwrap(), SmallFile { bytes, modified });
        }
        fs::write(&other, "not this one").unwrap();
        symlink(&other, new_name(&path)).unwrap();
        replace(b"third");
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        assert!(read().is_err());
        replace(b"fourth");
        assert_eq!(read().unwrap().bytes, b"fourth");
        assert_eq!(fs::read(&other).unwrap(), b"not this one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [b' '; MOST_BYTES]).unwrap();
        assert_eq!(
            read_small_file(&StdDisk, &path).unwrap().bytes.len(),
            MOST_BYTES
        );
        fs::write(&path, [b' '; MOST_BYTES + 1]).unwrap();
        let refused = read_small_file(&StdDisk, &path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        let refused = read_small_file(&StdDisk, dir.path()).unwrap_err();
        assert_eq!(refused.to_string(), "not an ordinary file");
    }
}
