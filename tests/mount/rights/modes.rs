//! Who may do what: owner, group and mode of namespaces and of the mount, for several users on one mount.
//!
//! What is expected comes from one rule, [`Case::allows`], which is that of the kernel; which files there are,
//! and which way their bytes go, comes from the mount itself.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use support::users::{
    AsArgument, EVERYBODY_MAY_OPEN_THE_DEVICE, GROUP, MEMBER, NOBODY, OTHER, OWNER, User,
    all_rights, chmod, copied, mode_of, mount, others_can_be_tried, owned, takes_root, three,
};
use support::{Mount, Reader, append, refused, shell};

const MODES: &[u32] = &[0o755, 0o750, 0o730, 0o700, 0o777, 0o000, 0o711, 0o444];

/// What a user's place in the world makes of a mode: the three bits that count.
fn bits_for(user: &User, mode: u32) -> u32 {
    match user.name {
        "root" => 0o7,
        "member" => mode >> 3 & 7,
        "other" => mode & 7,
        _ => mode >> 6 & 7,
    }
}

const R: u32 = 4;
const W: u32 = 2;
const RW: u32 = R | W;
const X: u32 = 1;

/// What can be done with a file at all, as its mode says in a namespace that forbids nothing, and in one that only
/// lets read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Reading.
    Read,
    /// Appending; and reading, by who appends, what became of it.
    Append,
    /// Reading, and appending with O_APPEND and without O_TRUNC.
    Both,
}

/// A path in a namespace.
#[derive(Clone, Debug)]
struct Way {
    name: String,
    used: Use,
    is_directory: bool,
}

/// Every path of a namespace: what it lists, a start in each directory of starts, and the next record.
fn every_path(mount: &Mount) -> Vec<Way> {
    let open = owned(mount, "open-to-all", 0o777);
    let mut names = support::names(&open);
    assert!(names.len() >= 12 && names.contains("1"));
    names.insert("2".into());
    names.extend(["from/1", "from/-1", "from/end", "since/1h"].map(str::to_owned));
    let mode = |name: &String| mode_of(&open.join(name)) >> 6 & (R | W);
    let all: Vec<u32> = names.iter().map(mode).collect();
    chmod(&open, 0o555);
    let read_only: Vec<u32> = names.iter().map(mode).collect();
    let modes = all.into_iter().zip(read_only);
    names
        .iter()
        .zip(modes)
        .map(|(name, modes)| Way {
            name: name.clone(),
            used: match modes {
                (R, R) => Use::Read,
                (RW, 0) => Use::Append,
                (RW, R) => Use::Both,
                modes => panic!("{name} has the modes {modes:?}"),
            },
            is_directory: open.join(name).is_dir(),
        })
        .collect()
}

/// What an open asks for.
const FLAGS: &[i32] = &[
    libc::O_RDONLY,
    libc::O_WRONLY,
    libc::O_RDWR,
    libc::O_RDONLY | libc::O_TRUNC,
    libc::O_WRONLY | libc::O_TRUNC,
    libc::O_WRONLY | libc::O_APPEND,
    libc::O_RDWR | libc::O_APPEND,
    libc::O_RDWR | libc::O_TRUNC,
];

fn asked(flags: i32) -> u32 {
    let truncates = if flags & libc::O_TRUNC != 0 { W } else { 0 };
    truncates
        | match flags & libc::O_ACCMODE {
            libc::O_RDONLY => R,
            libc::O_WRONLY => W,
            _ => R | W,
        }
}

/// One user before one path of a namespace.
struct Case<'a> {
    user: &'a mut User,
    /// The user's three bits of the namespace's mode.
    bits: u32,
    way: &'a Way,
    path: PathBuf,
    said: String,
}

