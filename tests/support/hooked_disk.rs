//! The machine's disk, with a test's own code before what it does.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use immuta::{DirEntry, Disk, DiskFile, FileRights, FileStat, OpenMode, StdDisk};

/// What happens before each call. What is an error does not get as far as the disk.
pub trait Hooks: Debug + Send + Sync + 'static {
    fn before_open(&self, _path: &Path) {}
    fn before_read(&self, _path: &Path, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
    fn before_write(&self, _path: &Path, _bytes: usize, _offset: u64) -> io::Result<()> {
        Ok(())
    }
    fn before_sync(&self, _path: &Path) {}
    fn before_ready(&self, _path: &Path) {}
    fn is_ready(&self, _path: &Path) -> bool {
        true
    }
}

#[derive(Debug, Default)]
pub struct HookedDisk<H>(pub Arc<H>);

/// A disk has what its hooks have: a test says there what is to happen.
impl<H> Deref for HookedDisk<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

impl<H> Clone for HookedDisk<H> {
    fn clone(&self) -> Self {
        HookedDisk(self.0.clone())
    }
}

#[derive(Debug)]
struct HookedFile<H> {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    hooks: Arc<H>,
}

impl<H: Hooks> Disk for HookedDisk<H> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.0.before_open(path);
        Ok(Arc::new(HookedFile {
            file: StdDisk.open(path, mode)?,
            path: path.to_owned(),
            hooks: self.0.clone(),
        }))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        StdDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        StdDisk.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdDisk.rename(from, to)
    }

    fn rights(&self, path: &Path) -> io::Result<Option<FileRights>> {
        StdDisk.rights(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdDisk.sync_dir(dir)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        StdDisk.stat(path)
    }
}

impl<H: Hooks> DiskFile for HookedFile<H> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.hooks.before_read(&self.path, buf.len())?;
        self.file.read_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        self.hooks.before_write(&self.path, bytes, offset)?;
        self.file.write_vectored_at(bufs, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn stat(&self) -> io::Result<Option<FileStat>> {
        self.file.stat()
    }

    fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file.set_modified(time)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hooks.before_sync(&self.path);
        self.file.sync_data()
    }

    fn ready(&self) -> io::Result<()> {
        self.hooks.before_ready(&self.path);
        self.file.ready()
    }

    fn is_ready(&self) -> bool {
        self.hooks.is_ready(&self.path) && self.file.is_ready()
    }
}
