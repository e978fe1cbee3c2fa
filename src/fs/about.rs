//! `.immuta/`: what can be told of the whole mount, and of each namespace, at one moment. The files in it are
//! written when they are opened; [`status`](super::status) and [`metrics`](super::metrics) are how.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::attr::{BLOCK_BYTES, FOREVER, SHORT};
use super::errno::Errno;
use super::handle::Output;
use super::tree::{About, Node};
use super::{Attr, Fs, Namespace, NodeType, ReadMode, ReadReply, Settings, Transport};
use super::{metrics, status};
use crate::log::{Format, RecordNo, State, Sync};

const DIRECTORY_MODE: u16 = 0o555;
/// It tells of every namespace, whoever may read that one: for the owner and the group of the mount.
const FILE_MODE: u16 = 0o440;

/// The mount at one moment.
pub(super) struct MountLook {
    pub(super) logs_dir: String,
    pub(super) settings: Settings,
    pub(super) sync: Sync,
    pub(super) started: SystemTime,
    pub(super) uptime: Duration,
    /// Reads that wait for a record.
    pub(super) blocked_readers: usize,
    /// By name.
    pub(super) namespaces: Vec<NamespaceLook>,
    /// How much memory lines and frames take that wait for their end, and how many writes were refused for want of it.
    pub(super) open_bytes: u64,
    pub(super) open_refused: u64,
    /// The namespaces that could not be opened, and why.
    pub(super) unopened: Vec<(String, String)>,
}

/// A namespace at one moment.
pub(super) struct NamespaceLook {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) format: Format,
    pub(super) first_time: Option<SystemTime>,
    /// How many records have come since the mount began.
    pub(super) appended: u64,
    /// How many writes were refused since then.
    pub(super) refused_writes: u64,
    pub(super) blocked_readers: usize,
    pub(super) open: OpenFiles,
    /// How many records are on the disk; `None`: another process writes, and it alone knows.
    pub(super) synced: Option<u64>,
    /// How many are written and not known to be there, whether readers see them or not; `None`: not known.
    pub(super) unsynced: Option<u64>,
    /// How long the first of those has been waiting; `None`: not known.
    pub(super) sync_lag: Option<Duration>,
    /// Why the log takes no more records.
    pub(super) failed: Option<String>,
}

/// How many open files a namespace has.
#[derive(Clone, Copy, Default)]
pub(super) struct OpenFiles {
    pub(super) readers: u64,
    pub(super) writers: u64,
}

/// Texts as they were when they were opened, by the number of the open file.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    open: RwLock<HashMap<u64, Arc<str>>>,
}

impl Snapshots {
    pub(super) fn insert(&self, fh: u64, text: String) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fh, text.into());
    }

    pub(super) fn get(&self, fh: u64) -> Option<Arc<str>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fh)
            .cloned()
    }

    pub(super) fn remove(&self, fh: u64) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fh);
    }
}

impl<T: Transport> Fs<T> {
    /// What a file of `.immuta` shows now.
    pub(super) fn about(&self, about: About) -> String {
        let look = self.look();
        match about {
            About::Metrics => metrics::text(&look),
            About::Status => status::json(&look),
        }
    }

    /// The attributes of `.immuta` and what is in it. What the files show changes with each look.
    pub(super) fn about_attr(&self, node: Node) -> Result<Attr, Errno> {
        let (node_type, mode, size, attr_ttl) = match node {
            Node::AboutFile(about) => {
                let size = self.about(about).len() as u64;
                (NodeType::File, FILE_MODE, size, Duration::ZERO)
            }
            _ => (NodeType::Directory, DIRECTORY_MODE, 0, SHORT),
        };
        let (links, modified) = match node_type {
            NodeType::Directory => (2, self.started),
            NodeType::File => (1, SystemTime::now()),
        };
        let rights = self.rights.now().rights;
        Ok(Attr {
            ino: node.ino()?,
            node_type,
            mode,
            uid: rights.owner,
            gid: rights.group,
            size,
            blocks: size.div_ceil(BLOCK_BYTES),
            links,
            modified,
            changed: modified,
            attr_ttl,
            entry_ttl: FOREVER,
        })
    }

