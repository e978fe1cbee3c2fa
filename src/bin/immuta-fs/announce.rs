//! Announces that the mount answers: to the terminal, to the program that has started a daemon, to the service manager.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use immuta::{Error, Namespace, Storage};
use immuta_fs::cli::Cli;
use immuta_fs::cli::{message, one_line};

use crate::service_manager::ServiceManager;
use crate::{background, logging};

/// How many namespaces that cannot be opened are named, with the reason. Of the others only the number is told.
const MOST_NAMED: usize = 10;

/// What is mounted where.
pub(crate) struct Mounted<'a> {
    /// The mount point; or `/dev/fd/N`, for a passed mount whose mount point cannot be seen.
    pub(crate) place: &'a Path,
    pub(crate) logs_dir: &'a Path,
    /// Whether this program has mounted it, and unmounts it.
    pub(crate) is_ours: bool,
    /// The namespaces that cannot be opened, and why.
    pub(crate) unopened: &'a [(Namespace, Arc<Error>)],
}

/// Announces the mount.
///
/// # Errors
/// When the program that has started this daemon does not wait for its mount any more.
pub(crate) fn announce(
    cli: &Cli,
    manager: &ServiceManager,
    mounted: &Mounted<'_>,
) -> io::Result<()> {
    let line = announcement(mounted, cli.detached.is_none() && !manager.is_there());
    let (place, logs_dir) = (mounted.place.display(), mounted.logs_dir.display());
    let unopened = match mounted.unopened.len() {
        0 => String::new(),
        1 => "; 1 namespace cannot be opened".to_owned(),
        n => format!("; {n} namespaces cannot be opened"),
    };
    manager.ready(&format!(
        "Logs in '{logs_dir}' mounted on '{place}'{unopened}"
    ));
    if logging::is_elsewhere() {
        report_unopened(mounted);
    }
    if cli.detached.is_none() {
        print(&line);
        return Ok(());
    }
    if cli.log_file.is_none() {
        logging::warn_without_syslog();
    }
    log::info!("mounted '{place}', logs in '{logs_dir}'");
    background::announce(&line)
}

/// The namespaces whose log was checked and cannot be opened, and why.
pub(crate) fn unopened(storage: &Storage) -> Vec<(Namespace, Arc<Error>)> {
    let mut failed = storage.failed();
    failed.retain(|(_, why)| !matches!(**why, Error::BeingChecked { .. }));
    failed
}

/// Says on standard error which namespaces cannot be opened, where messages go elsewhere.
fn report_unopened(mounted: &Mounted<'_>) {
    for (namespace, why) in mounted.unopened.iter().take(MOST_NAMED) {
        let line = format!("cannot open namespace '{namespace}': {why}");
        eprintln!("immuta-fs: {}", message(&line));
    }
    if let Some(more @ 1..) = mounted.unopened.len().checked_sub(MOST_NAMED) {
        eprintln!("immuta-fs: and {more} more cannot be opened: 'immuta doctor' names them");
    }
}

/// The line that announces the mount to people.
fn announcement(mounted: &Mounted<'_>, in_terminal: bool) -> String {
    // One line, whatever characters the names hold.
    let (place, logs_dir) = (
        mounted.place.to_string_lossy(),
        mounted.logs_dir.to_string_lossy(),
    );
    let (place, logs_dir) = (one_line(&place), one_line(&logs_dir));
    if !mounted.is_ours {
        return format!(
            "immuta-fs: serving '{place}', logs in '{logs_dir}' (ends when it is unmounted)\n"
        );
    }
    let stop = if in_terminal {
        "stop with Ctrl-C or:"
    } else {
        "stop with:"
    };
    let unmount = if nix::unistd::geteuid().is_root() {
        "umount"
    } else {
        "fusermount3 -u"
    };
    format!("immuta-fs: mounted '{place}', logs in '{logs_dir}' ({stop} {unmount} '{place}')\n")
}

/// Prints the line. Nobody may be reading it: that is no reason to end.
pub(crate) fn print(line: &str) {
    let mut stdout = io::stdout();
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}
