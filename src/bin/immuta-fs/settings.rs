//! The settings of the file system: from the command line, and from limits of the kernel.

use std::time::Duration;

use immuta_fs::cli::Cli;
use immuta_fs::fs::Settings;
use immuta_fs::fuse::{RequestTimeout, Users};

/// Memory for lines and frames that wait for their end, and for writes that wait for the disk, in bytes.
const DEFAULT_OPEN_BYTES: u64 = 1 << 30;
/// One user may take half of it. The half has to hold the largest write that the kernel sends, and a line before it.
const LEAST_OPEN_BYTES: u64 = 4 << 20;

/// The settings of the file system.
pub(crate) fn settings(cli: &Cli) -> Settings {
    Settings {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        split_write_bytes: split_write_bytes(),
        sync_always: cli.sync == immuta::Durability::Always,
        read_only: cli.read_only,
        max_record_bytes: cli.max_record.as_u64(),
        max_open_bytes: cli.max_open_bytes.map_or_else(
            || DEFAULT_OPEN_BYTES.max(cli.max_record.as_u64().saturating_mul(4)),
            |bytes| bytes.as_u64().max(LEAST_OPEN_BYTES),
        ),
    }
}

/// The users that the mount lets in.
pub(crate) fn users(cli: &Cli) -> Users {
    match (cli.allow_other, cli.allow_root) {
        (true, _) => Users::All,
        (false, true) => Users::RootAndOwner,
        (false, false) => Users::Owner,
    }
}

/// How long a read may wait: as --max-block says, and at most half of the kernel's limit for requests.
pub(crate) fn max_block(cli: &Cli) -> Option<Duration> {
    let kernels = RequestTimeout::of_kernel();
    if let Some(kernels) = &kernels {
        log::warn!(
            "the kernel ends this mount, for everybody, when the disk holds up a write, an fsync or a close for {} (set {} to 0, \
             or to more than the disk can take)",
            humantime::format_duration(kernels.timeout),
            kernels.setting,
        );
    }
    let shorter = kernels.filter(|k| cli.max_block.is_none_or(|ours| k.max_block() < ours));
    if let Some(kernels) = shorter {
        log::info!(
            "the kernel ends a mount that leaves a request unanswered for {} ({}): reads that wait are answered with EINTR \
             after {}, and called again by most programs",
            humantime::format_duration(kernels.timeout),
            kernels.setting,
            humantime::format_duration(kernels.max_block()),
        );
    }
    shorter.map(RequestTimeout::max_block).or(cli.max_block)
}

/// Writes of at least this many bytes may have been split by the kernel. It sends as many pages in one message as its limit
/// allows, one less if the buffer does not begin on a page.
fn split_write_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    const DEFAULT_MAX_PAGES: usize = 256;
    let limit = std::fs::read_to_string("/proc/sys/fs/fuse/max_pages_limit");
    let pages = limit
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_PAGES);
    (pages.min(DEFAULT_MAX_PAGES) - 1) * PAGE_BYTES
}
