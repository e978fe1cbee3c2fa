//! Reads and writes of whole buffers, in as many calls as the file needs.

use std::io::{self, IoSlice, Read};

use super::seam::DiskFile;

/// The most buffers that one write takes (`IOV_MAX` on Linux).
pub(crate) const MAX_BUFFERS: usize = 1024;
/// How many bytes [`write_again`] holds in memory.
const AGAIN_BYTES: u64 = 256 << 10;

/// Reads until `buf` is full or the file ends. Returns how many bytes it has read.
pub(crate) fn read_up_to(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Fills `buf`, or fails with `UnexpectedEof`.
pub(crate) fn read_exact(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    if read_up_to(file, buf, offset)? == buf.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes all of `bytes`.
pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all_vectored(file, &mut [IoSlice::new(bytes)], offset)
}

/// Writes all of `bufs`, in as many calls as it takes.
pub(crate) fn write_all_vectored(
    file: &dyn DiskFile,
    mut bufs: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0); // drops leading empty ones
    while !bufs.is_empty() {
        match file.write_vectored_at(&bufs[..bufs.len().min(MAX_BUFFERS)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads until `buf` is full or the reader ends. Returns how many bytes it has read.
pub(crate) fn read_full(reader: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match reader.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Reads the bytes from `from` to `to`, and writes them again, as they are.
pub(crate) fn write_again(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let piece = to.saturating_sub(from).min(AGAIN_BYTES);
    let (mut bytes, mut at) = (vec![0; piece as usize], from);
    while at < to {
        let wanted = (to - at).min(piece) as usize;
        read_exact(file, &mut bytes[..wanted], at)?;
        write_all(file, &bytes[..wanted], at)?;
        at += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes at most three bytes and two buffers a call, and is interrupted every other time.
    #[derive(Debug, Default)]
    struct Reluctant(Mutex<(Vec<u8>, u32)>);

    impl DiskFile for Reluctant {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut inner = self.0.lock().expect("not poisoned");
            inner.1 += 1;
            if inner.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = &inner.0[(offset as usize).min(inner.0.len())..];
            let n = rest.len().min(buf.len()).min(3);
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            assert!(bufs.len() <= MAX_BUFFERS);
            let mut inner = self.0.lock().expect("not poisoned");
            inner.1 += 1;
            if inner.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let bytes: Vec<u8> = bufs
                .iter()
                .take(2)
                .flat_map(|b| b.iter().copied())
                .take(3)
                .collect();
            assert!(offset as usize <= inner.0.len());
            inner.0.truncate(offset as usize);
            inner.0.extend_from_slice(&bytes);
            Ok(bytes.len())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_and_interrupted_calls_are_carried_on() {
        let file = Reluctant::default();
        let parts: Vec<Vec<u8>> = (0..3000u32)
            .map(|i| vec![i as u8; (i % 5) as usize])
            .collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        write_all_vectored(&file, &mut slices, 0).expect("written");
        let whole = parts.concat();
        let mut back = vec![0; whole.len()];
        read_exact(&file, &mut back, 0).expect("read");
        assert_eq!(back, whole);
        assert!(read_exact(&file, &mut [0; 2], whole.len() as u64 - 1).is_err());
    }
}
