//! `immuta completions`: generated from the definitions that parse the command lines.

use std::io::{self, Write};

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use immuta_fs::cli;

use crate::Failure;

/// One of the two programs.
#[derive(Clone, Copy, ValueEnum)]
enum Program {
    Immuta,
    ImmutaFs,
}

/// Print shell completions for immuta or immuta-fs
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        source <(immuta completions bash)                      in ~/.bashrc\n  \
        immuta completions zsh > ~/.zfunc/_immuta              with fpath+=~/.zfunc in ~/.zshrc\n  \
        immuta completions fish immuta-fs > ~/.config/fish/completions/immuta-fs.fish")]
pub(crate) struct Completions {
    shell: Shell,
    /// The program to complete
    #[arg(value_enum, default_value = "immuta")]
    program: Program,
}

impl Completions {
    /// `immuta` is this program's definition.
    pub(crate) fn run(&self, immuta: &Command) -> Result<(), Failure> {
        let mut program = match self.program {
            Program::Immuta => visible(immuta),
            Program::ImmutaFs => visible(&cli::Cli::command()),
        };
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        Ok(io::stdout().write_all(&script)?)
    }
}

/// The command without hidden options and commands, which completions would offer. Hidden positional arguments stay, so
/// that file names are completed there.
fn visible(command: &Command) -> Command {
    let arguments = command
        .get_arguments()
        .filter(|a| a.is_positional() || !a.is_hide_set());
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    Command::new(command.get_name().to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(command.get_version().is_none())
        .about(command.get_about().cloned().unwrap_or_default())
        .args(arguments.cloned())
        .subcommands(commands.map(visible))
}
