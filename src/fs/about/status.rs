//! `.immuta/status`: the mount and its namespaces, as one JSON object.

use super::look::{MountLook, NamespaceLook};
use crate::fs::forms::json;

/// The object and a newline. What is not known is `null`.
pub(crate) fn json(mount: &MountLook) -> String {
    let settings = &mount.settings;
    let options = [
        ("read_only", settings.read_only.to_string()),
        ("sync", json::string(&json::sync(mount.sync))),
        ("max_record_bytes", settings.max_record_bytes.to_string()),
        ("max_open_bytes", settings.max_open_bytes.to_string()),
        ("append_limit_bytes", settings.split_write_bytes.to_string()),
    ];
    let namespaces: Vec<String> = mount.namespaces.iter().map(namespace).collect();
    let unopened: Vec<String> = mount
        .unopened
        .iter()
        .map(|(name, why)| {
            json::object(&[("name", json::string(name)), ("why", json::string(why))])
        })
        .collect();
    let fields = [
        ("version", json::string(env!("CARGO_PKG_VERSION"))),
        ("pid", std::process::id().to_string()),
        ("logs_dir", json::string(&mount.logs_dir)),
        ("options", json::object(&options)),
        ("started", json::time(Some(mount.started))),
        ("uptime_seconds", mount.uptime.as_secs_f64().to_string()),
        ("blocked_readers", mount.blocked_readers.to_string()),
        ("open_bytes", mount.open_bytes.to_string()),
        ("refused_for_memory", mount.open_refused.to_string()),
        ("namespaces", format!("[{}]", namespaces.join(", "))),
        ("unopened", format!("[{}]", unopened.join(", "))),
    ];
    json::object(&fields) + "\n"
}

fn namespace(look: &NamespaceLook) -> String {
    let number = |number: Option<u64>| number.map_or_else(json::null, |n| n.to_string());
    let lag = look.sync_lag.map(|lag| lag.as_secs_f64().to_string());
    json::object(&[
        ("name", json::string(&look.name)),
        ("records", look.state.count.to_string()),
        ("bytes", look.state.log_end.to_string()),
        ("text_bytes", look.state.text_end.to_string()),
        ("first_time", json::time(look.first_time)),
        ("last_time", json::time(look.state.last_time)),
        ("format", json::string(&look.format.to_string())),
        ("appended_records", look.appended.to_string()),
        ("refused_writes", look.refused_writes.to_string()),
        ("blocked_readers", look.blocked_readers.to_string()),
        ("open_readers", look.open.readers.to_string()),
        ("open_writers", look.open.writers.to_string()),
        ("synced_records", number(look.synced)),
        ("unsynced_records", number(look.unsynced)),
        ("sync_lag_seconds", lag.unwrap_or_else(json::null)),
        ("failed", json::string_or_null(look.failed.as_deref())),
    ])
}
