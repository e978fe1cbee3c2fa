//! A directory of logs: opening and closing it, and creating, finding and removing logs in it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::create::create_files;
use super::directory_lock::{DirectoryLock, take_lock};
use super::logs::Logs;
use super::open_all::Look;
use super::others::Unopened;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::ByteIndex;
use crate::locks::{lock, read, write};
use crate::log::{Details, Log, Report, Stream, SyncThreads};
use crate::namespace::Namespace;
use crate::options::{Durability, Options};
use crate::progress::Checking;
use crate::segment::Appended;

/// A directory of logs, open for writing by this process alone, or for reading.
///
/// Closed when dropped; call [`Storage::close`] to learn whether that went well.
#[derive(Debug)]
pub struct Storage {
    pub(crate) options: Options,
    pub(crate) logs: RwLock<Logs>,
    /// The logs that are there and could not be opened.
    pub(crate) failed: Mutex<Vec<Unopened>>,
    /// The logs whose check would take long, and was postponed.
    pub(crate) postponed: Mutex<Vec<Arc<Checking>>>,
    /// The file whose lock keeps other writers out; `None`: opened for reading only, or closed. Dropping it gives the lock back.
    pub(crate) lock: Mutex<Option<DirectoryLock>>,
    pub(crate) sync_threads: Mutex<Option<SyncThreads>>,
    /// The ids of logs that another process removed or replaced while they were open for reading here.
    pub(crate) ended_ids: Mutex<BTreeSet<u32>>,
    /// Held while a namespace is created or removed, and taken before `logs`. So a caller that looks for a log does not wait
    /// for the disk.
    pub(crate) changing: Mutex<()>,
}

impl Storage {
    /// Opens every log in the directory, and creates the namespaces that the options name and that are missing. Makes
    /// the directory if it is missing. If a log cannot be opened, the others are opened all the same: see
    /// [`Storage::failed`].
    ///
    /// A log that was closed in order is opened without reading it. After a crash, the records that were not yet synced
    /// are checked; [`Options::opening`] can watch the check, stop it, or postpone it.
    ///
    /// # Errors
    /// [`Error::Locked`] if another writer has the directory; [`Error::InvalidNamespace`] for a name in the options;
    /// [`Error::BeingChecked`] if it was stopped; [`Error::Io`].
    pub fn open(options: Options) -> Result<Self> {
        let wanted = options
            .namespaces
            .iter()
            .map(|name| Namespace::new(name))
            .collect::<Result<Vec<_>>>()?;
        if !options.read_only {
            options
                .disk
                .create_dir(&options.logs_dir)
                .map_err(|e| Error::io("create the directory", &options.logs_dir, e))?;
        }
        let lock_file = if options.read_only {
            None
        } else {
            Some(take_lock(&options.logs_dir)?)
        };
        let sync_threads = match options.sync {
            Durability::Every(interval) if !options.read_only => Some(
                SyncThreads::start(interval)
                    .map_err(|e| Error::io("start a thread for", &options.logs_dir, e))?,
            ),
            _ => None,
        };
        let storage = Storage {
            options,
            logs: RwLock::default(),
            failed: Mutex::default(),
            postponed: Mutex::default(),
            lock: Mutex::new(lock_file),
            sync_threads: Mutex::new(sync_threads),
            ended_ids: Mutex::default(),
            changing: Mutex::default(),
        };
        storage.open_all(Look::First)?;
        for namespace in wanted {
            let there = storage.logs_now().contains_key(&namespace)
                || storage.why_unopened(namespace.as_str()).is_some();
            if !there {
                if storage.options.read_only {
                    return Err(Error::NotFound {
                        namespace: namespace.to_string(),
                    });
                }
                storage.create(&namespace)?;
            }
        }
        if !storage.options.read_only {
            // A process that was killed while it created a namespace may have left names that were never synced.
            storage.sync_dir()?;
        }
        Ok(storage)
    }

    /// The namespaces that are there and are not open, and why. Among them are those that are still being checked.
    pub fn failed(&self) -> Vec<(Namespace, Arc<Error>)> {
        let mut failed: Vec<_> = lock(&self.failed)
            .iter()
            .map(|failed| (failed.namespace.clone(), Arc::clone(&failed.why)))
            .collect();
        let postponed = lock(&self.postponed);
        failed.extend(
            postponed
                .iter()
                .map(|checking| (checking.namespace().clone(), Arc::new(checking.error()))),
        );
        failed
    }

