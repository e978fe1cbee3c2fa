//! Options as mount(8) and /etc/fstab give them: `-o sync=200ms,allow_other,nofail`.
//!
//! They are of four kinds: ours, which have the names of the long options; the few that the kernel is told; those
//! that are for mount(8) alone, or change nothing here; and any other one, which is unknown.

use clap::Command;

use crate::fuse::KernelOptions;

/// Those of ours that have no place in /etc/fstab: what starts the program, and what is asked of it.
const NOT_OPTIONS_OF_A_MOUNT: &[&str] = &[
    "daemon",
    "foreground",
    "detached",
    "sloppy",
    "mount-namespace",
    "help",
    "version",
];

/// For mount(8) and systemd alone.
const FOR_OTHERS: &[&str] = &[
    "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "nousers", "owner",
    "noowner", "group", "nogroup", "comment", "helper", "uhelper",
];

/// They change nothing here: always so (`nodev`, `nosuid`, `noatime`, `default_permissions`), or about what no log has
/// (devices, programs that change their user, times of access, locks).
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

/// What SELinux is told about the files of the mount.
const SECURITY_CONTEXTS: &[&str] = &["context", "fscontext", "defcontext", "rootcontext"];

/// What lists of options say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// Ours, as arguments: `--sync=200ms`.
    pub(super) arguments: Vec<String>,
    pub(super) kernel: KernelOptions,
}

/// Reads lists of options; of two that contradict each other, the later one counts. `program` knows ours. Of what
/// nobody knows, `sloppy` makes nothing.
///
/// # Errors
/// What is wrong with the first that is.
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

/// Cuts a list at its commas, but for those in double quotes and behind a backslash.
fn split(list: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut option = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in list.chars() {
        if escaped {
            escaped = false;
            // In front of anything but a comma and itself it is a character as any other.
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