impl Case<'_> {
    /// The kernel's part of the rule: whoever may search the namespace may do with a file what the namespace's bits
    /// allow and the file can be used for. Root may do all.
    fn denied(&self, asked: u32) -> bool {
        let can = match self.way.used {
            Use::Read => self.bits & R,
            // Without the right to append there is nothing to read.
            Use::Append if self.bits & W == 0 => 0,
            Use::Append | Use::Both => self.bits & RW,
        };
        let root = self.user.name == "root";
        !root && (self.bits & X == 0 || asked & !can != 0)
    }

    /// The whole rule, for `open`.
    fn expected(&self, flags: i32) -> Option<Errno> {
        let asked = asked(flags);
        if self.bits & X == 0 {
            return Some(Errno::EACCES);
        }
        if self.way.is_directory && asked & W != 0 {
            return Some(Errno::EISDIR);
        }
        // What a file cannot be used for, nobody can use it for.
        let cannot = match self.way.used {
            Use::Read => asked & W != 0,
            Use::Append => flags & libc::O_ACCMODE == libc::O_RDONLY,
            Use::Both => false,
        };
        if self.denied(asked) || cannot {
            return Some(Errno::EACCES);
        }
        let adds = flags & libc::O_APPEND != 0 && flags & libc::O_TRUNC == 0;
        (self.way.used == Use::Both && asked & W != 0 && !adds).then_some(Errno::EPERM)
    }

    fn check(&mut self) {
        let not_found = (self.bits & X == 0).then_some(Errno::EACCES);
        assert_eq!(self.call("lstat", &[]), not_found, "{}", self.said);
        for &flags in FLAGS {
            let result = self.call("open", &[&(flags | libc::O_NONBLOCK)]);
            let expected = self.expected(flags);
            assert_eq!(result, expected, "open {flags:o}: {}", self.said);
        }
        let expected = if self.bits & X == 0 {
            Some(Errno::EACCES)
        } else if self.way.is_directory {
            Some(Errno::EISDIR)
        } else if self.denied(W) {
            Some(Errno::EACCES)
        } else {
            (self.way.used != Use::Append).then_some(Errno::EPERM)
        };
        assert_eq!(self.call("truncate", &[&0]), expected, "{}", self.said);

        // A file follows its directory: nobody changes its own rights.
        let me = self.user.uid;
        let refusal = not_found.or(Some(Errno::EPERM));
        assert_eq!(self.call("chmod", &[&0o777]), refusal, "{}", self.said);
        assert_eq!(self.call("chown", &[&me, &-1]), refusal, "{}", self.said);
        let owns = matches!(self.user.name, "owner" | "root" | "who runs the test");
        let refusal = match !owns && self.denied(W) {
            true => Some(Errno::EACCES),
            false => refusal,
        };
        assert_eq!(self.call("utime", &[]), refusal, "{}", self.said);

        // Attributes are asked for and set under the same bits. None can be set.
        for (call, asked) in [("getxattr", R), ("setxattr", W)] {
            let result = self.call(call, &[]);
            let denied = result == Some(Errno::EACCES);
            assert_eq!(denied, self.denied(asked), "{call}: {}", self.said);
            assert!(call == "getxattr" || result.is_some(), "{}", self.said);
        }
    }

    fn call(&mut self, call: &str, more: &[&dyn AsArgument]) -> Option<Errno> {
        let mut arguments: Vec<&dyn AsArgument> = vec![&self.path];
        arguments.extend(more);
        self.user.call(call, &arguments).err()
    }
}

/// Tries a namespace and every path in it, in every way, as one user.
fn try_namespace(user: &mut User, namespace: &Path, mode: u32, ways: &[Way]) {
    let bits = bits_for(user, mode);
    let said = |path: &Path| format!("{} before {} of mode {mode:04o}", user.name, path.display());
    let (in_namespace, name) = (said(namespace), user.name);

    let listed = user.call("list", &[&namespace]);
    match bits & R != 0 {
        true => assert!(listed.unwrap().contains("append"), "{in_namespace}"),
        false => assert_eq!(listed, Err(Errno::EACCES), "{in_namespace}"),
    }
    // Nobody makes a name in it or takes one away. Who could not anyhow is told that.
    let refusal = match bits & (W | X) == W | X {
        true => Errno::EPERM,
        false => Errno::EACCES,
    };
    let new = namespace.join("new");
    user.cannot("mkdir", &[&new, &0o777, &0], refusal);
    user.cannot("mkfifo", &[&new], refusal);
    user.cannot("unlink", &[&namespace.join("0")], refusal);
    user.cannot("rmdir", &[&namespace.join("from")], refusal);
    // The mode that it has: that changes nothing.
    let owns = matches!(name, "owner" | "root" | "who runs the test");
    let result = user.call("chmod", &[&namespace, &mode]).err();
    assert_eq!(result, (!owns).then_some(Errno::EPERM), "{in_namespace}");

    for way in ways {
        let path = namespace.join(&way.name);
        let said = format!("{name} before {} of mode {mode:04o}", path.display());
        let mut case = Case {
            user: &mut *user,
            bits,
            way,
            path,
            said,
        };
        case.check();
    }
}