    pub(crate) fn is_postponed(&self, ns: &str) -> Option<Arc<Checking>> {
        let postponed = lock(&self.postponed);
        let mut postponed = postponed.iter();
        postponed.find(|c| c.namespace().as_str() == ns).cloned()
    }

    /// Why a namespace that is there is not open; `None`: it is open, or not there.
    pub fn why_unopened(&self, ns: &str) -> Option<Arc<Error>> {
        if let Some(checking) = self.is_postponed(ns) {
            return Some(Arc::new(checking.error()));
        }
        let failed = lock(&self.failed);
        failed
            .iter()
            .find(|failed| failed.namespace.as_str() == ns)
            .map(|failed| Arc::clone(&failed.why))
    }

    /// Creates a namespace. Returns once the log and its name are on the disk.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::ReadOnly`], [`Error::Closed`], [`Error::NoSpace`],
    /// [`Error::Io`].
    pub fn create(&self, namespace: &Namespace) -> Result<Arc<Log>> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        if !self.options.opens(namespace.as_str()) {
            return Err(Error::NotFound {
                namespace: namespace.to_string(),
            });
        }
        let _changing = lock(&self.changing);
        if lock(&self.lock).is_none() {
            return Err(Error::Closed);
        }
        let id = {
            let logs = self.logs_now();
            if logs.contains_key(namespace) || self.why_unopened(namespace.as_str()).is_some() {
                return Err(Error::Exists {
                    namespace: namespace.to_string(),
                });
            }
            logs.new_id(namespace)
        };
        let opened = create_files(&self.options, namespace, id)?;
        let mut logs = self.logs_to_change();
        let log = self.log_of(namespace, opened, &logs);
        logs.insert(Arc::clone(&log));
        Ok(log)
    }

    /// A namespace's log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unopened`] if the log could not be opened; [`Error::BeingChecked`] if its check has not
    /// ended.
    pub fn log(&self, ns: &str) -> Result<Arc<Log>> {
        if let Some(log) = self.logs_now().get(ns) {
            return Ok(Arc::clone(log));
        }
        if let Some(checking) = self.is_postponed(ns) {
            return Err(checking.error());
        }
        match self.why_unopened(ns) {
            Some(why) => Err(Error::Unopened {
                namespace: ns.to_owned(),
                why,
            }),
            None => Err(Error::NotFound {
                namespace: ns.to_owned(),
            }),
        }
    }

    /// All namespaces that are open, sorted.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.logs_now().keys().cloned().collect()
    }

    /// Removes a namespace that holds no record. Its [`Log`] is then closed, and readers that wait on it are
    /// woken.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], also if another thread appends first; [`Error::NotFound`], [`Error::ReadOnly`],
    /// [`Error::Io`].
    pub fn remove(&self, ns: &str) -> Result<()> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        // Held to the end, so that no namespace of this name is created meanwhile.
        let _changing = lock(&self.changing);
        let log = self.logs_now().get(ns).cloned();
        let log = log.ok_or_else(|| Error::NotFound {
            namespace: ns.to_owned(),
        })?;
        log.close_if_empty()?;
        self.logs_to_change().remove(ns);
        // The log file first: a log without its index is still a namespace, an index without its log is nothing.
        let disk = &self.options.disk;
        for path in [&log.segment.log_path, &log.segment.index_path] {
            if let Err(e) = disk.remove(path) {
                log.end();
                return Err(Error::io("remove", path, e));
            }
        }
        log.end();
        self.sync_dir()
    }

    /// Reads `r` to its end, then appends what it gave as one record. Returns where the size field of the record is in the
    /// log file, and the size. Other writers wait only for the append, not for `r`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Input`] if `r` fails; [`Error::TooLarge`] when it gives more than
    /// [`Options::max_record_bytes`]; else as [`Log::append_batch`].
    pub fn append(&self, ns: &str, r: impl Read) -> Result<(ByteIndex, u64)> {
        let log = self.log(ns)?;
        let limit = self.options.max_record_bytes;
        let mut payload = Vec::new();
        r.take(limit.saturating_add(1))
            .read_to_end(&mut payload)
            .map_err(|source| Error::Input { source })?;
        let appended = log.append(&payload)?;
        Ok((appended.index, appended.size))
    }

    /// Appends records as one commit, all or none. Returns where each of them is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else as [`Log::append_batch`].
    pub fn append_batch<B: AsRef<[u8]>>(&self, ns: &str, payloads: &[B]) -> Result<Vec<Appended>> {
        let payloads: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
        let mut at = self.log(ns)?.append_batch(&payloads)?;
        let mut all = Vec::with_capacity(payloads.len());
        for payload in payloads {
            at.size = payload.len() as u64;
            all.push(at);
            at.record.0 += 1;
            at.index.0 += crate::format::SIZE_FIELD_BYTES + at.size;
        }
        Ok(all)
    }

    /// Follows a log. `start` is the number of the first record to give; the stream waits for it if it is not there yet. A
    /// negative `start` gives the records that are appended from now on.
    ///
    /// # Errors
    /// As [`Storage::log`].
    pub fn stream(&self, ns: &str, start: i64) -> Result<Stream> {
        Ok(Stream::new(self.log(ns)?, start))
    }

    /// What is known about a log without reading it through.
    ///
    /// # Errors
    /// As [`Storage::log`] and [`Log::details`].
    pub fn details(&self, ns: &str) -> Result<Details> {
        self.log(ns)?.details()
    }

    /// Checks every record of a log. Takes as long as reading it.
    ///
    /// # Errors
    /// As [`Storage::log`] and [`Log::verify`].
    pub fn verify(&self, ns: &str) -> Result<Report> {
        self.log(ns)?.verify()
    }

    /// Returns once everything that was appended before the call, in all namespaces, is on the disk.
    ///
    /// # Errors
    /// The first error; the other logs are synced all the same.
    pub fn sync(&self) -> Result<()> {
        let logs: Vec<_> = self.logs_now().values().cloned().collect();
        logs.iter().map(|log| log.sync()).fold(Ok(()), Result::and)
    }

    /// Syncs all logs, marks them as closed in order, and gives the directory's lock back. A reader that waits gets the
    /// records that were committed, then [`Error::Closed`]. The second call does nothing.
    ///
    /// # Errors
    /// The first error; everything is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.end(Log::close)
    }

    /// Ends as a crash of the process would: syncs nothing and marks nothing, but gives the lock back. For tests.
    #[doc(hidden)]
    pub fn abandon(&self) {
        let abandoned = self.end(|log| {
            log.abandon();
            Ok(())
        });
        debug_assert!(abandoned.is_ok());
    }

    /// When records are brought to the disk, as [`Options`] said.
    pub fn durability(&self) -> Durability {
        self.options.sync
    }

    /// The directory.
    pub fn logs_dir(&self) -> &Path {
        &self.options.logs_dir
    }

    /// The disk that the directory is on.
    #[doc(hidden)]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.options.disk
    }

    fn end(&self, mut close: impl FnMut(&Log) -> Result<()>) -> Result<()> {
        let _changing = lock(&self.changing);
        // `logs` and the lock of the directory are held to the end. So no other process opens a log that is not closed yet,
        // and no namespace is created meanwhile.
        let logs = self.logs_to_change();
        drop(lock(&self.sync_threads).take());
        let result = logs
            .values()
            .map(|log| close(log))
            .fold(Ok(()), Result::and);
        drop(lock(&self.lock).take());
        result
    }

    pub(crate) fn logs_now(&self) -> RwLockReadGuard<'_, Logs> {
        read(&self.logs)
    }

    pub(crate) fn logs_to_change(&self) -> RwLockWriteGuard<'_, Logs> {
        write(&self.logs)
    }

    fn sync_dir(&self) -> Result<()> {
        let dir = &self.options.logs_dir;
        self.options
            .disk
            .sync_dir(dir)
            .map_err(|e| Error::io("sync", dir, e))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            log::error!("closing '{}': {e}", self.options.logs_dir.display());
        }
    }
}
