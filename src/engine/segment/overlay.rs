//! The index of a log that may not be written to.

use std::io::{self, IoSlice};
use std::sync::{Arc, RwLock};

use crate::disk::DiskFile;
use crate::locks::{read, write};

/// An index file that stays as it is, with entries in memory that lie over its end: those that are missing in the file, or
/// are wrong there.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: Option<Arc<dyn DiskFile>>,
    over: RwLock<Over>,
}

#[derive(Debug)]
struct Over {
    /// Where the entries in memory start. They hide the rest of the file, also where they are shorter.
    from: u64,
    bytes: Vec<u8>,
}

impl Overlay {
    pub(crate) fn new(file: Option<Arc<dyn DiskFile>>) -> Self {
        Overlay {
            file,
            over: RwLock::new(Over {
                from: u64::MAX,
                bytes: Vec::new(),
            }),
        }
    }
}

impl DiskFile for Overlay {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let over = read(&self.over);
        if offset >= over.from {
            let at = usize::try_from(offset - over.from)
                .unwrap_or(usize::MAX)
                .min(over.bytes.len());
            let n = buf.len().min(over.bytes.len() - at);
            buf[..n].copy_from_slice(&over.bytes[at..at + n]);
            return Ok(n);
        }
        let below = usize::try_from(over.from - offset)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        self.file
            .as_ref()
            .map_or(Ok(0), |file| file.read_at(&mut buf[..below], offset))
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut over = write(&self.over);
        if over.bytes.is_empty() {
            over.from = offset;
        }
        let at = offset
            .checked_sub(over.from)
            .ok_or(io::ErrorKind::InvalidInput)?;
        over.bytes
            .truncate(usize::try_from(at).unwrap_or(usize::MAX));
        if over.bytes.len() as u64 != at {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for buf in bufs {
            over.bytes.extend_from_slice(buf);
        }
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    /// Forgets the bytes in memory from `bytes` on. The file stays as it is.
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut over = write(&self.over);
        let kept = bytes.saturating_sub(over.from);
        over.bytes
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        if over.bytes.is_empty() {
            over.from = u64::MAX;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let over = read(&self.over);
        match &self.file {
            _ if !over.bytes.is_empty() => Ok(over.from + over.bytes.len() as u64),
            Some(file) => file.len(),
            None => Ok(0),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;

    #[test]
    fn an_overlay_without_a_file_is_a_file_in_memory() {
        let overlay = Overlay::new(None);
        disk::write_all(&overlay, b"abcd", 128).expect("written");
        disk::write_all(&overlay, b"xyz", 130).expect("written over its own end");
        let mut buf = [0; 8];
        assert_eq!(disk::read_up_to(&overlay, &mut buf, 129).expect("read"), 4);
        assert_eq!(&buf[..4], b"bxyz");
        assert_eq!(overlay.len().expect("a length"), 133);
        assert!(disk::write_all(&overlay, b"!", 100).is_err());
    }
}
