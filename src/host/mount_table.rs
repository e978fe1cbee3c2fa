//! The kernel's list of the mounts that this process sees.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The type that `/proc/mounts` shows for mounts of immuta-fs.
pub const FS_TYPE: &str = "fuse.immuta-fs";

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its device number, such as `0:52`: at any one time, each mount has its own.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The type of the file system: [`FS_TYPE`] for immuta-fs.
    pub fs_type: String,
    /// What is mounted. For immuta-fs that is the directory of the logs, unless fusermount3 could not pass it on.
    pub source: PathBuf,
    /// The user that has made the mount; only FUSE mounts have one.
    pub user: Option<u32>,
}

/// All mounts. Where several are at one mount point, the one on top comes last.
pub fn mounts() -> Vec<MountInfo> {
    mounts_in(Path::new(MOUNTINFO))
}

/// Where a directory of logs is mounted, if it is.
pub fn mountpoint_of(logs_dir: &Path) -> Option<PathBuf> {
    let logs_dir = fs::canonicalize(logs_dir).ok()?;
    let mount = mounts()
        .into_iter()
        .find(|m| m.fs_type == FS_TYPE && m.source == logs_dir)?;
    Some(mount.mountpoint)
}

/// As [`mounts`], from another file than this process's own list; none where the file does not exist.
pub fn mounts_in(list: &Path) -> Vec<MountInfo> {
    let text = fs::read(list).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(parse_mountinfo).collect()
}

/// `36 35 98:0 /root /mnt/point rw,noatime shared:1 - ext3 /dev/root rw`, see proc(5).
fn parse_mountinfo(line: &str) -> Option<MountInfo> {
    let (ours, theirs) = line.split_once(" - ")?;
    let mut fields = ours.split(' ').skip(2);
    let device = fields.next()?.to_owned();
    let mountpoint = PathBuf::from(unescape(fields.nth(1)?));
    let mut fields = theirs.split(' ');
    Some(MountInfo {
        device,
        mountpoint,
        fs_type: fields.next()?.to_owned(),
        source: PathBuf::from(unescape(fields.next().unwrap_or_default())),
        user: fields
            .flat_map(|options| options.split(','))
            .find_map(|option| option.strip_prefix("user_id=")?.parse().ok()),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let code = octal.and_then(|o| u8::from_str_radix(std::str::from_utf8(o).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_understood_with_what_the_kernel_escapes_in_it() {
        let line = r"64 29 0:52 / /mnt/a\040b rw,nosuid shared:7 - fuse.immuta-fs /var/lib/a\134b rw,user_id=0";
        let expected = MountInfo {
            device: "0:52".into(),
            mountpoint: "/mnt/a b".into(),
            fs_type: FS_TYPE.into(),
            source: r"/var/lib/a\b".into(),
            user: Some(0),
        };
        assert_eq!(parse_mountinfo(line), Some(expected));
        assert_eq!(parse_mountinfo("nothing of the kind"), None);
    }
}
