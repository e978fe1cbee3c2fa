//! `.immuta/metrics`: the mount and its namespaces in the text format of Prometheus (version 0.0.4).

use std::fmt::{Display, Write as _};

use super::look::{MountLook, NamespaceLook};

/// All metrics, each with its help line, its type and its value.
pub(crate) fn text(mount: &MountLook) -> String {
    let mut text = Text::default();
    text.one(
        "immuta_build_info",
        "gauge",
        "The version of the daemon; always 1.",
        &format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
        1,
    );
    text.one(
        "immuta_uptime_seconds",
        "gauge",
        "Seconds since the file system was mounted.",
        "",
        mount.uptime.as_secs_f64(),
    );
    text.one(
        "immuta_namespaces",
        "gauge",
        "Number of namespaces that are mounted.",
        "",
        mount.namespaces.len(),
    );
    text.one(
        "immuta_unopened_namespaces",
        "gauge",
        "Number of namespaces whose log could not be opened.",
        "",
        mount.unopened.len(),
    );
    text.one(
        "immuta_mount_blocked_readers",
        "gauge",
        "Reads that are waiting for a record, in all namespaces.",
        "",
        mount.blocked_readers,
    );

    text.one(
        "immuta_open_bytes",
        "gauge",
        "Bytes of memory held by unfinished lines and frames, and by writes that wait for the disk.",
        "",
        mount.open_bytes,
    );
    text.one(
        "immuta_open_bytes_limit",
        "gauge",
        "Upper limit of immuta_open_bytes (--max-open-bytes).",
        "",
        mount.settings.max_open_bytes,
    );
    text.one(
        "immuta_refused_for_memory_total",
        "counter",
        "Writes refused since the mount began, because they would have exceeded immuta_open_bytes_limit or a user's half of it.",
        "",
        mount.open_refused,
    );

    let mut each = |name, kind, help, value: &dyn Fn(&NamespaceLook) -> Option<f64>| {
        text.head(name, kind, help);
        for look in &mount.namespaces {
            if let Some(value) = value(look) {
                // The characters of a namespace's name need no escapes.
                text.sample(name, &format!("{{namespace=\"{}\"}}", look.name), value);
            }
        }
    };
    each(
        "immuta_records_total",
        "counter",
        "Records in the log. The counter starts at the number that the log held when the mount began.",
        &|look| Some(look.state.count as f64),
    );
    each(
        "immuta_log_bytes_total",
        "counter",
        "Bytes of the log file: its header, and all records with their size fields.",
        &|look| Some(look.state.log_end as f64),
    );
    each(
        "immuta_text_bytes_total",
        "counter",
        "Bytes of the log as text: the size of the file named log.",
        &|look| Some(look.state.text_end as f64),
    );
    each(
        "immuta_appended_records_total",
        "counter",
        "Records appended since the mount began.",
        &|look| Some(look.appended as f64),
    );
    each(
        "immuta_refused_writes_total",
        "counter",
        "Writes refused since the mount began, for any reason.",
        &|look| Some(look.refused_writes as f64),
    );
    each(
        "immuta_blocked_readers",
        "gauge",
        "Reads that are waiting for a record.",
        &|look| Some(look.blocked_readers as f64),
    );
    each(
        "immuta_open_readers",
        "gauge",
        "Open files that can be read.",
        &|look| Some(look.open.readers as f64),
    );
    each(
        "immuta_open_writers",
        "gauge",
        "Open files that can be written.",
        &|look| Some(look.open.writers as f64),
    );
    each(
        "immuta_synced_records_total",
        "counter",
        "Records that a sync has confirmed to be on the disk.",
        &|look| Some(look.synced? as f64),
    );
    each(
        "immuta_unsynced_records",
        "gauge",
        "Records that are written but not yet confirmed to be on the disk, including records that readers do not see yet.",
        &|look| Some(look.unsynced? as f64),
    );
    each(
        "immuta_sync_lag_seconds",
        "gauge",
        "Age in seconds of the oldest record that is written but not yet confirmed to be on the disk.",
        &|look| Some(look.sync_lag?.as_secs_f64()),
    );
    each(
        "immuta_last_append_timestamp_seconds",
        "gauge",
        "Time of the last append, in seconds since 1970.",
        &|look| {
            let since = look.state.last_time?.duration_since(std::time::UNIX_EPOCH);
            Some(since.ok()?.as_secs_f64())
        },
    );
    each(
        "immuta_failed",
        "gauge",
        "1 if the log takes no more records after a failure of the disk, until the daemon is started again; otherwise 0.",
        &|look| Some(if look.failed.is_some() { 1.0 } else { 0.0 }),
    );
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    // Writing to memory cannot fail.

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }
}