// > A file in a namespace belongs to the namespace's owner and group. Of the namespace's mode it has the bits of
// > the direction in which its bytes go: append files the w bits, and r beside w; files that are read the r
// > bits; `log` both; `from` and `since` the r and x bits.
// > Owner, group and mode are the same after a remount, and after the daemon was killed.
#[test]
fn each_user_may_do_with_each_file_what_the_namespaces_mode_says_also_after_a_restart() {
    let mut mount = mount();
    let ways = every_path(&mount);
    let namespaces: Vec<(PathBuf, u32)> = MODES
        .iter()
        .map(|&mode| (owned(&mount, &format!("mode-{mode:04o}"), mode), mode))
        .collect();
    let mut users = User::all();
    for end in ["not ended", "stopped", "killed"] {
        match end {
            "stopped" => mount.restart(),
            "killed" => {
                mount.kill();
                mount.start();
            }
            _ => {}
        }
        for (namespace, mode) in &namespaces {
            assert_eq!(mode_of(namespace), *mode, "{end}");
            for user in &mut users {
                try_namespace(user, namespace, *mode, &ways);
            }
        }
    }
    for (namespace, _) in namespaces {
        chmod(&namespace, 0o777);
        assert_eq!(support::read(&namespace.join("log")), b"first\nsecond\n");
    }
    mount.stop_and_verify();
}

// > `chmod 0730` gives the group the right to append and not to read.
#[test]
fn a_group_can_append_what_it_cannot_read() {
    let mount = mount();
    let orders = owned(&mount, "orders", 0o730);
    let (log, file) = (orders.join("log"), orders.join("append"));
    if !others_can_be_tried() {
        // The owner's bits count for the owner.
        chmod(&orders, 0o330);
        append(&file, "third\n").unwrap();
        refused(File::open(&log), Errno::EACCES);
        chmod(&orders, 0o730);
        assert_eq!(support::read(&log), b"first\nsecond\nthird\n");
        return;
    }
    let [mut owner, mut member, mut other] = three();
    member.can("write", &[&file, &"third"]);
    member.can("write", &[&orders.join("append-lines"), &"fourth"]);
    for name in [
        "append", "log", "follow", "0", "count", "stats", "frames", "from/0",
    ] {
        member.cannot("read", &[&orders.join(name)], Errno::EACCES);
    }
    member.cannot("list", &[&orders], Errno::EACCES);
    other.cannot("write", &[&file, &"fifth"], Errno::EACCES);
    assert_eq!(owner.can("read", &[&orders.join("2")]), "third");
    assert_eq!(support::read(&log), b"first\nsecond\nthird\nfourth\n");
}

