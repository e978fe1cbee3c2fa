//! The places in the tree, and the inode numbers by which the kernel knows them.
//!
//! An inode number says by itself which place it stands for, so that a directory of a hundred million records costs no
//! memory:
//!
//! ```text
//! bit 63        0: a place that always has the same number; 1: a number made for one lookup
//! bits 62..40   id of the namespace, 1 to 2^23 - 1, kept in its index file; 0: the place is in no namespace
//!
//! bit 63 is 0, with an id:
//! bits 39..0    0: the directory of the namespace; 1 to 255: position in FILES + 1; 256 + N: record N
//!
//! bit 63 is 0, without an id:
//! bits 39..0    1: the root; 2: .immuta; from 3 on: position in ABOUT_FILES + 3
//!
//! bit 63 is 1, with an id:
//! bits 39..32   position in FILES + 1; 255: a file in from/ or since/; 254: the next record
//! bits 31..0    a running number; for the next record, the lowest bits of its number
//!
//! bit 63 is 1, without an id:
//! bits 39..32   253: the directory of a namespace whose log is not open; 252: the file in it that says why
//! bits 31..0    a checksum of the name of the namespace, or the next free number
//! ```

use super::files::{ABOUT_FILES, About, FILES, File};
use crate::fs::errno::Errno;

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The mount's root: the namespaces.
    Root,
    /// A namespace's directory.
    Namespace(u32),
    /// A fixed file of a namespace.
    File(u32, &'static File),
    /// A record of a namespace, written.
    Record(u32, u64),
    /// The record of a namespace that was the next one when it was looked up, by the lowest 32 bits of its number. It may
    /// have been written since. Its inode is not that of the written record, so that what the kernel caches before the write
    /// is never taken for the record.
    Next(u32, u32),
    /// The text of a namespace from some record or time on, by the number that was made for its lookup.
    Start(u32, u32),
    /// The directory of a namespace whose log is not open, by a number that stands for the name of the namespace.
    Unopened(u32),
    /// The file in that directory that says why the log cannot be opened.
    Error(u32),
    /// The directory with the files about the whole mount.
    About,
    /// A file in that directory.
    AboutFile(About),
}

const ROOT_INO: u64 = 1;
const ABOUT_INO: u64 = 2;
const FIRST_ABOUT_FILE_INO: u64 = 3;
const LOW_BITS: u32 = 40;
const RUNNING_BITS: u32 = 32;
const START: u64 = 255;
const NEXT: u64 = 254;
const UNOPENED: u64 = 253;
const ERROR: u64 = 252;
const FIRST_RECORD: u64 = 256;
/// The highest record that has an inode number: 1.1 x 10^12 records in one namespace.
const MAX_RECORD: u64 = (1 << LOW_BITS) - 1 - FIRST_RECORD;

impl Node {
    /// The id of the namespace that the node belongs to; `None` for a node that belongs to none, or to one that is not open.
    pub fn namespace(self) -> Option<u32> {
        match self {
            Node::Root | Node::Unopened(_) | Node::Error(_) | Node::About | Node::AboutFile(_) => {
                None
            }
            Node::Namespace(id)
            | Node::File(id, _)
            | Node::Record(id, _)
            | Node::Next(id, _)
            | Node::Start(id, _) => Some(id),
        }
    }

    /// The inode number of the node: the same in every mount, as long as the namespace keeps its index file.
    ///
    /// # Errors
    /// `EOVERFLOW` for a record number above 2^40 - 257.
    pub fn ino(self) -> Result<u64, Errno> {
        Ok(match self {
            Node::Root => ROOT_INO,
            Node::About => ABOUT_INO,
            Node::AboutFile(about) => {
                let position = ABOUT_FILES.iter().position(|(_, a)| *a == about);
                FIRST_ABOUT_FILE_INO + position.unwrap_or_default() as u64
            }
            Node::Namespace(ns) => u64::from(ns) << LOW_BITS,
            Node::File(ns, file) => {
                let position = FILES.iter().position(|f| f == file).unwrap_or_default() as u64;
                u64::from(ns) << LOW_BITS | (position + 1)
            }
            Node::Record(_, n) if n > MAX_RECORD => return Err(Errno::EOVERFLOW),
            Node::Record(ns, n) => u64::from(ns) << LOW_BITS | (FIRST_RECORD + n),
            Node::Next(ns, low) => running(ns, NEXT, low),
            Node::Start(ns, id) => running(ns, START, id),
            Node::Unopened(number) => running(0, UNOPENED, number),
            Node::Error(number) => running(0, ERROR, number),
        })
    }

