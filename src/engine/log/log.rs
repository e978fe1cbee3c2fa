//! One log and its only writer: the order of the writes of an append, the commit, and the way back when a
//! write fails.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use super::group::Group;
use super::signal::Signal;
use super::stamp::{Stamp, Stamps};
use super::sync_thread::SyncQueue;
use super::undo::Wrote;
use super::unsynced::Written;
use crate::disk;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::{IndexEntry, MAX_LOG_BYTES, SIZE_FIELD_BYTES, checksum, encode_length};
use crate::ids::{ByteIndex, RecordNo};
use crate::locks::lock;
use crate::namespace::Namespace;
use crate::options::{Durability, Options};
use crate::recovery::{Opened, Recovery};
use crate::segment::{Appended, LogEnd, to_ns};
use crate::segment::{Segment, State};

/// Payloads up to this size are copied behind their size fields, which costs less than the kernel's walk over
/// many small buffers; larger ones are written from where they are.
pub(crate) const COPY_BYTES: usize = 64 << 10;
/// A batch is written in pieces of about this size: what the second-level cache holds.
pub(crate) const WRITE_BYTES: usize = 256 << 10;
/// A buffer that a huge batch has grown beyond this is given back.
pub(crate) const KEEP_BYTES: usize = 1 << 20;

/// What only the one who appends may touch.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The end of what is written. With [`Durability::Always`] it is ahead of what is committed while a sync is
    /// under way.
    pub(crate) tail: LogEnd,
    /// Whether the index says on disk that the log is being written to.
    pub(crate) unclean: bool,
    pub(crate) closed: bool,
    bytes: Vec<u8>,
    /// The index entries of what is being appended.
    pub(crate) entries: Vec<u8>,
}

/// One namespace: an append-only log with one writer at a time and any number of readers.
///
/// All methods can be called from any thread. Readers never wait for a writer.
//
// Locks, outer to inner: `writer`, `written`, the index's slot, the signal's state; the group's, with none of them.
// Observers are called with none of them.
pub struct Log {
    pub(crate) id: u32,
    pub(crate) segment: Segment,
    pub(crate) sync: Durability,
    pub(crate) max_record_bytes: u64,
    pub(crate) read_only: bool,
    pub(crate) boot: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) signal: Signal,
    pub(crate) recovery: Recovery,
    pub(crate) writer: Mutex<Writer>,
    /// The writer's tail, for a sync: it does not wait for an append that takes long.
    pub(crate) written: Mutex<Written>,
    pub(crate) group: Group,
    pub(crate) failed: OnceLock<String>,
    /// The next append waits for the disk: it is the first since opening, or the disk was full last time.
    pub(crate) next_syncs: AtomicBool,
    /// Set while the log is in the queue of those to be synced, or is being synced from there.
    pub(crate) dirty: AtomicBool,
    pub(crate) queue: Option<Arc<SyncQueue>>,
    pub(crate) myself: Weak<Log>,
}

impl Log {
    /// A log that was just opened or created with `options`. `id` is the one that the tree shows; with
    /// [`Durability::Every`], `queue` is where it is put to be synced.
    pub(crate) fn new(
        id: u32,
        opened: Opened,
        options: &Options,
        queue: Option<Arc<SyncQueue>>,
    ) -> Arc<Self> {
        let Opened {
            segment,
            end: tail,
            recovery,
            ..
        } = opened;
        let mut state = State::default();
        state.follow(&tail);
        Arc::new_cyclic(|myself| Log {
            id,
            segment,
            sync: options.sync,
            max_record_bytes: options.max_record_bytes,
            read_only: options.read_only,
            boot: options.disk.boot_id(),
            disk: Arc::clone(&options.disk),
            signal: Signal::new(state),
            recovery,
            writer: Mutex::new(Writer {
                tail,
                unclean: false,
                closed: false,
                bytes: Vec::new(),
                entries: Vec::new(),
            }),
            written: Mutex::new(Written::new(tail)),
            group: Group::new(tail.count),
            failed: OnceLock::new(),
            next_syncs: AtomicBool::new(true),
            dirty: AtomicBool::new(false),
            queue,
            myself: Weak::clone(myself),
        })
    }

