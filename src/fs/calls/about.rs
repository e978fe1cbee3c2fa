//! `.immuta/`: what can be told of the whole mount, and of each namespace, at one moment. The files in it are
//! written when they are opened; `about::status` and `about::metrics` are how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::fs::about::{
    NamespaceStatus, Status, StatusOptions, UnopenedNamespace, metrics, stats, sync_option,
};
use crate::fs::errno::Errno;
use crate::fs::fs::Fs;
use crate::fs::handles::Output;
use crate::fs::namespace::MountedLog;
use crate::fs::transport::Transport;
use crate::fs::tree::{About, Attr, BLOCK_BYTES, FOREVER, Node, NodeType, SHORT};
use immuta::{MAX_NAMESPACE_BYTES, RecordNo};

const DIRECTORY_MODE: u16 = 0o555;
/// The files tell of every namespace, also of those that a user may not read: they are for the owner and the group of the
/// mount.
const FILE_MODE: u16 = 0o440;

impl<T: Transport> Fs<T> {
    /// What a file of `.immuta` shows now.
    pub(super) fn about(&self, about: About) -> String {
        let status = self.status();
        match about {
            About::Metrics => metrics::text(&status),
            About::Status => status.json(),
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
            NodeType::Directory => (2, self.clock.started),
            NodeType::File => (1, SystemTime::now()),
        };
        let rights = self.root_rights.now().rights;
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

    fn status(&self) -> Status {
        // How many files of a namespace are open for reading, and for writing.
        let mut open: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for handle in self.open.handles.all() {
            let (readers, writers) = open.entry(handle.namespace.id()).or_default();
            *readers += u64::from(!matches!(handle.output, Output::Nothing));
            *writers += u64::from(handle.input.is_some());
        }
        let namespaces = self.names.namespaces.all();
        let mut namespaces: Vec<_> = namespaces
            .iter()
            .map(|namespace| {
                let open = open.get(&namespace.id()).copied().unwrap_or_default();
                self.namespace_status(namespace, open)
            })
            .collect();
        namespaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let unopened = self.storage.failed().into_iter();
        let settings = &self.settings;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            logs_dir: self.storage.logs_dir().display().to_string(),
            options: StatusOptions {
                read_only: settings.read_only,
                sync: sync_option(self.storage.durability()),
                max_record_bytes: settings.max_record_bytes,
                max_open_bytes: settings.max_open_bytes,
                append_limit_bytes: settings.split_write_bytes,
            },
            started: Some(self.clock.started),
            uptime_seconds: self.clock.running_since.elapsed().as_secs_f64(),
            blocked_readers: self.waiting.parked.len(),
            open_bytes: self.waiting.budget.held(),
            refused_for_memory: self.waiting.budget.refused(),
            namespaces,
            unopened: unopened
                .map(|(name, why)| UnopenedNamespace {
                    name: name.to_string(),
                    why: why.to_string(),
                })
                .collect(),
        }
    }

    /// When the first record was appended. Where only the disk can tell, it is asked, and the next look knows.
    fn first_time(&self, namespace: &Arc<MountedLog>) -> Option<SystemTime> {
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

    fn ask_first_time(&self, namespace: &Arc<MountedLog>) {
        let (about, namespace) = (Some(namespace.id()), Arc::clone(namespace));
        let ask = Box::new(move || {
            let first = &namespace.first_time;
            // What is wrong with the entry, a read of the record says.
            if let Ok(entry) = namespace.log.entry(RecordNo(0)) {
                first.known.get_or_init(|| entry.time);
            }
            first.is_asked.store(false, Ordering::Relaxed);
        });
        self.waiting.later.run(about, ask);
    }

    fn namespace_status(
        &self,
        namespace: &Arc<MountedLog>,
        (open_readers, open_writers): (u64, u64),
    ) -> NamespaceStatus {
        let log = &namespace.log;
        // In this order: what is on the disk is not older than what is there.
        let state = log.state();
        let synced = log.synced().map(|synced| synced.min(state.count));
        let unsynced = log.unsynced();
        NamespaceStatus {
            name: log.namespace().to_string(),
            records: state.count,
            bytes: state.log_end,
            text_bytes: state.text_end,
            first_time: self.first_time(namespace),
            last_time: state.last_time,
            format: log.format().to_string(),
            appended_records: state.count.saturating_sub(log.recovery().records),
            refused_writes: namespace.refused_writes.load(Ordering::Relaxed),
            blocked_readers: self.waiting.parked.waiting_for(namespace.id()),
            open_readers,
            open_writers,
            synced_records: synced,
            unsynced_records: unsynced.map(|(records, _)| records),
            sync_lag_seconds: unsynced.map(|(_, lag)| lag.as_secs_f64()),
            failed: log.failure().map(str::to_owned),
        }
    }

    pub(super) fn stats(&self, namespace: &MountedLog) -> Result<String, Errno> {
        Ok(stats::json(
            &namespace.log.details()?,
            self.waiting.parked.waiting_for(namespace.id()),
        ))
    }

    /// The space of the disk that holds the logs.
    ///
    /// # Errors
    /// Those of `statvfs(3)`.
    pub fn statfs(&self) -> Result<DiskSpace, Errno> {
        let disk = nix::sys::statvfs::statvfs(self.storage.logs_dir())
            .map_err(|e| Errno::new(e as i32))?;
        Ok(DiskSpace {
            block_bytes: disk.fragment_size() as u32,
            blocks: disk.blocks(),
            blocks_free: disk.blocks_free(),
            blocks_available: disk.blocks_available(),
            files: disk.files(),
            files_free: disk.files_free(),
            name_bytes: MAX_NAMESPACE_BYTES as u32,
        })
    }
}

/// The space of a disk, as in `statvfs(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Unit of the block counts, in bytes.
    pub block_bytes: u32,
    /// All blocks.
    pub blocks: u64,
    /// Those that are free.
    pub blocks_free: u64,
    /// Those that are free to everybody.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Those that are free.
    pub files_free: u64,
    /// Longest name, in bytes.
    pub name_bytes: u32,
}
