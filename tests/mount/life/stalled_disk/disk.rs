//! A directory that lies on a disk which stands still when it is told to: a FUSE file system that passes each call on to
//! another directory. While a name is stalled, the calls on the files of that name wait, and all others are answered.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

/// Attributes and names are asked for each time.
const TTL: Duration = Duration::ZERO;

/// What a stalled name waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stalls {
    /// Syncs.
    Syncs,
    /// Writes and changes of a file's length, too.
    Writes,
    /// Its reads, too: nothing of it is in memory.
    All,
}

#[derive(Debug, Default)]
struct State {
    stalled: BTreeSet<String>,
    what: Option<Stalls>,
    /// How many calls stand still.
    waiting: usize,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// Whether a call on a file of this name, which stands still with these, does so now.
    fn stalls(&self, name: &str, with: Stalls) -> bool {
        let state = self.state.lock().unwrap();
        state.stalled.contains(name) && state.what >= Some(with)
    }

    /// Returns when the name is not stalled.
    fn pass(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        let stalled = |state: &mut State| state.stalled.contains(name);
        state = self.changed.wait_while(state, stalled).unwrap();
        state.waiting -= 1;
    }
}

/// Dropped, the disk goes on.
#[must_use]
pub(crate) struct Standstill(Arc<Gate>);

impl Drop for Standstill {
    fn drop(&mut self) {
        // Also when a thread has panicked there: whatever waits is let go.
        let state = self.0.state.lock();
        state.unwrap_or_else(|e| e.into_inner()).stalled.clear();
        self.0.changed.notify_all();
    }
}

/// The mounted directory. Dropped, it is unmounted: nothing is to stand still then, and whoever uses it has to be gone.
pub(crate) struct Disk {
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
    directory: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn mount() -> Disk {
        let directory = tempfile::Builder::new()
            .prefix("immuta-disk-")
            .tempdir()
            .unwrap();
        let (below, mountpoint) = (
            directory.path().join("below"),
            directory.path().join("disk"),
        );
        std::fs::create_dir(&below).unwrap();
        std::fs::create_dir(&mountpoint).unwrap();
        let gate = Arc::<Gate>::default();
        let served = PassThrough {
            below,
            gate: gate.clone(),
            files: Mutex::default(),
        };
        let session = fuser::spawn_mount(served, &mountpoint, &Config::default()).unwrap();
        Disk {
            gate,
            session: Some(session),
            directory,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// The files of these names, whatever their endings, stand still until what is returned is dropped.
    pub(crate) fn stall(&self, names: &[String], what: Stalls) -> Standstill {
        let mut state = self.gate.state.lock().unwrap();
        state.stalled.extend(names.iter().cloned());
        state.what = Some(what);
        Standstill(self.gate.clone())
    }

    /// How many calls stand still.
    pub(crate) fn waiting(&self) -> usize {
        self.gate.state.lock().unwrap().waiting
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && session.umount_and_join().is_err()
        {
            let mut umount = Command::new("umount");
            let _ = umount.arg("-l").arg(self.path()).status();
        }
    }
}

/// One file of the directory below, open as long as the mount is there: so its number stays its own.
struct Node {
    file: File,
    /// The file's name without its ending.
    name: String,
}

struct PassThrough {
    below: PathBuf,
    gate: Arc<Gate>,
    /// By their numbers, which are those of the directory below.
    files: Mutex<HashMap<u64, Arc<Node>>>,
}

impl PassThrough {
    fn path(&self, name: &OsStr) -> PathBuf {
        self.below.join(name)
    }

    fn node(&self, ino: INodeNo) -> io::Result<Arc<Node>> {
        let files = self.files.lock().unwrap();
        let node = files.get(&ino.0).cloned();
        node.ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))
    }

    /// Opens a file, unless it is open.
    fn find(&self, name: &OsStr, options: &OpenOptions) -> io::Result<FileAttr> {
        let file = options.open(self.path(name))?;
        let attr = attr(&file.metadata()?);
        let name = Path::new(name).file_stem().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let mut files = self.files.lock().unwrap();
        let node = || Arc::new(Node { file, name });
        files.entry(attr.ino.0).or_insert_with(node);
        Ok(attr)
    }

    fn attr(&self, ino: INodeNo) -> io::Result<FileAttr> {
        if ino == INodeNo::ROOT {
            return Ok(FileAttr {
                ino,
                ..attr(&std::fs::metadata(&self.below)?)
            });
        }
        Ok(attr(&self.node(ino)?.file.metadata()?))
    }

    /// Does something with a file: at once, or, on a thread of its own, when its name is not stalled any more.
    fn with(&self, ino: INodeNo, with: Stalls, f: impl FnOnce(io::Result<&File>) + Send + 'static) {
        let node = match self.node(ino) {
            Ok(node) => node,
            Err(e) => return f(Err(e)),
        };
        if !self.gate.stalls(&node.name, with) {
            return f(Ok(&node.file));
        }
        let gate = self.gate.clone();
        std::thread::spawn(move || {
            gate.pass(&node.name);
            f(Ok(&node.file));
        });
    }
}

fn attr(metadata: &Metadata) -> FileAttr {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(metadata.ino()),
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: if metadata.is_dir() {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn refusal(error: io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(libc::EIO))
}

fn reply_empty(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(refusal(e)),
    }
}

fn reply_attr(reply: ReplyAttr, result: io::Result<FileAttr>) {
    match result {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(e) => reply.error(refusal(e)),
    }
}

impl Filesystem for PassThrough {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(name, OpenOptions::new().read(true).write(true)) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(e) => reply.error(refusal(e)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply_attr(reply, self.attr(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.with(ino, Stalls::Writes, move |file| {
            let changed = file.and_then(|file| {
                mode.map_or(Ok(()), |mode| {
                    file.set_permissions(Permissions::from_mode(mode))
                })?;
                size.map_or(Ok(()), |size| file.set_len(size))?;
                Ok(attr(&file.metadata()?))
            });
            reply_attr(reply, changed);
        });
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .create_new(flags & libc::O_EXCL != 0)
            .mode(mode & !umask);
        match self.find(name, &options) {
            Ok(attr) => reply.created(
                &TTL,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(e) => reply.error(refusal(e)),
        }
    }

    // Nothing goes through the kernel's page cache: its pages are locked while they are written.
    fn open(&self, _: &Request, _ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.with(ino, Stalls::All, move |file| {
            let mut bytes = vec![0; size as usize];
            match file.and_then(|file| file.read_at(&mut bytes, offset)) {
                Ok(got) => reply.data(&bytes[..got]),
                Err(e) => reply.error(refusal(e)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.with(ino, Stalls::Writes, move |file| {
            match file.and_then(|file| file.write_all_at(&data, offset)) {
                Ok(()) => reply.written(data.len() as u32),
                Err(e) => reply.error(refusal(e)),
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // No test cuts the power.
        self.with(ino, Stalls::Syncs, move |file| {
            reply_empty(reply, file.map(drop));
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match std::fs::read_dir(&self.below).and_then(Iterator::collect) {
            Ok(entries) => entries,
            Err(e) => return reply.error(refusal(e)),
        };
        let entries: Vec<std::fs::DirEntry> = entries;
        let mut names: Vec<_> = entries.iter().map(|entry| entry.file_name()).collect();
        names.sort();
        for (n, name) in names.iter().enumerate().skip(offset as usize) {
            // The number says only that there is a file.
            if reply.add(INodeNo(2), n as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(reply, std::fs::remove_file(self.path(name)));
    }

    fn rename(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = std::fs::rename(self.path(name), self.path(new_name));
        reply_empty(reply, renamed);
    }
}
