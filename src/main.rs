//! `immuta-fs`: mounts a directory of logs. The library documentation, [`immuta`], shows the tree.

mod cli;
mod fuse;
mod serve;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
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