// > A namespace belongs to the user and the group of the process that made it, with the mode that it asked for
// > less the umask. A root directory with the setgid bit hands down its group.
#[test]
fn whoever_makes_a_namespace_owns_it() {
    let mut mount = mount();
    let made = |name: &str| mount.path().join(name);
    let mut me = User::me();
    let (uid, gid) = (me.uid, nix::unistd::getegid().as_raw());
    for (name, mode, umask, is) in [
        ("a", 0o777, 0o022, "755"),
        ("b", 0o777, 0o077, "700"),
        ("c", 0o750, 0o002, "750"),
        ("d", 0o777, 0, "777"),
        ("e", 0o1777, 0o027, "1750"),
        ("f", 0o2755, 0, "755"),
    ] {
        me.can("mkdir", &[&made(name), &mode, &umask]);
        assert_eq!(me.can("stat", &[&made(name)]), format!("{uid} {gid} {is}"));
    }
    if others_can_be_tried() {
        let [mut owner, mut member, _] = three();
        owner.cannot("mkdir", &[&made("owners"), &0o777, &0], Errno::EACCES);
        chmod(&mount.path(), 0o777);
        owner.can("mkdir", &[&made("owners"), &0o777, &0o027]);
        assert_eq!(
            member.can("stat", &[&made("owners")]),
            format!("{OWNER} {OWNER} 750")
        );
        let file = member.can("stat", &[&made("owners")]);
        assert_eq!(file, format!("{OWNER} {OWNER} 750"));
        owner.can("write", &[&made("owners/append"), &"mine"]);
        assert_eq!(
            owner.can("stat", &[&made("owners/0")]),
            format!("{OWNER} {OWNER} 440")
        );

        chown(mount.path(), None, Some(GROUP)).unwrap();
        chmod(&mount.path(), 0o2777);
        owner.can("mkdir", &[&made("handed"), &0o777, &0o027]);
        assert_eq!(
            owner.can("stat", &[&made("handed")]),
            format!("{OWNER} {GROUP} 2750")
        );
        member.can("list", &[&made("handed")]);
    }
    let before = all_rights(&mount, &mut me);
    mount.kill();
    mount.start();
    assert_eq!(all_rights(&mount, &mut me), before);
}

// > `chmod`, `chown` and `chgrp` change a namespace, and the mount's root, under the kernel's rules: the owner
// > can change the mode, and change the group to one of the owner's groups; root can change everything.
#[test]
fn the_owner_changes_the_mode_and_root_the_owner() {
    let mut mount = mount();
    let orders = owned(&mount, "orders", 0o755);
    let mut me = User::me();
    // Nothing at all is asked for, and what is so already.
    me.can("chown", &[&orders, &-1, &-1]);
    me.can("chmod", &[&orders, &0o755]);
    for path in [orders.clone(), mount.path()] {
        for mode in [0o700, 0o3777, 0o1770, 0, 0o755] {
            me.can("chmod", &[&path, &mode]);
            assert_eq!(mode_of(&path), mode as u32);
        }
        me.cannot("utime", &[&path], Errno::EPERM);
    }
    if others_can_be_tried() {
        let [mut owner, mut member, mut other] = three();
        let rights = |owner: u32, group: u32, mode: u32| {
            let m = fs::metadata(&orders).unwrap();
            assert_eq!((m.uid(), m.gid(), m.mode() & 0o7777), (owner, group, mode));
        };
        rights(OWNER, GROUP, 0o755);
        for user in [&mut member, &mut other] {
            user.cannot("chmod", &[&orders, &0o777], Errno::EPERM);
            user.cannot("chown", &[&orders, &user.uid.clone(), &-1], Errno::EPERM);
            user.cannot("chown", &[&orders, &-1, &user.uid.clone()], Errno::EPERM);
            user.cannot("chmod", &[&mount.path(), &0o777], Errno::EPERM);
        }
        // The setgid bit is for the group's members: without an error, it is not set.
        owner.can("chmod", &[&orders, &0o2750]);
        rights(OWNER, GROUP, 0o750);
        owner.cannot("chown", &[&orders, &OTHER, &-1], Errno::EPERM);
        // To one of the owner's groups; not to another.
        owner.can("chown", &[&orders, &-1, &OWNER]);
        owner.cannot("chown", &[&orders, &-1, &GROUP], Errno::EPERM);
        owner.can("chown", &[&orders, &OWNER, &OWNER]);
        rights(OWNER, OWNER, 0o750);
        owner.can("chmod", &[&orders, &0o2750]);
        rights(OWNER, OWNER, 0o2750);
        chown(&orders, Some(MEMBER), Some(GROUP)).unwrap();
        rights(MEMBER, GROUP, 0o2750);
        owner.cannot("chmod", &[&orders, &0o777], Errno::EPERM);
        owner.cannot("list", &[&orders], Errno::EACCES);
        member.can("chown", &[&orders, &-1, &MEMBER]);
        member.can("chown", &[&orders, &-1, &GROUP]);
        member.can("chmod", &[&orders, &0o770]);
        // A mount that was given away.
        chown(mount.path(), Some(OTHER), Some(OTHER)).unwrap();
        other.can("chmod", &[&mount.path(), &0o700]);
        member.cannot("list", &[&orders], Errno::EACCES);
        other.can("mkdir", &[&mount.path().join("theirs"), &0o700, &0]);
        other.can("chmod", &[&mount.path(), &0o755]);
        member.can("list", &[&orders]);
    }
    let before = all_rights(&mount, &mut me);
    mount.restart();
    assert_eq!(all_rights(&mount, &mut me), before);
}

