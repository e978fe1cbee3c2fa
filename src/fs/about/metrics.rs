//! `.immuta/metrics`: the mount and its namespaces in the text format of Prometheus (version 0.0.4).

use std::fmt::{Display, Write as _};

use super::look::{MountLook, NamespaceLook};

/// All metrics, each with what it means and what it is.
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
        "How long the mount has been there.",
        "",
        mount.uptime.as_secs_f64(),
    );
    text.one(
        "immuta_namespaces",
        "gauge",
        "Namespaces that are mounted.",
        "",
        mount.namespaces.len(),
    );
    text.one(
        "immuta_unopened_namespaces",
        "gauge",
        "Namespaces that are there and could not be opened.",
        "",
        mount.unopened.len(),
    );
    text.one(
        "immuta_mount_blocked_readers",
        "gauge",
        "Reads that wait for a record, in all namespaces.",
        "",
        mount.blocked_readers,
    );

    text.one(
        "immuta_open_bytes",
        "gauge",
        "Memory that lines and frames which wait for their end, and writes which wait for the disk, take, in bytes.",
        "",
        mount.open_bytes,
    );
    text.one(
        "immuta_open_bytes_limit",
        "gauge",
        "The most that they may take (--max-open-bytes).",
        "",
        mount.settings.max_open_bytes,
    );
    text.one(
        "immuta_refused_for_memory_total",
        "counter",
        "Writes that were refused since the mount began because they would have taken more.",
        "",
        mount.open_refused,
    );

    let mut each = |name, kind, help, value: &dyn Fn(&NamespaceLook) -> Option<f64>| {
        text.head(name, kind, help);
        for look in &mount.namespaces {
            if let Some(value) = value(look) {
                // A namespace's name holds nothing that would have to be escaped.
                text.sample(name, &format!("{{namespace=\"{}\"}}", look.name), value);
            }
        }
    };
    each(
        "immuta_records_total",
        "counter",
        "Records in the log. It starts at what the log held when the mount began.",
        &|look| Some(look.state.count as f64),
    );
    each(
        "immuta_log_bytes_total",
        "counter",
        "Bytes of the log file: its header, and every record with its size field.",
        &|look| Some(look.state.log_end as f64),
    );
    each(
        "immuta_text_bytes_total",
        "counter",
        "Bytes of the log as text.",
        &|look| Some(look.state.text_end as f64),
    );
    each(
        "immuta_appended_records_total",
        "counter",
        "Records that have come since the mount began.",
        &|look| Some(look.appended as f64),
    );
    each(
        "immuta_refused_writes_total",
        "counter",
        "Writes that were refused since the mount began, for whatever reason.",
        &|look| Some(look.refused_writes as f64),
    );
    each(
        "immuta_blocked_readers",
        "gauge",
        "Reads that wait for a record.",
        &|look| Some(look.blocked_readers as f64),
    );
    each(
        "immuta_open_readers",
        "gauge",
        "Files that are open for reading.",
        &|look| Some(look.open.readers as f64),
    );
    each(
        "immuta_open_writers",
        "gauge",
        "Files that are open for writing.",
        &|look| Some(look.open.writers as f64),
    );
    each(
        "immuta_synced_records_total",
        "counter",
        "Records that are known to be on the disk.",
        &|look| Some(look.synced? as f64),
    );
    each(
        "immuta_unsynced_records",
        "gauge",
        "Records that are written and not known to be on the disk, those included that no reader sees yet.",
        &|look| Some(look.unsynced? as f64),
    );
    each(
        "immuta_sync_lag_seconds",
        "gauge",
        "How long the first record that is written and not known to be on the disk has been waiting for it.",
        &|look| Some(look.sync_lag?.as_secs_f64()),
    );
    each(
        "immuta_last_append_timestamp_seconds",
        "gauge",
        "When the last record was appended, in seconds since 1970.",
        &|look| {
            let since = look.state.last_time?.duration_since(std::time::UNIX_EPOCH);
            Some(since.ok()?.as_secs_f64())
        },
    );
    each(
        "immuta_failed",
        "gauge",
        "1 if the log takes no more records because the disk has failed, until the daemon is started again.",
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
