//! `immuta-fs`: mounts a directory of logs. The library documentation, [`immuta`], shows the tree.

mod fuse;
mod serve;

use std::process::ExitCode;

use clap::Parser;
use immuta::programs::cli;

/// Exit status for a command line that is not understood.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        // The help and the version are no errors.
        Err(e) if !e.use_stderr() => e.exit(),
        Err(e) => {
            eprintln!("immuta-fs: {}", cli::usage_error(&e));
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let filter = format!("warn,immuta={0},immuta_fs={0}", cli.log_level);
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).init();
    match serve::serve(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("immuta-fs: {e}");
            ExitCode::FAILURE
        }
    }
}