// > `.immuta/metrics` and `.immuta/status` can be read by the owner and the group of the mount's root.
#[test]
fn what_tells_of_all_namespaces_is_for_those_to_whom_the_mount_belongs() {
    let mount = mount();
    let about = ["status", "metrics"].map(|name| mount.path().join(".immuta").join(name));
    let mut me = User::me();
    let readable = |user: &mut User, allowed: bool| {
        for path in &about {
            let read = user.call("open", &[path, &libc::O_RDONLY]).map(drop);
            let expected = if allowed { Ok(()) } else { Err(Errno::EACCES) };
            assert_eq!(read, expected, "{} {}", user.name, path.display());
        }
    };
    readable(&mut me, true);
    if others_can_be_tried() {
        let [mut owner, mut member, mut other] = three();
        for user in [&mut owner, &mut member, &mut other] {
            readable(user, false);
        }
        chown(mount.path(), Some(OWNER), Some(GROUP)).unwrap();
        readable(&mut owner, true);
        readable(&mut member, true);
        readable(&mut other, false);
        chown(mount.path(), None, Some(OTHER)).unwrap();
        readable(&mut member, false);
        readable(&mut other, true);
    }
}

// > Users who may write to the mount's root can make and remove namespaces. In a root with the sticky bit
// > (`chmod 1777`) each user can remove only their own.
#[test]
fn a_sticky_root_keeps_namespaces_from_other_users() {
    let mount = mount();
    let path = |name: &str| mount.path().join(name);
    if !others_can_be_tried() {
        chmod(&mount.path(), 0o555);
        refused(fs::create_dir(path("new")), Errno::EACCES);
        refused(fs::remove_dir(path("default")), Errno::EACCES);
        chmod(&mount.path(), 0o1777);
        fs::create_dir(path("new")).unwrap();
        fs::remove_dir(path("new")).unwrap();
        return;
    }
    let [mut owner, mut member, mut other] = three();
    chmod(&mount.path(), 0o1777);
    for (user, name) in [(&mut owner, "owners"), (&mut member, "members")] {
        user.can("mkdir", &[&path(name), &0o777, &0]);
        user.cannot("mkdir", &[&path(name), &0o777, &0], Errno::EEXIST);
    }
    for name in ["owners", "members", "default"] {
        for call in ["rmdir", "unlink"] {
            other.cannot(call, &[&path(name)], Errno::EPERM);
        }
        other.cannot("rename", &[&path(name), &path("theirs")], Errno::EPERM);
    }
    // It may be written to all the same, and then nobody removes it.
    other.can("write", &[&path("members/append"), &"x"]);
    member.cannot("rmdir", &[&path("members")], Errno::ENOTEMPTY);
    owner.cannot("rmdir", &[&path("members")], Errno::EPERM);
    owner.can("rmdir", &[&path("owners")]);
    assert!(!mount.logs().join("owners.rights").exists());
    // Without the bit, write permission is all it takes.
    chmod(&mount.path(), 0o777);
    owner.can("mkdir", &[&path("owners"), &0o700, &0]);
    other.can("rmdir", &[&path("owners")]);
    chmod(&mount.path(), 0o755);
    owner.cannot("mkdir", &[&path("owners"), &0o700, &0], Errno::EACCES);
    owner.cannot("rmdir", &[&path("default")], Errno::EACCES);
}

