//! The command line that mount(8) calls `immuta-fs` with, under the name `/sbin/mount.fuse.immuta-fs`:
//! `mount.fuse.immuta-fs SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Parser;

/// The prefix of the names of mount(8)'s helpers.
const NAME_PREFIX: &str = "mount.";

/// The command line of a mount(8) helper.
#[derive(Debug, Parser)]
#[command(
    name = "mount.fuse.immuta-fs",
    version,
    about = "Mounts a directory of logs for mount(8); immuta-fs --help lists the options"
)]
struct Call {
    /// The directory of the logs
    source: OsString,
    /// Where to mount them
    mountpoint: OsString,
    /// Ignore unknown options
    #[arg(short = 's')]
    sloppy: bool,
    /// Do everything but mount
    #[arg(short = 'f')]
    fake: bool,
    /// Write no /etc/mtab: this never does
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// Say what is mounted
    #[arg(short = 'v')]
    verbose: bool,
    /// The mount namespace to mount in
    #[arg(short = 'N')]
    namespace: Option<OsString>,
    /// Mount options
    #[arg(short = 'o')]
    options: Vec<OsString>,
    /// The type of file system: mount(8) has found this program by it
    #[arg(short = 't')]
    _fs_type: Option<OsString>,
}

/// A call of mount(8), for `immuta-fs`.
pub struct MountCall {
    /// The command line of `immuta-fs` that does what mount(8) asks for.
    pub arguments: Vec<OsString>,
    /// Only check the command line, and mount nothing.
    pub fake: bool,
    /// Announce the mount.
    pub verbose: bool,
}

/// Whether mount(8) has called this program, by the name that it was called by.
pub fn is_called_by_mount(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(NAME_PREFIX.as_bytes())
}

impl MountCall {
    /// Reads mount(8)'s command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(arguments: &[OsString]) -> Result<MountCall, clap::Error> {
        let call = Call::try_parse_from(arguments)?;
        let mut ours: Vec<OsString> = vec!["immuta-fs".into(), "--daemon".into()];
        if call.sloppy {
            ours.push("--sloppy".into());
        }
        if let Some(namespace) = call.namespace {
            ours.extend(["--mount-namespace".into(), namespace]);
        }
        for options in call.options {
            ours.extend(["-o".into(), options]);
        }
        ours.extend(["--".into(), call.source, call.mountpoint]);
        Ok(MountCall {
            arguments: ours,
            fake: call.fake,
            verbose: call.verbose,
        })
    }
}