    /// A read of an open text. For the page cache it is refused: the kernel would end it at the size that the
    /// file had when somebody last looked, and programs that are refused read as any other.
    pub(super) fn read_snapshot(
        text: &str,
        offset: u64,
        size: u32,
        mode: ReadMode,
        reply: T::Read,
    ) {
        if mode.for_page_cache {
            return reply.error(Errno::EINVAL);
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        reply.data(&rest[..rest.len().min(size as usize)]);
    }

    fn look(&self) -> MountLook {
        let mut open: BTreeMap<u32, OpenFiles> = BTreeMap::new();
        for handle in self.handles.all() {
            let open = open.entry(handle.namespace.id()).or_default();
            open.readers += u64::from(!matches!(handle.output, Output::Nothing));
            open.writers += u64::from(handle.input.is_some());
        }
        let namespaces: Vec<_> = {
            let namespaces = self
                .namespaces
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            namespaces.values().cloned().collect()
        };
        let mut looks: Vec<_> = namespaces
            .iter()
            .map(|namespace| {
                let open = open.get(&namespace.id()).copied().unwrap_or_default();
                self.look_at(namespace, open)
            })
            .collect();
        looks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let unopened = self.storage.failed().into_iter();
        MountLook {
            logs_dir: self.storage.logs_dir().display().to_string(),
            settings: self.settings,
            sync: self.storage.sync_mode(),
            started: self.started,
            uptime: self.running_since.elapsed(),
            blocked_readers: self.parked.len(),
            open_bytes: self.budget.held(),
            open_refused: self.budget.refused(),
            namespaces: looks,
            unopened: unopened
                .map(|(name, why)| (name.to_string(), why.to_string()))
                .collect(),
        }
    }

    /// When the first record was appended. Where only the disk can tell, it is asked, and the next look knows.
    fn first_time(&self, namespace: &Arc<Namespace>) -> Option<SystemTime> {
        let log = &namespace.log;
        if log.state().count == 0 {
            return None;
        }
        let first = &namespace.first_time;
        if let Some(known) = first.known.get() {
            return *known;
        }
        match log.entry(RecordNo(0)) {
            Ok(entry) => *first.known.get_or_init(|| entry.time),
            Err(e) if e.would_wait() => {
                // One asks, however many look while the disk stands still.
                if !first.is_asked.swap(true, Ordering::Relaxed) {
                    self.ask_first_time(namespace);
                }
                None
            }
            Err(_) => None,
        }
    }

    fn ask_first_time(&self, namespace: &Arc<Namespace>) {
        let (about, namespace) = (Some(namespace.id()), Arc::clone(namespace));
        let ask = Box::new(move || {
            let first = &namespace.first_time;
            // What is wrong with the entry, a read of the record says.
            if let Ok(entry) = namespace.log.entry(RecordNo(0)) {
                first.known.get_or_init(|| entry.time);
            }
            first.is_asked.store(false, Ordering::Relaxed);
        });
        self.later.threads.run(about, ask);
    }

    fn look_at(&self, namespace: &Arc<Namespace>, open: OpenFiles) -> NamespaceLook {
        let log = &namespace.log;
        // In this order: what is on the disk is not older than what is there.
        let state = log.state();
        let synced = log.synced().map(|synced| synced.min(state.count));
        let unsynced = log.unsynced();
        NamespaceLook {
            name: log.namespace().to_string(),
            state,
            format: log.format(),
            first_time: self.first_time(namespace),
            appended: state.count.saturating_sub(log.recovery().records),
            refused_writes: namespace.refused_writes.load(Ordering::Relaxed),
            blocked_readers: self.parked.waiting_for(namespace.id()),
            open,
            synced,
            unsynced: unsynced.map(|(records, _)| records),
            sync_lag: unsynced.map(|(_, lag)| lag),
            failed: log.failure().map(str::to_owned),
        }
    }
}