// > When `chmod` or `chown` has returned, users whom it locks out can open nothing there any more, whatever they
// > had opened or looked up before. Files that are open stay open.
#[test]
fn a_right_that_was_taken_away_is_gone_when_chmod_returns() {
    if !others_can_be_tried() {
        return a_right_of_ones_own_is_gone_when_chmod_returns();
    }
    for options in [
        &["--allow-other"][..],
        &["--allow-other", "--sync", "always"],
    ] {
        let mount = Mount::with(options);
        mount.open_to_others();
        let orders = owned(&mount, "orders", 0o750);
        let [_, mut member, _] = three();
        member.can("chdir", &[&orders]);
        let (reading, writing) = (libc::O_RDONLY, libc::O_WRONLY);
        let wanted = [
            ("append", writing),
            ("append-lines", writing),
            ("0", reading),
            ("1", reading),
            ("log", reading),
            ("from", reading),
            ("from/0", reading),
            ("since/1h", reading),
        ];
        chmod(&orders, 0o770);
        for (name, flags) in wanted {
            // A path that is held, but not open for anything: it is looked up no more.
            member.can("keep", &[&name, &orders.join(name), &libc::O_PATH]);
            member.can("reopen", &[&name, &flags]);
        }
        member.can("keep", &[&"written", &orders.join("append"), &writing]);
        // Each for itself: nobody has lately asked for anything else.
        for (name, flags) in wanted {
            chmod(&orders, 0o710);
            chmod(&orders, 0o770);
            member.can("open", &[&orders.join(name), &flags]);
            chmod(&orders, 0o710);
            member.cannot("open", &[&orders.join(name), &flags], Errno::EACCES);
        }
        chmod(&orders, 0o770);
        for round in 0..2 {
            // To be searched, and nothing else; the directory itself is no hurdle.
            chmod(&orders, 0o710);
            for (name, flags) in wanted {
                member.cannot("open", &[&orders.join(name), &flags], Errno::EACCES);
                member.cannot("open", &[&name, &flags], Errno::EACCES);
                member.cannot("reopen", &[&name, &flags], Errno::EACCES);
            }
            member.cannot("list", &[&orders], Errno::EACCES);
            member.can("write_kept", &[&"written", &format!("{round}").as_str()]);
            assert_eq!(member.can("getcwd", &[]), orders.to_str().unwrap());
            match round % 2 {
                0 => chmod(&orders, 0o770),
                _ => {
                    // The same by another way: the group is another one, then the owner.
                    chmod(&orders, 0o770);
                    member.can("open", &[&orders.join("append"), &writing]);
                    chown(&orders, None, Some(OTHER)).unwrap();
                    member.cannot("open", &[&orders.join("append"), &writing], Errno::EACCES);
                    member.cannot("reopen", &[&"0", &reading], Errno::EACCES);
                    chown(&orders, Some(MEMBER), None).unwrap();
                    member.can("open", &[&orders.join("0"), &reading]);
                    chown(&orders, Some(OWNER), Some(GROUP)).unwrap();
                }
            }
            for (name, flags) in wanted {
                member.can("open", &[&orders.join(name), &flags]);
                member.can("open", &[&name, &flags]);
                member.can("reopen", &[&name, &flags]);
            }
        }
        assert_eq!(support::read(&orders.join("count")), b"4\n");
    }
}

fn a_right_of_ones_own_is_gone_when_chmod_returns() {
    let mount = mount();
    let orders = owned(&mount, "orders", 0o700);
    for _ in 0..5 {
        for name in ["0", "log", "from/0"] {
            File::open(orders.join(name)).unwrap();
        }
        append(&orders.join("append"), "x").unwrap();
        chmod(&orders, 0o100);
        for name in ["0", "log", "from/0"] {
            refused(File::open(orders.join(name)), Errno::EACCES);
        }
        refused(append(&orders.join("append"), "x"), Errno::EACCES);
        chmod(&orders, 0o700);
    }
}

