//! `immuta-fs`: mounts a directory of logs. The documentation of the library [`immuta_fs`] shows the tree.

mod announce;
mod background;
mod checks;
mod ending;
mod follow_logs;
mod logging;
mod messages;
mod open_logs;
mod read_shim;
mod serve;
mod service_manager;
mod session;
mod settings;
mod signals;

use std::ffi::OsString;
use std::process::ExitCode;

use background::NoDaemon;
use immuta_fs::cli::{Cli, MountCall, UsageError, is_called_by_mount};
use immuta_fs::fuse::{passed, run_if_asked};
use logging::Sink;

/// Exit statuses.
#[derive(Clone, Copy)]
struct Statuses {
    /// The command line is not understood.
    usage: u8,
    failed: u8,
}

const STATUSES: Statuses = Statuses {
    usage: 2,
    failed: 1,
};
/// As mount(8) lists them.
const STATUSES_FOR_MOUNT: Statuses = Statuses {
    usage: 1,
    failed: 32,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments
        .first()
        .is_some_and(|program| is_called_by_mount(program))
    {
        return mount_for_mount8(&arguments);
    }
    if let Some(status) = run_if_asked(&arguments) {
        return status;
    }
    match Cli::read(&arguments) {
        Ok(cli) if cli.daemon && cli.detached.is_none() => begin_daemon(&arguments, true, STATUSES),
        Ok(cli) => serve(&cli),
        Err(e) => report_usage_error(e, STATUSES),
    }
}

/// mount(8) has called this program: translates its command line to one of immuta-fs.
fn mount_for_mount8(arguments: &[OsString]) -> ExitCode {
    let wanted = match MountCall::read(arguments) {
        Ok(wanted) => wanted,
        Err(e) => return report_usage_error(e.into(), STATUSES_FOR_MOUNT),
    };
    match Cli::read(&wanted.arguments) {
        Ok(_) if wanted.fake => ExitCode::SUCCESS,
        Ok(_) => begin_daemon(&wanted.arguments, wanted.verbose, STATUSES_FOR_MOUNT),
        Err(e) => report_usage_error(e, STATUSES_FOR_MOUNT),
    }
}

fn report_usage_error(error: UsageError, statuses: Statuses) -> ExitCode {
    logging::report_fatal(&error.exit_or_describe());
    ExitCode::from(statuses.usage)
}

fn begin_daemon(arguments: &[OsString], announce: bool, statuses: Statuses) -> ExitCode {
    match background::start(arguments) {
        Ok(announcement) => {
            if announce {
                announce::print(&announcement);
            }
            ExitCode::SUCCESS
        }
        // The daemon has the statuses of immuta-fs, the caller may expect those of mount(8).
        Err(NoDaemon::Reported(status)) if status == STATUSES.failed => {
            ExitCode::from(statuses.failed)
        }
        Err(NoDaemon::Reported(status)) => ExitCode::from(status),
        Err(NoDaemon::Unreported(why)) => {
            logging::report_fatal(&why);
            ExitCode::from(statuses.failed)
        }
    }
}

/// Serves until the mount ends, in this process.
fn serve(cli: &Cli) -> ExitCode {
    let sink = match (&cli.log_file, &cli.detached) {
        (Some(path), _) => Sink::File(path),
        (None, Some(_)) => Sink::Syslog,
        (None, None) => Sink::Stderr,
    };
    // Before anything is opened: no descriptor of this program's own can have the number of the passed one.
    let passed = passed::number(&cli.mountpoint());
    let begun = match &cli.detached {
        Some(_) => background::leave(passed, cli.mount_namespace.as_deref()),
        None => Ok(()),
    };
    let device = passed.map(passed::take).transpose();
    if let Err(e) = begun.and_then(|()| logging::begin(sink, cli.log_level)) {
        logging::report_fatal(&e);
        return ExitCode::from(STATUSES.failed);
    }
    let served = device
        .map_err(|e| e.into())
        .and_then(|device| serve::serve(cli, device));
    let status = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logging::report_fatal(&e);
            ExitCode::from(STATUSES.failed)
        }
    };
    log::logger().flush();
    status
}