    /// The node that an inode number stands for.
    ///
    /// # Errors
    /// `ESTALE` for a number that no node has.
    pub fn from_ino(ino: u64) -> Result<Node, Errno> {
        match ino {
            ROOT_INO => return Ok(Node::Root),
            ABOUT_INO => return Ok(Node::About),
            _ => {}
        }
        let ns = (ino >> LOW_BITS) as u32;
        let low = ino & ((1 << LOW_BITS) - 1);
        if ino >> 63 != 0 {
            let running = low as u32;
            let low = low >> RUNNING_BITS;
            let ns = ns & (u32::MAX >> 9);
            return match usize::try_from(low)
                .ok()
                .and_then(|n| FILES.get(n.checked_sub(1)?))
            {
                Some(file) if ns != 0 => Ok(Node::File(ns, file)),
                None if ns != 0 && low == START => Ok(Node::Start(ns, running)),
                None if ns != 0 && low == NEXT => Ok(Node::Next(ns, running)),
                None if ns == 0 && low == UNOPENED => Ok(Node::Unopened(running)),
                None if ns == 0 && low == ERROR => Ok(Node::Error(running)),
                _ => Err(Errno::ESTALE),
            };
        }
        if ns == 0 {
            let position = low.checked_sub(FIRST_ABOUT_FILE_INO).ok_or(Errno::ESTALE)?;
            let file = ABOUT_FILES.get(position as usize);
            return file
                .map(|(_, about)| Node::AboutFile(*about))
                .ok_or(Errno::ESTALE);
        }
        match low {
            0 => Ok(Node::Namespace(ns)),
            n if n >= FIRST_RECORD => Ok(Node::Record(ns, n - FIRST_RECORD)),
            n => FILES
                .get(n as usize - 1)
                .map(|f| Node::File(ns, f))
                .ok_or(Errno::ESTALE),
        }
    }
}

/// The number of a record that was the next one when it was looked up, in a log that has `count` records now: the highest
/// number up to `count` whose lowest bits are `low`. `None`: there is no such number, since the log is shorter than it was.
pub fn number_of_next(low: u32, count: u64) -> Option<u64> {
    let back = (count as u32).wrapping_sub(low);
    count.checked_sub(u64::from(back))
}

/// An inode number for one lookup of a fixed file. The kernel allows one write at a time to an inode; writers that each have
/// an inode of their own can wait for the disk together.
///
/// # Errors
/// Those of [`Node::ino`].
pub fn ino_of_lookup(ns: u32, file: &'static File, running: u32) -> Result<u64, Errno> {
    let position = Node::File(ns, file).ino()? & u64::from(u8::MAX);
    Ok(self::running(ns, position, running))
}

fn running(ns: u32, what: u64, number: u32) -> u64 {
    (1 << 63) | (u64::from(ns) << LOW_BITS) | (what << RUNNING_BITS) | u64::from(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_node_comes_back_from_its_inode_number() {
        let mut nodes = vec![
            Node::Root,
            Node::About,
            Node::Namespace(1),
            Node::Namespace((1 << 23) - 1),
        ];
        nodes.extend(ABOUT_FILES.iter().map(|(_, about)| Node::AboutFile(*about)));
        nodes.extend(FILES.iter().map(|f| Node::File(77, f)));
        nodes.extend([0, 1, 1 << 39, MAX_RECORD].map(|n| Node::Record(77, n)));
        nodes.extend([0, 1, u32::MAX].map(|n| Node::Next(77, n)));
        nodes.extend([0, 1, u32::MAX].map(|n| Node::Start(77, n)));
        nodes.extend([0, 1, u32::MAX].map(Node::Unopened));
        nodes.extend([0, 1, u32::MAX].map(Node::Error));
        for node in nodes {
            assert_eq!(Node::from_ino(node.ino().unwrap()), Ok(node));
        }
    }

    #[test]
    fn the_next_record_is_found_by_the_lowest_bits_of_its_number() {
        const ROUND: u64 = 1 << 32;
        for next in [0, 1, ROUND - 1, ROUND, ROUND + 7, 5 * ROUND] {
            for since in [0, 1, 1000, ROUND - 1] {
                assert_eq!(number_of_next(next as u32, next + since), Some(next));
            }
        }
        // A log that has shrunk.
        assert_eq!(number_of_next(7, 6), None);
    }

    #[test]
    fn every_lookups_number_is_its_own_and_stands_for_its_file() {
        for file in FILES {
            for ns in [1, (1 << 23) - 1] {
                let (a, b) = (
                    ino_of_lookup(ns, file, 0).unwrap(),
                    ino_of_lookup(ns, file, u32::MAX).unwrap(),
                );
                assert_ne!(a, b);
                assert_eq!(Node::from_ino(a), Ok(Node::File(ns, file)));
                assert_eq!(Node::from_ino(b), Ok(Node::File(ns, file)));
            }
        }
    }

    #[test]
    fn numbers_that_no_node_has_are_refused() {
        assert_eq!(Node::Record(1, MAX_RECORD + 1).ino(), Err(Errno::EOVERFLOW));
        for ino in [
            0,
            5,
            255,
            (1 << LOW_BITS) | 200,
            1 << 63,
            running(1, 200, 7),
            running(1, UNOPENED, 7),
            running(1, ERROR, 7),
        ] {
            assert_eq!(Node::from_ino(ino), Err(Errno::ESTALE), "{ino}");
        }
    }
}
