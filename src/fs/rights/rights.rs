//! Owner, group and mode of a namespace, and of the mount's root, and how long the kernel may believe them.
//!
//! The kernel does all the checking (`default_permissions`), against what is here. The files of a namespace have no rights of
//! their own: each follows those bits of its directory that belong to the direction of the file.
//!
//! `files` keeps them. The kernel may cache the attributes of a file, with which it decides who may open the file, for a
//! [`LEASE`]. A change of rights is first on the disk and in every later answer; it is answered when the last lease of the
//! old rights has run out. So when `chmod` has returned, the kernel knows the old rights nowhere. Invalidating its cache
//! would not do: FUSE_NOTIFY_INVAL_ENTRY, which drops the names below a namespace, takes the lock of the root, and an
//! `rmdir` may hold that lock while it waits for the very `chmod` that waits for the invalidation. Nor does it reach inodes
//! that are open, or held by O_PATH or a bind mount.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::fs::locks::lock;
use crate::fs::tree::{Direction, SetAttr};
use immuta::FileRights;

/// How long the kernel may cache attributes with which it decides who may open a file.
pub(crate) const LEASE: Duration = Duration::from_millis(100);
/// How long after a change the last lease of the old rights has run out: the lease itself, the rounding to ticks of the
/// kernel's clock (10 ms at most, twice), and the rest for a thread that took its answer before the change and was kept from
/// the CPU since. A caller whose answer had arrived before the change was asked for never depends on that rest.
const LEASE_OVER: Duration = Duration::from_millis(200);
/// After so long, no answer with a lease is still on its way to the kernel.
const UNUSED: Duration = Duration::from_secs(10);

/// The permission bits that `chmod` sets.
const MODE_BITS: u16 = 0o7777;
const SETGID: u16 = 0o2000;
/// An id that means "unchanged" to the kernel and belongs to nobody.
const NO_ID: u32 = u32::MAX;

/// Owner, group and permission bits of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) owner: u32,
    pub(crate) group: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u16,
}

impl Rights {
    /// The mode of a file of this direction.
    pub(crate) fn file_mode(self, direction: Direction) -> u16 {
        direction.mode(self.mode)
    }

    /// The mode of a directory in a namespace: nobody makes or removes anything there.
    pub(crate) fn directory_mode(self) -> u16 {
        self.mode & 0o555
    }

    /// The rights of a namespace over a log file that has no others: a user who may read the log file may list and read the
    /// namespace, and a user who may write to it may append.
    pub(crate) fn of_log(log: FileRights) -> Rights {
        let read = log.mode & 0o444;
        Rights {
            owner: log.owner,
            group: log.group,
            mode: read | read >> 2 | log.mode & 0o222,
        }
    }

    /// The rights of a directory that this user makes in the root. A setgid root hands down its group, as on a disk.
    pub(crate) fn of_new(root: Rights, uid: u32, gid: u32, mode: u16) -> Rights {
        let handed_down = root.mode & SETGID;
        Rights {
            owner: uid,
            group: match handed_down {
                0 => gid,
                _ => root.group,
            },
            mode: mode & MODE_BITS & !SETGID | handed_down,
        }
    }

    pub(crate) fn changed(self, change: &SetAttr) -> Rights {
        let id = |id: Option<u32>| id.filter(|&id| id != NO_ID);
        Rights {
            owner: id(change.uid).unwrap_or(self.owner),
            group: id(change.gid).unwrap_or(self.group),
            mode: change.mode.unwrap_or(self.mode) & MODE_BITS,
        }
    }

    /// Reads what [`fmt::Display`] writes. Anything else is an error with the reason: an unknown field may forbid
    /// something.
    pub(crate) fn parse(text: &str) -> Result<Rights, String> {
        let mut fields = text.split_ascii_whitespace();
        let mut value = |name: &str| {
            let field = fields.next().unwrap_or_default();
            field
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
                .ok_or_else(|| format!("'{}' stands where '{name}=' should", field.escape_debug()))
        };
        let id = |text: &str| match text.parse() {
            Ok(id) if id != NO_ID => Ok(id),
            _ => Err(format!("'{}' is no id", text.escape_debug())),
        };
        let rights = Rights {
            owner: id(value("owner")?)?,
            group: id(value("group")?)?,
            mode: match value("mode")? {
                bits if bits.bytes().all(|b| b.is_ascii_digit()) => u16::from_str_radix(bits, 8)
                    .ok()
                    .filter(|mode| mode & !MODE_BITS == 0)
                    .ok_or_else(|| format!("'{bits}' is no mode"))?,
                bits => return Err(format!("'{}' is no mode", bits.escape_debug())),
            },
        };
        match fields.next() {
            Some(field) => Err(format!("'{}' is not known", field.escape_debug())),
            None => Ok(rights),
        }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rights { owner, group, mode } = self;
        write!(f, "owner={owner} group={group} mode={mode:04o}")
    }
}

