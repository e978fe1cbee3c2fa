//! A disk in memory, of any size, that is mounted for one test.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A small disk of its own for the logs. Unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    pub fn new(path: &Path, size: &str) -> Disk {
        fs::create_dir(path).unwrap();
        let size = format!("size={size}");
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(size.as_str()),
        )
        .unwrap();
        Disk(path.to_owned())
    }

    pub fn resize(&self, size: &str) {
        let size = format!("size={size}");
        mount(
            None::<&str>,
            &self.0,
            None::<&str>,
            MsFlags::MS_REMOUNT,
            Some(size.as_str()),
        )
        .unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
