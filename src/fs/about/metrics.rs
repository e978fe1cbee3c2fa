//! `.immuta/metrics`: the mount and its namespaces in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use super::status::{NamespaceStatus, Status};

/// A metric of `T`: a row of the tables below.
struct Metric<T> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// `None`: not known.
    value: fn(&T) -> Option<f64>,
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
) -> Metric<T> {
    Metric {
        name,
        kind: "gauge",
        help,
        value,
    }
}

const fn counter<T>(
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
) -> Metric<T> {
    Metric {
        name,
        kind: "counter",
        help,
        value,
    }
}

const BUILD_INFO: Metric<Status> = gauge(
    "immuta_build_info",
    "The version of the daemon; always 1.",
    |_| Some(1.0),
);

const OF_THE_MOUNT: [Metric<Status>; 7] = [
    gauge(
        "immuta_uptime_seconds",
        "Seconds since the file system was mounted.",
        |s| Some(s.uptime_seconds),
    ),
    gauge(
        "immuta_namespaces",
        "Number of namespaces that are mounted.",
        |s| Some(s.namespaces.len() as f64),
    ),
    gauge(
        "immuta_unopened_namespaces",
        "Number of namespaces whose log could not be opened.",
        |s| Some(s.unopened.len() as f64),
    ),
    gauge(
        "immuta_mount_blocked_readers",
        "Reads that are waiting for a record, in all namespaces.",
        |s| Some(s.blocked_readers as f64),
    ),
    gauge(
        "immuta_open_bytes",
        "Bytes of memory held by unfinished lines and frames, and by writes that wait for the disk.",
        |s| Some(s.open_bytes as f64),
    ),
    gauge(
        "immuta_open_bytes_limit",
        "Upper limit of immuta_open_bytes (--max-open-bytes).",
        |s| Some(s.options.max_open_bytes as f64),
    ),
    counter(
        "immuta_refused_for_memory_total",
        "Writes refused since the mount began, because they would have exceeded immuta_open_bytes_limit or a user's half of it.",
        |s| Some(s.refused_for_memory as f64),
    ),
];

const OF_EACH_NAMESPACE: [Metric<NamespaceStatus>; 13] = [
    counter(
        "immuta_records_total",
        "Records in the log. The counter starts at the number that the log held when the mount began.",
        |n| Some(n.records as f64),
    ),
    counter(
        "immuta_log_bytes_total",
        "Bytes of the log file: its header, and all records with their size fields.",
        |n| Some(n.bytes as f64),
    ),
    counter(
        "immuta_text_bytes_total",
        "Bytes of the log as text: the size of the file named log.",
        |n| Some(n.text_bytes as f64),
    ),
    counter(
        "immuta_appended_records_total",
        "Records appended since the mount began.",
        |n| Some(n.appended_records as f64),
    ),
    counter(
        "immuta_refused_writes_total",
        "Writes refused since the mount began, for any reason.",
        |n| Some(n.refused_writes as f64),
    ),
    gauge(
        "immuta_blocked_readers",
        "Reads that are waiting for a record.",
        |n| Some(n.blocked_readers as f64),
    ),
    gauge("immuta_open_readers", "Open files that can be read.", |n| {
        Some(n.open_readers as f64)
    }),
    gauge(
        "immuta_open_writers",
        "Open files that can be written.",
        |n| Some(n.open_writers as f64),
    ),
    counter(
        "immuta_synced_records_total",
        "Records that a sync has confirmed to be on the disk.",
        |n| Some(n.synced_records? as f64),
    ),
    gauge(
        "immuta_unsynced_records",
        "Records that are written but not yet confirmed to be on the disk, including records that readers do not see yet.",
        |n| Some(n.unsynced_records? as f64),
    ),
    gauge(
        "immuta_sync_lag_seconds",
        "Age in seconds of the oldest record that is written but not yet confirmed to be on the disk.",
        |n| n.sync_lag_seconds,
    ),
    gauge(
        "immuta_last_append_timestamp_seconds",
        "Time of the last append, in seconds since 1970.",
        |n| {
            let since = n.last_time?.duration_since(UNIX_EPOCH);
            Some(since.ok()?.as_secs_f64())
        },
    ),
    gauge(
        "immuta_failed",
        "1 if the log takes no more records after a failure of the disk, until the daemon is started again; otherwise 0.",
        |n| Some(if n.failed.is_some() { 1.0 } else { 0.0 }),
    ),
];

/// All metrics, each with its help line, its type and its value.
pub(crate) fn text(status: &Status) -> String {
    let mut text = Text::default();
    text.head(&BUILD_INFO);
    let version = format!("{{version=\"{}\"}}", status.version);
    text.sample(&BUILD_INFO, &version, status);
    for metric in &OF_THE_MOUNT {
        text.head(metric);
        text.sample(metric, "", status);
    }
    for metric in &OF_EACH_NAMESPACE {
        text.head(metric);
        for namespace in &status.namespaces {
            // The characters of a namespace's name need no escapes.
            let label = format!("{{namespace=\"{}\"}}", namespace.name);
            text.sample(metric, &label, namespace);
        }
    }
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    // Writing to memory cannot fail.

    fn head<T>(&mut self, metric: &Metric<T>) {
        let Metric {
            name, kind, help, ..
        } = metric;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds the value, if it is known.
    fn sample<T>(&mut self, metric: &Metric<T>, labels: &str, of: &T) {
        if let Some(value) = (metric.value)(of) {
            let _ = writeln!(self.0, "{}{labels} {value}", metric.name);
        }
    }
}
