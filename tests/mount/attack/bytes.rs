//! No byte that nobody wrote, no size above the true one, no record shorter than it is.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::calls::{MOST, WAYS, Way, bytes, look, open};
use super::{duration, seed};
use support::files::frame;
use support::{Mount, Random};

const READERS: u64 = 8;
const LOOKERS: u64 = 4;
/// A mount is attacked so long before the next one, so that no disk is filled.
const ROUND: Duration = Duration::from_secs(15);
/// Every record: what is at an offset follows from the offset. Its length is prime: it ends anywhere in a page.
const RECORD: &[u8] = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUV\n";
const LENGTH: u64 = RECORD.len() as u64;

/// What a file shows, over and over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    Text,
    Frames,
    Record,
    Next,
}

struct Attack<'a> {
    mount: &'a Mount,
    until: Instant,
    calls: AtomicU64,
}

impl Attack<'_> {
    /// A file at random, among them a record of the last ones, and the next.
    fn file(&self, random: &mut Random) -> (PathBuf, Shows) {
        let count = self.mount.count();
        let (name, shows) = match random.below(10) {
            0 | 1 => ("log".into(), Shows::Text),
            2 => ("follow".into(), Shows::Text),
            3 => ("frames".into(), Shows::Frames),
            4 => ("follow-frames".into(), Shows::Frames),
            5 => (format!("from/{}", count.saturating_sub(50)), Shows::Text),
            6 => (count.to_string(), Shows::Next),
            _ if count == 0 => ("log".into(), Shows::Text),
            _ => {
                let back = random.below(100) as u64 % count;
                ((count - 1 - back).to_string(), Shows::Record)
            }
        };
        (self.mount.file(&name), shows)
    }

    /// How many bytes a file that shows this has, in a log of so many records.
    fn size(shows: Shows, records: u64) -> u64 {
        match shows {
            Shows::Text => records * LENGTH,
            Shows::Frames => records * (LENGTH + 8),
            Shows::Record | Shows::Next => LENGTH,
        }
    }

    fn read(&self, number: u64, seed: u64) {
        let mut random = Random(seed);
        let frame = frame(RECORD);
        while Instant::now() < self.until {
            let way = WAYS[number as usize % WAYS.len()];
            let (path, shows) = self.file(&mut random);
            let records = self.mount.count();
            let Ok(file) = open(&path, way) else {
                // The next record was written meanwhile, and a name that is next no more has another inode: again.
                continue;
            };
            if let Way::Map = way
                && shows != Shows::Record
            {
                continue;
            }
            let known = Self::size(shows, records);
            let offset = match shows {
                Shows::Record | Shows::Next => random.below(LENGTH as usize + 9) as u64,
                // Mostly at the end, where it grows.
                _ => known.saturating_sub(random.below(6000) as u64),
            };
            let most = match way {
                Way::Map => LENGTH as usize,
                _ => random.below(MOST) + 1,
            };
            let offset = match way {
                Way::Map => 0,
                Way::Direct => offset / 4096 * 4096,
                _ => offset,
            };
            let got = match bytes(&file, way, offset, most) {
                Ok(got) => got,
                // Nothing there yet; not by this way.
                Err(Errno::EAGAIN | Errno::EINVAL | Errno::EXDEV | Errno::EBADF) => {
                    let may_fail = shows != Shows::Record || matches!(way, Way::CopyFileRange);
                    assert!(may_fail, "{way:?} of {}", path.display());
                    continue;
                }
                Err(e) => panic!("{way:?} of {}: {e}", path.display()),
            };
            let pattern = if shows == Shows::Frames {
                &frame
            } else {
                RECORD
            };
            let wrong = got
                .iter()
                .zip(offset..)
                .position(|(byte, at)| *byte != pattern[at as usize % pattern.len()]);
            assert_eq!(
                wrong,
                None,
                "{way:?} of {} at {offset}: {:?}",
                path.display(),
                String::from_utf8_lossy(&got)
            );
            let end = offset + got.len() as u64;
            let most_now = Self::size(shows, self.mount.count());
            assert!(
                got.is_empty() || end <= most_now,
                "{way:?} of {}",
                path.display()
            );
            if shows == Shows::Record {
                let rest = LENGTH.saturating_sub(offset).min(most as u64);
                let rest = if let Way::Direct = way { LENGTH } else { rest };
                assert_eq!(
                    got.len() as u64,
                    rest,
                    "{way:?} of {} at {offset}",
                    path.display()
                );
            }
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn look(&self, seed: u64) {
        let mut random = Random(seed);
        while Instant::now() < self.until {
            let (path, shows) = self.file(&mut random);
            let before = self.mount.count();
            let Ok(mut file) = open(&path, Way::Read) else {
                continue;
            };
            let offset = [0, 1 << 20, 1 << 30, (1 << 30) + 4097][random.below(4)];
            look(&file, random.draw() >> 8, offset);
            let stat = fs::metadata(&path).map(|m| m.len());
            let fstat = file.metadata().unwrap().len();
            let end = file.seek(SeekFrom::End(0)).unwrap();
            let after = self.mount.count();
            let is_from = path.parent().unwrap().ends_with("from");
            for size in stat.into_iter().chain([fstat, end]) {
                let name = path.display();
                assert!(
                    size <= Self::size(shows, after),
                    "{name}: {size} of {after}"
                );
                if shows != Shows::Frames {
                    assert_eq!(size % LENGTH, 0, "{name}: {size}");
                }
            }
            if shows != Shows::Next && !is_from {
                assert!(
                    fstat >= Self::size(shows, before),
                    "{}: {fstat}",
                    path.display()
                );
            }
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, name: &str) {
        let frame = frame(RECORD);
        let bytes = if name == "append-frames" {
            &frame
        } else {
            RECORD
        };
        let mut file = File::options()
            .append(true)
            .open(self.mount.file(name))
            .unwrap();
        while Instant::now() < self.until {
            file.write_all(bytes).unwrap();
        }
    }
}

// > A read returns only bytes that were written, and no size is larger than the file, however a program reads
// > and whatever other programs look at meanwhile.
#[test]
fn no_way_to_read_shows_a_byte_that_nobody_wrote_whoever_looks_and_writes() {
    let (end, seed) = (Instant::now() + duration(), seed("bytes"));
    let (mut calls, mut records) = (0, 0);
    while Instant::now() < end {
        let mount = Mount::new();
        let attack = Attack {
            mount: &mount,
            until: end.min(Instant::now() + ROUND),
            calls: AtomicU64::new(0),
        };
        std::thread::scope(|scope| {
            let attack = &attack;
            for name in ["append", "append-lines", "append-frames", "log"] {
                scope.spawn(move || attack.write(name));
            }
            (0..READERS).for_each(|n| {
                scope.spawn(move || attack.read(n, seed.wrapping_mul(31) + n + 1));
            });
            (0..LOOKERS).for_each(|n| {
                scope.spawn(move || attack.look(seed.wrapping_mul(37) + n + 1));
            });
        });
        calls += attack.calls.into_inner();
        records += mount.count();
    }
    println!("bytes: {calls} calls beside {records} appends");
}