/// Rights, and when they were set, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RightsSince {
    pub(crate) rights: Rights,
    pub(crate) since: Option<SystemTime>,
}

/// The rights of a directory that is mounted.
#[derive(Debug)]
pub(crate) struct CurrentRights(Mutex<State>);

#[derive(Debug)]
struct State {
    given: RightsSince,
    /// When they were last returned with a lease.
    leased: Option<Instant>,
}

impl CurrentRights {
    pub(crate) fn new(given: RightsSince) -> CurrentRights {
        CurrentRights(Mutex::new(State {
            given,
            leased: None,
        }))
    }

    /// For an answer that the kernel does not cache, or whose change reaches the kernel with the answer to that change.
    pub(crate) fn now(&self) -> RightsSince {
        lock(&self.0).given
    }

    /// For an answer that the kernel may cache for a [`LEASE`].
    pub(crate) fn lease(&self) -> RightsSince {
        let mut state = lock(&self.0);
        state.leased = Some(Instant::now());
        state.given
    }

    /// Replaces the rights. Returns when the last lease of the old ones runs out; `None`: there is none.
    pub(crate) fn set(&self, given: RightsSince) -> Option<Instant> {
        let mut state = lock(&self.0);
        state.given = given;
        let now = Instant::now();
        let leased = state.leased?;
        (now - leased < UNUSED).then_some(now + LEASE_OVER)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RIGHTS: Rights = Rights {
        owner: 1000,
        group: 50,
        mode: 0o2750,
    };

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(RIGHTS.to_string(), "owner=1000 group=50 mode=2750");
        let all_modes = (0..=MODE_BITS).map(|mode| Rights { mode, ..RIGHTS });
        for rights in all_modes {
            assert_eq!(Rights::parse(&format!("{rights}\n")), Ok(rights));
        }
    }

    #[test]
    fn what_is_not_understood_says_what() {
        for (text, why) in [
            ("", "'' stands where 'owner=' should"),
            ("owner=1000 group=50", "'' stands where 'mode=' should"),
            (
                "group=5 owner=5 mode=0",
                "'group=5' stands where 'owner=' should",
            ),
            ("owner=root group=5 mode=0", "'root' is no id"),
            ("owner=4294967295 group=5 mode=0", "'4294967295' is no id"),
            ("owner=-1 group=5 mode=0", "'-1' is no id"),
            ("owner=1 group=5 mode=10000", "'10000' is no mode"),
            ("owner=1 group=5 mode=u=rwx", "'u=rwx' is no mode"),
            ("owner=1 group=5 mode=9", "'9' is no mode"),
            ("owner=1 group=5 mode=", "'' is no mode"),
            ("owner=1 group=5 mode=0755 deny=7", "'deny=7' is not known"),
            (
                "owner=1 group=5 mode=0755\nowner=2",
                "'owner=2' is not known",
            ),
            ("\x07wner=1", "'\\u{7}wner=1' stands where 'owner=' should"),
        ] {
            assert_eq!(Rights::parse(text), Err(why.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_change_of_rights_knows_when_the_last_lease_of_them_is_over() {
        let given = RightsSince {
            rights: RIGHTS,
            since: None,
        };
        let held = CurrentRights::new(given);
        held.now();
        assert_eq!(held.set(given), None);
        let begun = Instant::now();
        held.lease();
        let asked = Instant::now();
        let over = held.set(given);
        // `None` on a machine so slow that the lease has run out.
        assert!(over.is_none_or(|over| over >= asked + LEASE_OVER));
        assert!(over.is_some() || begun.elapsed() >= UNUSED);
    }
}
