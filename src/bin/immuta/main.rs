//! `immuta`: works on the logs of a directory without a mount, and looks after machines and mounts.
//!
//! Each command has a file. `open` opens the logs that a command names, `source` reads the records that it imports, `render`
//! writes records, `failure` is why a command failed, `on_signal` tidies up when a signal comes.

mod append;
mod cat;
mod completions;
mod doctor;
mod export;
mod failure;
mod import;
mod man;
mod on_signal;
mod open;
mod render;
mod repair;
mod source;
mod stat;
mod tail;
mod top;
mod verify;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use immuta_fs::cli::{message, usage_error};

use failure::Failure;

/// Exit status for a wrong command line.
const USAGE_ERROR: u8 = 2;

/// Reads and writes append-only logs without a mount, and looks after the mounts of immuta-fs.
///
/// DIR is the directory that holds the logs of immuta-fs or of the Go library: files named NAMESPACE.log. By default
/// immuta-fs keeps them in /var/lib/immuta.
#[derive(Parser)]
#[command(
    name = "immuta",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        immuta stat /var/lib/immuta                 how many records each log holds\n  \
        immuta tail -f /var/lib/immuta orders       the last ten, then each new one\n  \
        immuta doctor                               what keeps immuta-fs from working here\n\n\
        Exit status:\n  \
        0; 1 if the command failed; 2 if the command line is wrong (immuta COMMAND --help tells how)"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Stat(stat::Stat),
    Cat(cat::Cat),
    Tail(tail::Tail),
    Append(append::Append),
    Import(import::Import),
    Export(export::Export),
    Verify(verify::Verify),
    Repair(repair::Repair),
    Doctor(doctor::Doctor),
    Top(top::Top),
    Completions(completions::Completions),
    Man(man::Man),
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Stat(stat) => stat.run(),
        Command::Cat(cat) => cat.run(),
        Command::Tail(tail) => tail.run(),
        Command::Append(append) => append.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
        Command::Verify(verify) => verify.run(),
        Command::Repair(repair) => repair.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Top(top) => top.run(),
        Command::Completions(completions) => completions.run(&Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
    }
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off"))
        .format(|out, record| writeln!(out, "immuta: {}", message(&record.args().to_string())))
        .init();
    if let Some(answered) = doctor::answer() {
        return match answered {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // The help and the version are no errors.
        Err(e) if !e.use_stderr() => e.exit(),
        Err(e) => {
            report(&usage(&e));
            return ExitCode::from(USAGE_ERROR);
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe: it has had enough.
        Err(Failure::Output(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::FAILURE,
        Err(e) => {
            report(&e);
            match e {
                Failure::Usage(_) => ExitCode::from(USAGE_ERROR),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Reports on standard error what is wrong, in one line, whatever characters the names in it hold.
fn report(what: &dyn Display) {
    eprintln!("immuta: {}", message(&what.to_string()));
}

/// What is wrong with the command line, and which `--help` tells more.
fn usage(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        || error.kind() == clap::error::ErrorKind::MissingSubcommand
    {
        return "no command is given (immuta --help lists them)".to_owned();
    }
    let named = std::env::args().nth(1).unwrap_or_default();
    match Cli::command().find_subcommand(&named) {
        Some(command) => usage_error(error, &format!("immuta {}", command.get_name())),
        None => usage_error(error, "immuta"),
    }
}
