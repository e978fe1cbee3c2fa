//! The machine's own disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::open_files;
use super::seam::{DirEntry, Disk, DiskFile, FileRights, FileStat, OpenMode};

/// The machine's own disk. Its files take at most a quarter of the descriptors that the process may have. When there are more,
/// some are closed, and opened again when they are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDisk;

impl Disk for StdDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(open_files::open(path, mode)?)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = std::path::absolute(dir)?;
        let missing = dir.ancestors().take_while(|path| !path.exists()).count();
        std::fs::create_dir_all(&dir)?;
        dir.ancestors()
            .skip(1)
            .take(missing)
            .try_for_each(|parent| self.sync_dir(parent))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        std::fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirEntry {
                    is_file: entry.file_type()?.is_file(),
                    name: entry.file_name(),
                })
            })
            .collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rights(&self, path: &Path) -> io::Result<Option<FileRights>> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Some(FileRights {
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: (metadata.mode() & 0o7777) as u16,
        }))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        Ok(Some(std::fs::symlink_metadata(path)?.into()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn boot_id(&self) -> u64 {
        // It cannot change while this process runs.
        static BOOT_ID: OnceLock<u64> = OnceLock::new();
        *BOOT_ID.get_or_init(|| {
            let Ok(text) = std::fs::read("/proc/sys/kernel/random/boot_id") else {
                return 0;
            };
            let (front, back) = text.split_at(text.len() / 2);
            u64::from(crc32c::crc32c(front)) << 32 | u64::from(crc32c::crc32c(back))
        })
    }
}

impl From<std::fs::Metadata> for FileStat {
    fn from(metadata: std::fs::Metadata) -> Self {
        FileStat {
            identity: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}
