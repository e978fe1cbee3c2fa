//! The header of a log file: the count, and in `count16` the index of the last record.

use std::io;

use super::log_end::LogEnd;
use super::segment::Segment;
use crate::disk;
use crate::disk::DiskFile;
use crate::error::Result;
use crate::format::{Format, Header, MAX_HEADER_BYTES};

/// How often a header is read again while its writer changes it.
const HEADER_READS: u32 = 100;

/// The header of a log, as its writer wrote it. A read that meets a write of the header may see a part of the old bytes and
/// a part of the new ones, so the header is read until two reads agree.
pub(crate) fn read_header(file: &dyn DiskFile, format: Format) -> io::Result<Header> {
    let read = || {
        let mut head = [0; MAX_HEADER_BYTES];
        let have = disk::read_up_to(file, &mut head, 0)?;
        let whole = have as u64 >= format.header_bytes();
        Ok::<_, io::Error>(Header::of(format, if whole { &head[..have] } else { &[] }))
    };
    let mut header = read()?;
    if format != Format::Bare {
        for _ in 0..HEADER_READS {
            let again = read()?;
            if again == header {
                break;
            }
            header = again;
        }
    }
    Ok(header)
}

impl Segment {
    /// The header as the log's writer wrote it.
    pub(crate) fn read_header(&self) -> Result<Header> {
        read_header(&*self.log_file, self.format).map_err(|e| self.log_error(e))
    }

    /// Writes the header that counts the records up to `end`, in one write. A `bare` log has none.
    pub(crate) fn write_header(&self, end: &LogEnd) -> io::Result<()> {
        match self.format {
            Format::Bare => Ok(()),
            Format::Count8 | Format::Count16 => {
                let header = self.format.header(end.count, end.last_index);
                disk::write_all(&*self.log_file, header.as_bytes(), 0)
            }
        }
    }

    /// Whether the header of the log is that of `end`. `false` also when it cannot be read.
    pub(crate) fn header_says(&self, end: &LogEnd) -> bool {
        let header = self.format.header(end.count, end.last_index);
        self.read_header().is_ok_and(|found| found == header)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Mutex;

    use super::*;
    use crate::locks::lock;

    /// Each read gives the next of some headers, and then the last one: what a reader sees beside a writer.
    #[derive(Debug)]
    struct Changing(Mutex<Vec<Vec<u8>>>);

    impl DiskFile for Changing {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut headers = lock(&self.0);
            let header = match headers.len() {
                1 => headers[0].clone(),
                _ => headers.remove(0),
            };
            let rest = header.get(offset as usize..).unwrap_or_default();
            let bytes = rest.len().min(buf.len());
            buf[..bytes].copy_from_slice(&rest[..bytes]);
            Ok(bytes)
        }

        fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(MAX_HEADER_BYTES as u64)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The count of a `count8` log was read once: a read that ran into its write gave a count of which half was new, and
    /// a follower saw records that were not committed.
    #[test]
    fn regression_a_torn_count_is_read_again_in_every_format_that_has_one() {
        for format in [Format::Count8, Format::Count16] {
            let header = |count: u64| {
                let mut bytes = format.header(count, 16).as_bytes().to_vec();
                bytes.resize(MAX_HEADER_BYTES, 0);
                bytes
            };
            // From 0xff to 0x100: 0x1ff is of neither.
            let [old, torn, new] = [0xff, 0x1ff, 0x100].map(header);
            for seen in [
                vec![torn.clone(), new.clone()],
                vec![old, torn, new.clone()],
            ] {
                let file = Changing(Mutex::new(seen));
                let found = read_header(&file, format).expect("read");
                assert_eq!(found, Header::of(format, &new), "{format}");
            }
        }
    }
}
