//! `.immuta/status`: the mount and its namespaces at one moment. The mount writes it as one JSON object, and `immuta top`
//! reads it.

use std::time::SystemTime;

use immuta::Durability;
use serde::{Deserialize, Serialize};

use crate::fs::forms::json;

/// The mount at one moment. Reading it, unknown fields are ignored, and missing ones are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// The process id of the daemon.
    pub pid: u32,
    /// The directory of the logs.
    pub logs_dir: String,
    /// What it was mounted with.
    pub options: StatusOptions,
    /// When it was mounted.
    #[serde(with = "json::time")]
    pub started: Option<SystemTime>,
    /// How long ago that was, in seconds.
    pub uptime_seconds: f64,
    /// How many reads wait for a record.
    pub blocked_readers: usize,
    /// How much memory lines and frames that wait for their end, and writes that wait for the disk, take, in bytes.
    pub open_bytes: u64,
    /// How many writes were refused because they would have taken more than the limit.
    pub refused_for_memory: u64,
    /// The namespaces, by name.
    pub namespaces: Vec<NamespaceStatus>,
    /// The namespaces that could not be opened.
    pub unopened: Vec<UnopenedNamespace>,
}

/// What a file system was mounted with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusOptions {
    /// Nothing can be written.
    pub read_only: bool,
    /// When records are on the disk, as on the command line.
    pub sync: String,
    /// The longest record that files with lines and frames take, in bytes.
    pub max_record_bytes: u64,
    /// The limit of `open_bytes`.
    pub max_open_bytes: u64,
    /// Writes of at least this many bytes may have been split by the kernel.
    pub append_limit_bytes: usize,
}

/// A namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// Its name.
    pub name: String,
    /// How many records its log has.
    pub records: u64,
    /// The length of the log file, in bytes.
    pub bytes: u64,
    /// The length of the log as text, in bytes.
    pub text_bytes: u64,
    /// When the first record was appended, if that is known.
    #[serde(with = "json::time")]
    pub first_time: Option<SystemTime>,
    /// When the last record was appended, if that is known.
    #[serde(with = "json::time")]
    pub last_time: Option<SystemTime>,
    /// The format of the log.
    pub format: String,
    /// How many records have come since it was mounted.
    pub appended_records: u64,
    /// How many writes were refused since then.
    pub refused_writes: u64,
    /// How many reads wait for a record.
    pub blocked_readers: usize,
    /// How many files are open for reading.
    pub open_readers: u64,
    /// How many files are open for writing.
    pub open_writers: u64,
    /// How many records are on the disk. `None`: another process writes the log, and only that one knows.
    pub synced_records: Option<u64>,
    /// How many records are written and not known to be on the disk, whether readers see them or not, if that is known.
    pub unsynced_records: Option<u64>,
    /// How long the first of those has been waiting for the disk, in seconds, if that is known.
    pub sync_lag_seconds: Option<f64>,
    /// Why the log takes no more records; `None` if it takes them.
    pub failed: Option<String>,
}

/// A namespace that could not be opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnopenedNamespace {
    /// Its name.
    pub name: String,
    /// Why it could not be opened.
    pub why: String,
}

impl Status {
    /// The status as one JSON object, and a newline.
    pub(crate) fn json(&self) -> String {
        json::line(self) + "\n"
    }
}

/// A durability as on the command line.
pub(crate) fn sync_option(durability: Durability) -> String {
    match durability {
        Durability::Always => "always".to_owned(),
        Durability::Every(interval) => humantime::format_duration(interval).to_string(),
        Durability::Never => "never".to_owned(),
    }
}
