//! What is known of the namespaces: the last status, and the last minute.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use immuta_fs::fs::{NamespaceStatus, Status};

/// How far back the history goes, in seconds.
pub(super) const HISTORY: usize = 60;

/// A column of the table, which the table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Records,
    RecordRate,
    ByteRate,
    Waiting,
    Lag,
    LastAppend,
    LastMinute,
}

/// One namespace.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) records: u64,
    /// Records per second.
    pub(super) record_rate: f64,
    /// Bytes per second.
    pub(super) byte_rate: f64,
    /// Readers that wait for the next record.
    pub(super) waiting: u64,
    /// How long a record has been waiting for the disk, in seconds, if that is known.
    pub(super) lag: Option<f64>,
    /// How long ago the last append was; `None` if there was none, or its time is not known.
    pub(super) last_append: Option<Duration>,
    /// Records in each second of the last minute; the latest second comes last.
    pub(super) history: VecDeque<f64>,
    pub(super) failed: bool,
}

/// The recent past of a namespace.
#[derive(Debug)]
struct History {
    records: u64,
    bytes: u64,
    record_rate: f64,
    byte_rate: f64,
    /// Records in each second; the last one is `Model::second`.
    seconds: VecDeque<f64>,
}

/// What is known of a mount.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) status: Status,
    began: Option<Instant>,
    at: Option<Instant>,
    /// How many whole seconds the mount has been watched for.
    pub(super) second: u64,
    histories: HashMap<String, History>,
    pub(super) sorted_by: Column,
    pub(super) reversed: bool,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            status: Status::default(),
            began: None,
            at: None,
            second: 0,
            histories: HashMap::new(),
            sorted_by: Column::Name,
            reversed: false,
        }
    }
}

impl Model {
    /// Takes a status that was read at `at`, later than the ones before.
    pub(super) fn update(&mut self, at: Instant, status: Status) {
        let began = *self.began.get_or_insert(at);
        let second = at.duration_since(began).as_secs();
        let passed = usize::try_from(second - self.second)
            .unwrap_or(HISTORY)
            .min(HISTORY);
        let since = self
            .at
            .map(|before| at.duration_since(before).as_secs_f64());
        // A new daemon may have found more records in the logs. They were not appended since the last status.
        let same_daemon = self.status.pid == status.pid;
        let mut histories = HashMap::with_capacity(status.namespaces.len());
        for namespace in &status.namespaces {
            let mut history = self
                .histories
                .remove(&namespace.name)
                .unwrap_or_else(|| History::new(namespace));
            history.pass(passed);
            if let Some(since) = since.filter(|since| same_daemon && *since > 0.0) {
                history.grow(namespace, since);
            }
            (history.records, history.bytes) = (namespace.records, namespace.bytes);
            histories.insert(namespace.name.clone(), history);
        }
        self.histories = histories;
        self.at = Some(at);
        self.second = second;
        self.status = status;
    }

    /// The namespaces as rows, sorted.
    pub(super) fn rows(&self) -> Vec<Row> {
        let now = SystemTime::now();
        let mut rows: Vec<Row> = self
            .status
            .namespaces
            .iter()
            .map(|namespace| self.row(namespace, now))
            .collect();
        rows.sort_by(|a, b| {
            // The largest first; names in alphabetical order.
            let order = match self.sorted_by {
                Column::Name => std::cmp::Ordering::Equal,
                Column::Records => b.records.cmp(&a.records),
                Column::RecordRate => b.record_rate.total_cmp(&a.record_rate),
                Column::ByteRate => b.byte_rate.total_cmp(&a.byte_rate),
                Column::Waiting => b.waiting.cmp(&a.waiting),
                Column::Lag => b.lag.unwrap_or(-1.0).total_cmp(&a.lag.unwrap_or(-1.0)),
                // The latest first.
                Column::LastAppend => a
                    .last_append
                    .unwrap_or(Duration::MAX)
                    .cmp(&b.last_append.unwrap_or(Duration::MAX)),
                Column::LastMinute => sum(&b.history).total_cmp(&sum(&a.history)),
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    fn row(&self, namespace: &NamespaceStatus, now: SystemTime) -> Row {
        let history = self.histories.get(&namespace.name);
        let last_append = namespace
            .last_time
            .map(|time| now.duration_since(time).unwrap_or_default());
        Row {
            name: namespace.name.clone(),
            records: namespace.records,
            record_rate: history.map_or(0.0, |history| history.record_rate),
            byte_rate: history.map_or(0.0, |history| history.byte_rate),
            waiting: namespace.blocked_readers as u64,
            lag: namespace.sync_lag_seconds,
            last_append,
            history: history.map(|h| h.seconds.clone()).unwrap_or_default(),
            failed: namespace.failed.is_some(),
        }
    }

    /// Problems that need somebody's attention, a line each.
    pub(super) fn troubles(&self) -> Vec<String> {
        let unopened = self
            .status
            .unopened
            .iter()
            .map(|it| format!("{} cannot be opened: {}", it.name, it.why));
        let failed = self.status.namespaces.iter().filter_map(|it| {
            let why = it.failed.as_ref()?;
            Some(format!("{} takes no more records: {why}", it.name))
        });
        unopened
            .chain(failed)
            .map(|text| printable(&text))
            .collect()
    }
}

impl History {
    fn new(namespace: &NamespaceStatus) -> Self {
        History {
            records: namespace.records,
            bytes: namespace.bytes,
            record_rate: 0.0,
            byte_rate: 0.0,
            seconds: VecDeque::from(vec![0.0; HISTORY]),
        }
    }

    /// Moves on by `seconds` seconds.
    fn pass(&mut self, seconds: usize) {
        self.seconds.drain(..seconds);
        self.seconds.extend(std::iter::repeat_n(0.0, seconds));
    }

    /// Adds what was appended in the last `since` seconds.
    fn grow(&mut self, namespace: &NamespaceStatus, since: f64) {
        let records = namespace.records.saturating_sub(self.records) as f64;
        self.record_rate = records / since;
        self.byte_rate = namespace.bytes.saturating_sub(self.bytes) as f64 / since;
        // Spread evenly over these seconds.
        let seconds = (since.round() as usize).clamp(1, HISTORY);
        for second in self.seconds.iter_mut().rev().take(seconds) {
            *second += records / seconds as f64;
        }
    }
}

fn sum(history: &VecDeque<f64>) -> f64 {
    history.iter().sum()
}

/// The text without control characters, which a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