/// The answer to a chmod waits for nothing but the time: whatever holds the kernel's locks meanwhile, all of it
/// ends.
#[test]
fn changing_rights_blocks_nobody_for_ever() {
    const ROUNDS: u64 = 40;
    let mount = mount();
    let orders = owned(&mount, "orders", 0o755);
    fs::create_dir(mount.path().join("other")).unwrap();
    let done = [const { AtomicU64::new(0) }; 6];
    let end = AtomicBool::new(false);
    let mut waiting = Reader::start("cat", &[&orders.join("2")]);
    waiting.wait_until_blocked();
    let mut inside = Reader::shell(
        r#"cd "$1" && echo in && while read -r; do pwd; done"#,
        &[&orders],
    );
    assert_eq!(inside.line().as_deref(), Some("in"));
    let work: [&(dyn Fn(u64) + Sync); 6] = [
        &|n| {
            chmod(&orders, if n % 2 == 0 { 0o750 } else { 0o755 });
        },
        &|n| chmod(&mount.path(), if n % 2 == 0 { 0o711 } else { 0o755 }),
        &|_| refused(fs::remove_dir(&orders), Errno::ENOTEMPTY),
        &|n| {
            let made = mount.path().join(format!("made-{n}"));
            fs::create_dir(&made).unwrap();
            chmod(&made, 0o700);
            fs::remove_dir(&made).unwrap();
        },
        &|n| {
            for name in ["append", "0", "1", "2", "99", "from/0", "from/end"] {
                let _ = fs::metadata(orders.join(name));
            }
            let _ = fs::metadata(mount.path().join(format!("none-{n}")));
            assert!(fs::read_dir(&orders).unwrap().count() > 10);
        },
        &|_| {
            let renamed = fs::rename(&orders, mount.path().join("other"));
            refused(renamed, Errno::EPERM);
            drop(
                File::options()
                    .append(true)
                    .open(orders.join("append"))
                    .unwrap(),
            );
        },
    ];
    std::thread::scope(|scope| {
        for (work, done) in work.iter().zip(&done) {
            let end = &end;
            scope.spawn(move || {
                for n in 0.. {
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                    work(n);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whoever is stuck shows in the numbers; the threads are then freed by the end of the daemon.
        let begun = Instant::now();
        let all = || done.iter().all(|n| n.load(Ordering::Relaxed) >= ROUNDS);
        while !all() && begun.elapsed() < support::DEADLINE {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        end.store(true, Ordering::Relaxed);
        if !all() {
            mount.signal(nix::sys::signal::Signal::SIGKILL);
        }
    });
    let done = done.map(|n| n.into_inner());
    assert!(done.iter().all(|&n| n >= ROUNDS), "{done:?}");
    append(&orders.join("append"), "woken").unwrap();
    assert_eq!(waiting.line().as_deref(), Some("woken"));
    drop(inside);
}

// > The mount is for the daemon's user. With `--allow-other` it is for all users whom owner, group and mode let
// > in, with `--allow-root` for the daemon's user and root. Any other user who opens, lists or changes something
// > gets EACCES.
#[test]
fn a_mount_is_for_those_for_whom_it_was_made() {
    takes_root("somebody has to be several users");
    for option in ["", "--allow-other", "--allow-root"] {
        let options = [option];
        let mount = Mount::with(if option.is_empty() { &[] } else { &options });
        mount.open_to_others();
        chmod(&mount.path(), 0o1777);
        let open = mount.path().join("open");
        let mut root = User::me();
        root.can("mkdir", &[&open, &0o777, &0]);
        root.can("write", &[&open.join("append"), &"x"]);
        let [_, _, mut other] = three();
        let new = mount.path().join("new");
        let calls: [(&str, &[&dyn AsArgument]); 7] = [
            ("list", &[&mount.path()]),
            ("list", &[&open]),
            ("read", &[&open.join("0")]),
            ("open", &[&open.join("follow"), &libc::O_RDONLY]),
            ("write", &[&open.join("append"), &"y"]),
            ("mkdir", &[&new, &0o777, &0]),
            ("rmdir", &[&new]),
        ];
        for (call, arguments) in calls {
            match option {
                "--allow-other" => drop(other.can(call, arguments)),
                // What the kernel keeps of the names does not help.
                _ if call == "rmdir" => {
                    root.can("mkdir", &[&new, &0o777, &0]);
                    assert!(other.call(call, arguments).is_err());
                    root.can("rmdir", &[&new]);
                }
                _ => {
                    let _ = root.call("list", &[&mount.path()]);
                    let _ = root.call("read", &[&open.join("0")]);
                    other.cannot(call, arguments, Errno::EACCES);
                }
            }
        }
        assert_eq!(
            support::read(&open.join("count")) == b"2\n",
            option == "--allow-other"
        );
    }
}

/// Mounts as a user of the machine, with a configuration of fusermount3 of its own, and says what the owner,
/// somebody else and root get. `$1`: a directory; `$2`: the option; `$3`: what /etc/fuse.conf says.
const USERS_MOUNT: &str = r#"
    set -u
    home=$1 option=$2
    echo "$3" > "$home/fuse.conf"
    mount --bind "$home/fuse.conf" /etc/fuse.conf || exit 9
    as() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
    coproc daemon { exec setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$home/immuta-fs" $option "$home/logs" "$home/mount" 2> "$home/stderr"; }
    pid=$daemon_PID
    if ! read -r line <&"${daemon[0]}"; then wait "$pid"; echo "ended with $?"; exit; fi
    for who in 65534 61001 0; do
        as "$who" sh -c 'echo "$1" > "$2"' sh "$who" "$home/mount/default/append" 2> /dev/null ||
            echo "$who does not write"
        as "$who" cat "$home/mount/default/count" 2> /dev/null || echo "$who does not read"
    done
    kill "$pid"
    wait "$pid""#;

// > A user's mount can let others in only where `/etc/fuse.conf` has the line `user_allow_other`; root's mount
// > always can.
#[test]
fn a_users_mount_lets_others_in_where_the_machine_allows_it() {
    if !others_can_be_tried() {
        // The machine's own configuration decides.
        let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
        let allowed = conf.lines().any(|line| line.trim() == "user_allow_other");
        for option in ["--allow-other", "--allow-root"] {
            let mut mount = Mount::idle(&[option]);
            let mounted = mount.start_under(&[]).is_ok();
            assert_eq!(mounted, allowed, "{}", mount.messages());
            assert_eq!(
                mount.messages().contains("put 'user_allow_other' into"),
                !allowed
            );
        }
        return;
    }
    let run = |option: &str, conf: &str| {
        let home = tempfile::tempdir().unwrap();
        copied(env!("CARGO_BIN_EXE_immuta-fs"), home.path());
        fs::create_dir(home.path().join("mount")).unwrap();
        for path in [home.path().to_owned(), home.path().join("mount")] {
            chmod(&path, 0o755);
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let script = format!(
            "exec unshare --mount --propagation private bash -c '{}' bash \"$@\"",
            format!("{EVERYBODY_MAY_OPEN_THE_DEVICE}{USERS_MOUNT}").replace('\'', r"'\''")
        );
        let output = shell(&script, &[&home.path(), &option, &conf]);
        let said = fs::read_to_string(home.path().join("stderr")).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    for option in ["--allow-other", "--allow-root"] {
        let (got, said) = run(option, "# user_allow_other");
        assert_eq!(got, "ended with 1\n");
        let refusal = "mount': letting others in is for root alone (put 'user_allow_other' into /etc/fuse.conf)\n";
        assert!(said.ends_with(refusal), "{said}");
    }
    // The namespace is the user's own, of mode 0755: others read it, and root writes to it, too.
    let others = "61001 does not write\n61001 does not read\n";
    let roots = "0 does not write\n0 does not read\n";
    for (option, expected) in [
        (
            "--allow-other",
            "1\n61001 does not write\n1\n2\n".to_owned(),
        ),
        ("--allow-root", format!("1\n{others}2\n")),
        ("", format!("1\n{others}{roots}")),
    ] {
        let (got, said) = run(option, "user_allow_other");
        assert_eq!(got, expected, "{option}: {said}");
    }
}
