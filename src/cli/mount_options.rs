//! Options as mount(8) and /etc/fstab give them: `-o sync=200ms,allow_other,nofail`.
//!
//! There are four kinds: options of immuta-fs, which have the names of its long options; a few that are passed to the
//! kernel; options for mount(8) alone, or without effect here; and unknown ones.

use clap::Command;

use crate::fuse::KernelOptions;

/// Options of immuta-fs that are no mount options: how the program starts, and what it prints.
const NOT_OPTIONS_OF_A_MOUNT: &[&str] = &[
    "daemon",
    "foreground",
    "detached",
    "sloppy",
    "mount-namespace",
    "help",
    "version",
];

/// Options for mount(8) and systemd alone.
const FOR_OTHERS: &[&str] = &[
    "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "nousers", "owner",
    "noowner", "group", "nogroup", "comment", "helper", "uhelper",
];

/// Options without effect: always in force here (`nodev`, `nosuid`, `noatime`, `default_permissions`), or about something
/// that no log has (devices, set-uid programs, times of access, locks).
const WITHOUT_EFFECT: &[&str] = &[
    "defaults",
    "default_permissions",
    "async",
    "dirsync",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "symfollow",
    "nosymfollow",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
];

/// SELinux contexts of the files of the mount.
const SECURITY_CONTEXTS: &[&str] = &["context", "fscontext", "defcontext", "rootcontext"];

/// Mount options, sorted by whom they are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// Options of immuta-fs, as arguments: `--sync=200ms`.
    pub(super) arguments: Vec<String>,
    pub(super) kernel: KernelOptions,
}

/// Reads lists of options. Of two that contradict each other, the later one counts. `program` defines the options of
/// immuta-fs. With `sloppy`, unknown options are ignored.
///
/// # Errors
/// What is wrong with the first wrong option.
pub(super) fn read(
    lists: &[String],
    program: &Command,
    sloppy: bool,
) -> Result<MountOptions, String> {
    let mut options = MountOptions::default();
    let mut read_only = false;
    for option in lists.iter().flat_map(|list| split(list)) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option.as_str(), None),
        };
        let long = name.replace('_', "-");
        let ours = program.get_arguments().find(|a| {
            a.get_long() == Some(&long) && !NOT_OPTIONS_OF_A_MOUNT.contains(&long.as_str())
        });
        match (name, value) {
            ("ro", None) => read_only = true,
            ("rw", None) => read_only = false,
            // "All I/O to the filesystem should be done synchronously", says mount(8).
            ("sync", None) => options.arguments.push("--sync=always".into()),
            ("exec", None) => options.kernel.noexec = false,
            ("noexec", None) => options.kernel.noexec = true,
            ("remount", None) => {
                return Err(
                    "a mount of logs is not remounted: unmount it and mount it again".into(),
                );
            }
            _ if long == "read-only" && value.is_none() => read_only = true,
            (_, Some(_)) if SECURITY_CONTEXTS.contains(&name) => {
                options.kernel.contexts.push(option)
            }
            _ => match (ours, value) {
                (Some(ours), Some(value)) if ours.get_action().takes_values() => {
                    options
                        .arguments
                        .push(format!("--{long}={}", unquoted(value)));
                }
                (Some(ours), None) if !ours.get_action().takes_values() => {
                    options.arguments.push(format!("--{long}"));
                }
                (Some(_), Some(_)) => return Err(format!("mount option '{name}' takes no value")),
                (Some(_), None) => {
                    return Err(format!(
                        "mount option '{name}' needs a value ('{name}=...')"
                    ));
                }
                (None, _) if is_for_others(name) || WITHOUT_EFFECT.contains(&name) || sloppy => {}
                (None, _) => return Err(format!("unknown mount option '{option}'")),
            },
        }
    }
    if read_only {
        options.arguments.push("--read-only".into());
    }
    Ok(options)
}

fn is_for_others(name: &str) -> bool {
    FOR_OTHERS.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

/// Cuts a list at its commas, except those in double quotes and behind a backslash.
fn split(list: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut option = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in list.chars() {
        if escaped {
            escaped = false;
            // A backslash escapes only a comma or a backslash.
            if !matches!(c, ',' | '\\') {
                option.push('\\');
            }
            option.push(c);
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' && !quoted {
            options.push(std::mem::take(&mut option));
        } else {
            quoted ^= c == '"';
            option.push(c);
        }
    }
    options.push(option);
    options.retain(|option| !option.is_empty());
    options
}

fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.unwrap_or(value)
}
