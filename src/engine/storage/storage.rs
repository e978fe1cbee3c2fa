//! A directory of logs: which there are, who may write to them, and how they come and go.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::create::create_files;
use super::directory_lock::take_lock;
use super::logs::Logs;
use super::open_all::Look;
use super::others::Failed;
use crate::error::{Error, Result};
use crate::ids::ByteIndex;
use crate::locks::lock;
use crate::log::Syncer;
use crate::log::{Details, Log, Report, Stream};
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
    pub(crate) failed: Mutex<Vec<Failed>>,
    /// The logs whose check takes long, and was put off.
    pub(crate) postponed: Mutex<Vec<Arc<Checking>>>,
    /// Taken on close. Dropping the file gives the lock back.
    pub(crate) lock: Mutex<Option<File>>,
    pub(crate) syncer: Mutex<Option<Syncer>>,
    /// Of logs that were removed, or replaced, while they were open for reading.
    pub(crate) ended_ids: Mutex<BTreeSet<u32>>,
    /// Held while namespaces come and go, outside of `logs`: whoever looks for one does not wait for the disk.
    pub(crate) changing: Mutex<()>,
}

impl Storage {
    /// Opens every log in the directory, which is made if it is not there, and creates the namespaces that
    /// the options name and that are missing. A log that cannot be opened does not keep the others from it:
    /// see [`Storage::failed`].
    ///
    /// Logs that were closed in order are opened without being read; after a crash, what was not yet synced
    /// is checked. [`Options::opening`] watches that, stops it, or has it done later.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody writes there already; [`Error::InvalidNamespace`] in the options;
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
        let syncer = match options.sync {
            Durability::Every(interval) if !options.read_only => Some(
                Syncer::start(interval)
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
            syncer: Mutex::new(syncer),
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
            // A process that was killed while it made a namespace has left names that nobody has synced.
            storage.sync_dir()?;
        }
        Ok(storage)
    }

    /// The namespaces that are there and could not be opened, and why; those that are still being checked are among
    /// them.
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

    /// Why the log of a namespace that is there is not open; `None`: it is open, or not there.
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

    /// Creates a namespace. When it returns, the log is on the disk, and so is its name.
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
    /// [`Error::NotFound`]; [`Error::Unopened`] if it is there and could not be opened, [`Error::BeingChecked`] if it
    /// still is to be.
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

    /// Removes a namespace that holds no record. Its [`Log`] is then closed, and whoever waits on it is
    /// woken.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], also when an append came before; [`Error::NotFound`], [`Error::ReadOnly`],
    /// [`Error::Io`].
    pub fn remove(&self, ns: &str) -> Result<()> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        // To the end, so that a namespace of the same name cannot be created between.
        let _changing = lock(&self.changing);
        let log = self.logs_now().get(ns).cloned();
        let log = log.ok_or_else(|| Error::NotFound {
            namespace: ns.to_owned(),
        })?;
        log.close_if_empty()?;
        self.logs_to_change().remove(ns);
        // The log goes first: an index without a log is nothing, a log without its index is a namespace.
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

    /// Appends what `r` gives until its end as one record. Returns where its size field is in the log file,
    /// and its size.
    ///
    /// `r` is read to its end before anybody else has to wait.
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

    /// Appends records, all or none, as one commit. Returns where each of them is.
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

    /// Follows a log. `start`: 0 is the first record, N skips N, a negative one gives only what comes next; a
    /// start beyond the end waits.
    ///
    /// # Errors
    /// As [`Storage::log`].
    pub fn stream(&self, ns: &str, start: i64) -> Result<Stream> {
        Ok(Stream::new(self.log(ns)?, start))
    }

    /// What is known about a log at a glance.
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

    /// Returns when everything that was appended before the call is on the disk, in all namespaces.
    ///
    /// # Errors
    /// The first error; the other logs are synced all the same.
    pub fn sync(&self) -> Result<()> {
        let logs: Vec<_> = self.logs_now().values().cloned().collect();
        logs.iter().map(|log| log.sync()).fold(Ok(()), Result::and)
    }

    /// Syncs all logs, marks them as closed in order, and gives the directory free. Whoever waits for records
    /// gets those that were committed, then [`Error::Closed`]. The second time it does nothing.
    ///
    /// # Errors
    /// The first error; everything is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.end(Log::close)
    }

    /// Ends as a crash of the process would: nothing is synced or marked, but the directory is given free.
    /// For tests.
    #[doc(hidden)]
    pub fn abandon(&self) {
        let abandoned = self.end(|log| {
            log.abandon();
            Ok(())
        });
        debug_assert!(abandoned.is_ok());
    }

    /// When records reach the disk, as it was chosen.
    pub fn durability(&self) -> Durability {
        self.options.sync
    }

    /// The directory.
    pub fn logs_dir(&self) -> &Path {
        &self.options.logs_dir
    }

    fn end(&self, mut close: impl FnMut(&Log) -> Result<()>) -> Result<()> {
        let _changing = lock(&self.changing);
        // The lock is held to the end, so that nobody else opens a log that is not closed yet, and no
        // namespace is created meanwhile.
        let logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        drop(lock(&self.syncer).take());
        let result = logs
            .values()
            .map(|log| close(log))
            .fold(Ok(()), Result::and);
        drop(lock(&self.lock).take());
        result
    }

    pub(crate) fn logs_now(&self) -> std::sync::RwLockReadGuard<'_, Logs> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs_to_change(&self) -> std::sync::RwLockWriteGuard<'_, Logs> {
        self.logs.write().unwrap_or_else(PoisonError::into_inner)
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