    /// The name.
    pub fn namespace(&self) -> &Namespace {
        &self.segment.namespace
    }

    /// A number from 1 to 2^23 - 1 that the namespace keeps as long as its index file lives, unique among
    /// those of its storage, and not soon given to another one. Of two logs that carry one id, the one that is opened
    /// later for reading only has another as long as it is open.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How the log lies on disk.
    pub fn format(&self) -> Format {
        self.segment.format
    }

    /// What opening the log found, kept and cut.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What readers wait on.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// What is committed now: one consistent snapshot, at the cost of an uncontended lock.
    pub fn state(&self) -> State {
        self.signal.state()
    }

    /// Why the log takes no appends, if it has failed.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Whether the next append waits for the disk, however it is called: the first one after opening says on the disk
    /// that the log is being written to, one on a full disk may have to see to it that nothing of it is there, and one to
    /// files that were closed to keep fewer open opens them, and may have to sync and close others.
    pub fn next_append_syncs(&self) -> bool {
        let is_open = || self.segment.log_file.is_ready() && self.segment.index.file.is_ready();
        !self.read_only && (self.next_syncs.load(Ordering::Relaxed) || !is_open())
    }

    /// Appends one record and tells everybody who waits for it.
    ///
    /// Blocks for other writers and, with [`Durability::Always`], for the disk.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append(&self, payload: &[u8]) -> Result<Appended> {
        self.append_batch(&[payload])
    }

    /// Appends records, all or none, as one commit. Returns where the first one is; the others follow it
    /// without gaps. No payloads at all: where the next record will be, and nothing is written.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::TooLarge`]: refused, nothing was written.
    /// [`Error::NoSpace`]: nothing was stored, and appends work again when there is room. [`Error::Io`]:
    /// nothing is visible, and from now on appends are refused with [`Error::Failed`] until the log is
    /// reopened.
    pub fn append_batch(&self, payloads: &[&[u8]]) -> Result<Appended> {
        let appended = self.append_batch_quiet(payloads)?;
        self.notify_observers();
        Ok(appended)
    }

    /// As [`Log::append_batch`], but leaves it to the caller to [notify the
    /// observers](Log::notify_observers), so that it can answer its writer first. Those who
    /// [wait](Signal::wait) are woken.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append_batch_quiet(&self, payloads: &[&[u8]]) -> Result<Appended> {
        self.append_stamped(payloads, Stamps::Now)
    }

    /// Appends records, all or none, with these times. The observers are the caller's to notify.
    pub(crate) fn append_stamped(
        &self,
        payloads: &[&[u8]],
        stamps: Stamps<'_>,
    ) -> Result<Appended> {
        let (appended, end) = self.write_batch(payloads, stamps)?;
        if self.sync == Durability::Always {
            self.sync_through(end)?;
        }
        Ok(appended)
    }

    /// As [`Log::append_batch_quiet`], but never waits for the disk. With [`Durability::Always`] the records are
    /// written and have their place, but readers do not see them, and they are not promised, until a
    /// [`Log::sync`] has returned: one for as many appends as came meanwhile.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append_batch_unsynced(&self, payloads: &[&[u8]]) -> Result<Appended> {
        self.write_batch(payloads, Stamps::Now)
            .map(|(appended, _)| appended)
    }

    /// Writes a batch; unless each is to be synced first, commits it. Returns where it is, and the count
    /// behind it.
    fn write_batch(&self, payloads: &[&[u8]], stamps: Stamps<'_>) -> Result<(Appended, u64)> {
        let mut guard = lock(&self.writer);
        let writer = &mut *guard;
        self.check_writable(writer)?;
        let first = &writer.tail;
        let appended = Appended {
            record: RecordNo(first.count),
            index: ByteIndex(first.log_end),
            size: payloads.first().map_or(0, |payload| payload.len() as u64),
        };
        if payloads.is_empty() {
            return Ok((appended, 0));
        }
        self.check_sizes(writer, payloads)?;
        self.mark_unclean(writer)?;
        let tail = match self.write_records(writer, payloads, stamps) {
            Ok(tail) => tail,
            Err(e) => return Err(self.roll_back(writer, e, Wrote::Records)),
        };
        self.commit(guard, tail)?;
        Ok((appended, tail.count))
    }

    /// Calls the observers of this log's [`Signal`], after [`Log::append_batch_quiet`].
    pub fn notify_observers(&self) {
        self.signal.notify_observers();
    }

    pub(crate) fn check_writable(&self, writer: &Writer) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if writer.closed {
            return Err(Error::Closed);
        }
        self.check_failed()
    }

    pub(crate) fn check_failed(&self) -> Result<()> {
        match self.failed.get() {
            Some(reason) => Err(Error::Failed {
                namespace: self.segment.namespace.to_string(),
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Refuses payloads that are too large, before anything is written.
    fn check_sizes(&self, writer: &Writer, payloads: &[&[u8]]) -> Result<()> {
        let mut room = MAX_LOG_BYTES - writer.tail.log_end;
        for payload in payloads {
            let size = payload.len() as u64;
            if size > self.max_record_bytes {
                return Err(Error::TooLarge {
                    size,
                    limit: self.max_record_bytes,
                });
            }
            room = room
                .checked_sub(SIZE_FIELD_BYTES + size)
                .ok_or(Error::TooLarge {
                    size,
                    limit: room.saturating_sub(SIZE_FIELD_BYTES),
                })?;
        }
        Ok(())
    }

    /// Writes size fields and payloads behind the log's end, and encodes their index entries into the
    /// writer's buffer. Each payload is checksummed and copied in one go, while it is in the CPU's cache.
    /// Returns the tail behind them.
    fn write_records(
        &self,
        writer: &mut Writer,
        payloads: &[&[u8]],
        stamps: Stamps<'_>,
    ) -> io::Result<LogEnd> {
        let now = to_ns(SystemTime::now());
        let Writer {
            tail: start,
            bytes,
            entries,
            ..
        } = writer;
        let (mut tail, mut written) = (*start, start.log_end);
        bytes.clear();
        entries.clear();
        for (n, payload) in payloads.iter().enumerate() {
            let time = stamps.of(n, now, &tail);
            let entry = IndexEntry {
                batch_goes_on: n + 1 < payloads.len(),
                ..entry_at(&tail, time, checksum(payload))
            };
            entries.extend_from_slice(&entry.encode(tail.count, self.segment.index.id));
            tail = tail
                .after_record(
                    payload.len() as u64,
                    payload.last().copied(),
                    time.ns,
                    time.known,
                )
                .ok_or(io::ErrorKind::FileTooLarge)?;
            bytes.extend_from_slice(&encode_length(payload.len() as u64));
            if payload.len() > COPY_BYTES {
                let mut both = [IoSlice::new(bytes), IoSlice::new(payload)];
                disk::write_all_vectored(&*self.segment.log_file, &mut both, written)?;
            } else {
                bytes.extend_from_slice(payload);
                if bytes.len() < WRITE_BYTES {
                    continue;
                }
                disk::write_all(&*self.segment.log_file, bytes, written)?;
            }
            written = tail.log_end;
            bytes.clear();
        }
        if !bytes.is_empty() {
            disk::write_all(&*self.segment.log_file, bytes, written)?;
        }
        Ok(tail)
    }
}

/// The index entry of the record that comes at `tail`.
pub(crate) fn entry_at(tail: &LogEnd, time: Stamp, checksum: u32) -> IndexEntry {
    IndexEntry {
        log_offset: tail.log_end,
        time_unknown: !time.known,
        batch_goes_on: false,
        text_offset: tail.text_end,
        time_ns: time.ns,
        checksum,
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("namespace", &self.segment.namespace.as_str())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
